"""base_eval and chat_eval as a person runs them: on a tiny model, alone and on two processes, with and without their data."""

import json
import os
import subprocess
import sys

import pytest
import torch

from nanochat.evaluate.arguments import spell_out
from nanochat.model.gpt import GPT, GPTConfig
from nanochat.pipeline.stage import read_status
from nanochat.train import checkpoint
from scripts import base_eval, chat_eval
from tests.evaluate.fakes import byte_tokenizer
from tests.evaluate.test_core import LM, MC, SCHEMA, write_bundle


@pytest.fixture
def data(tmp_path):
    """A data folder: text, a test of ARC-Easy and of GSM8K, a CORE bundle of three of its four tasks."""
    folder = tmp_path / "data"
    (folder / "arc").mkdir(parents=True)
    (folder / "gsm8k").mkdir()
    (folder / "a.txt").write_text("\n\n".join(f"The number {i} comes after the number {i - 1}." for i in range(3000)))
    rows = [{"question": f"{i}?", "choices": {"text": ["x", "y", "z"], "label": ["A", "B", "C"]}, "answerKey": "B"} for i in range(20)]
    (folder / "arc/ARC-Easy-Test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    rows = [{"question": f"{i} + 1?", "answer": f"#### {i + 1}"} for i in range(10)]
    (folder / "gsm8k/test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    entries = [("mc", "multiple_choice", 1, [MC] * 3), ("s", "schema", 0, [SCHEMA] * 3), ("lm", "language_modeling", 0, [LM] * 3)]
    (folder / "eval_bundle").mkdir()
    write_bundle(folder / "eval_bundle", [*entries, ("gone", "schema", 0, None)])
    return folder


@pytest.fixture
def trained(base_dir):
    """A tokenizer and a tiny untrained model as base and mid checkpoints."""
    tokenizer = byte_tokenizer()
    tokenizer.save(base_dir / "tokenizer")
    torch.manual_seed(0)
    model = GPT(GPTConfig(sequence_len=64, vocab_size=tokenizer.vocab_size, n_layer=2, n_head=2, n_kv_head=2, n_embd=16))
    torch.nn.init.normal_(model.head.weight, std=0.1)
    for stage in ("base_train", "mid_train"):
        checkpoint.save(stage, "", 1, model, {**checkpoint.describe(model, tokenizer), "identity": "test"}, {})


def arguments(data, *more):
    return ["--profile=embedded", f"--data_dir={data}", "--device=cpu", *more]


BASE = ("--text=*.txt", "--eval_tokens=2000", "--batch=4", "--sample_tokens=4", "--val_files=0")


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_base_eval_measures_text_samples_and_core(trained, data, base_dir, capsys):
    assert base_eval.main(arguments(data, *BASE)) == 0
    status, folder = read_status("base_eval"), base_dir / "stages/base_eval"
    metrics = status["metrics"]
    assert status["state"] == "done" and 5 < metrics["val_bpb"] < 12 and abs(metrics["train_bpb"] - metrics["val_bpb"]) < 1
    assert metrics["core_tasks"] == 3 and metrics["core_tasks_missing"] == 1
    assert metrics["core"] == pytest.approx(sum(metrics[f"core/{label}"] for label in ("mc", "s", "lm")) / 3)
    samples = lines(folder / "samples.jsonl")
    assert len(samples) == len(base_eval.PROMPTS) + 4 and all(set(row) == {"prompt", "text"} for row in samples)
    assert [(row["task"], row["n"]) for row in lines(folder / "core.jsonl")] == [("mc", 3), ("s", 3), ("lm", 3)]
    said = capsys.readouterr()
    assert "3 of 4 tasks, missing: gone" in said.err and json.loads(said.out.splitlines()[-1]) == metrics


def test_base_eval_without_a_bundle_says_so_in_one_line_and_does_the_rest(trained, data, tmp_path, capsys):
    (data / "eval_bundle").rename(tmp_path / "elsewhere")
    assert base_eval.main(arguments(data, *BASE)) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("base_eval: CORE")]
    assert len(said) == 1 and "not present" in said[0]
    assert "core" not in read_status("base_eval")["metrics"] and "val_bpb" in read_status("base_eval")["metrics"]


def test_a_damaged_bundle_fails_in_one_sentence(trained, data, capsys):
    (data / "eval_bundle/eval_meta_data.csv").write_text("no,columns\n")
    assert base_eval.main(arguments(data, *BASE)) == 1
    err = capsys.readouterr().err
    assert "is not a complete CORE bundle" in err and "Traceback" not in err
    assert read_status("base_eval")["state"] == "failed"


def test_chat_eval_measures_the_tasks_present_and_names_the_others(trained, data, base_dir, capsys):
    assert chat_eval.main(arguments(data, "-i", "mid", "--tasks=arc_easy,gsm8k:4,mmlu", "--max_tokens=4", "--max_problems=7")) == 0
    status, folder = read_status("chat_eval", "mid"), base_dir / "stages/chat_eval.mid"
    metrics = status["metrics"]
    assert (metrics["n/arc_easy"], metrics["n/gsm8k"]) == (7, 4) and "n/mmlu" not in metrics
    assert metrics["chance/arc_easy"] == pytest.approx(1 / 3) and metrics["chance/gsm8k"] == 0
    centered = [
        (metrics[f"accuracy/{name}"] - metrics[f"chance/{name}"]) / (1 - metrics[f"chance/{name}"]) for name in ("arc_easy", "gsm8k")
    ]
    assert metrics["chatcore"] == pytest.approx(sum(centered) / 2) and metrics["chatcore_tasks"] == 2
    rows = lines(folder / "arc_easy.jsonl")
    assert len(rows) == 7 and set(rows[0]) == {"index", "question", "answer", "completion", "right"}
    assert sum(row["right"] for row in rows) / 7 == metrics["accuracy/arc_easy"]
    said = capsys.readouterr()
    assert "not present" in said.err and "mmlu" in said.err and "mmlu" in status["headline"]
    assert json.loads(said.out.splitlines()[-1]) == metrics


@pytest.mark.parametrize(
    "script, option",
    [
        (chat_eval, "--max_problems=-1"), (chat_eval, "--batch=0"), (chat_eval, "--temperature=-1"), (chat_eval, "--top_k=0"),
        (chat_eval, "--max_tokens=0"), (base_eval, "--batch=0"), (base_eval, "--eval_tokens=0"), (base_eval, "--max_per_task=-2"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused_before_anything_is_written(trained, data, base_dir, capsys, script, option):
    assert script.main(arguments(data, option)) == 2
    assert option.partition("=")[0] in capsys.readouterr().err and not (base_dir / "stages").exists()


def test_chat_eval_without_any_of_its_tasks_names_their_files(trained, data, capsys):
    assert chat_eval.main(arguments(data, "-i", "mid", "--tasks=svamp,mawps")) == 2
    assert "svamp/test.parquet is missing; put it there" in capsys.readouterr().err


def test_chat_eval_is_done_again_when_a_task_appears(trained, data, capsys):
    call = arguments(data, "-i", "mid", "--tasks=arc_easy,svamp", "--max_problems=3", "--max_tokens=4")
    assert chat_eval.main(call) == 0 and chat_eval.main(call) == 0
    assert "skipped" in capsys.readouterr().err
    (data / "svamp").mkdir()
    (data / "svamp/test.json").write_text(json.dumps([{"Body": "One", "Question": "How many?", "Answer": 1}]))
    assert chat_eval.main(call) == 0
    assert read_status("chat_eval", "mid")["metrics"]["n/svamp"] == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-i", "sft", "--tasks=arc_easy"], "chat_sft"),
        (["-i", "mid", "--tasks=arc_esay"], "did you mean 'arc_easy'"),
        (["-i", "mid", "--tasks=smoltalk"], "does not let chat_eval open smoltalk/test"),
        (["-i", "mid", "--tasks=mmlu,svamp"], "mmlu_test.parquet is missing"),
        (["-i", "mud", "--tasks=arc_easy"], "auto, base, mid, sft"),
        (["--tasks=arc_easy", "-i"], "auto, base, mid, sft"),
        (["-i", "mid", "--tasks=arc_easy:many"], "name:limit"),
    ],
)
def test_chat_eval_refuses_in_one_sentence_what_it_cannot_do(trained, data, capsys, words, said):
    assert chat_eval.main(arguments(data, *words)) != 0
    err = capsys.readouterr().err
    assert said in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], ["--source=sft", "--tag=sft"]),
        (["-i", "mid"], ["--source=mid", "--source=mid", "--tag=mid"]),
        (["-i"], ["--source=", "--source=", "--tag="]),
        (["--source", "mid"], ["--source", "mid", "--source=mid", "--tag=mid"]),
        (["-i", "mid", "--model-tag", "plain"], ["--source=mid", "--model-tag", "plain", "--source=mid", "--tag=plain"]),
        (["-i", "mid", "--tag=mine"], ["--source=mid", "--tag=mine"]),
        (["--tag=mid", "--profile=x"], ["--tag=mid", "--profile=x"]),
        (["--help"], ["--help"]),
    ],
)
def test_the_short_form_and_the_tag_are_spelled_out(argv, expected):
    assert spell_out(argv, "sft") == expected


@pytest.mark.parametrize(("tag", "source"), [("mid", "mid"), ("base", "base"), ("plain", "sft"), ("sft", "sft"), ("rl", "rl")])
def test_without_a_source_the_tag_names_it(tag, source):
    assert chat_eval._source(chat_eval.Config(tag=tag)) == source


def two_processes(module, words, base_dir):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", module, *words]
    return subprocess.run(command, env={**os.environ, "NANOCHAT_BASE_DIR": str(base_dir)}, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_two_processes_agree_with_one(trained, data, base_dir):
    chat = ("-i", "mid", "--tasks=arc_easy,gsm8k", "--max_tokens=4", "--max_problems=9")
    assert chat_eval.main(arguments(data, *chat, "--tag=one")) == 0
    assert base_eval.main(arguments(data, *BASE, "--tag=one")) == 0
    for module, words in (("scripts.chat_eval", (*chat, "--tag=two")), ("scripts.base_eval", (*BASE, "--batch=2", "--tag=two"))):
        done = two_processes(module, arguments(data, *words), base_dir)
        assert done.returncode == 0, done.stderr[-3000:]
        name = module.partition(".")[2]
        one, two = (read_status(name, tag)["metrics"] for tag in ("one", "two"))
        assert two == pytest.approx(one, rel=1e-5)
    rows = [lines(base_dir / f"stages/chat_eval.{tag}/arc_easy.jsonl") for tag in ("one", "two")]
    assert rows[0] == rows[1]
