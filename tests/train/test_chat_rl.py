"""chat_rl at toy size: from a chat model, with the tower and without, to a model that the other scripts take; and what it refuses."""

import json
from types import SimpleNamespace

import pytest
import torch

from nanochat.pipeline.ledger import read_status
from nanochat.train import checkpoint
from scripts import chat_cli, chat_eval, chat_rl, dag_trace
from tasks import common as tasks
from tasks.common import Task, question_answer
from tests.train.test_rollouts import SOME, noisy_gpt, with_tower

torch.set_num_threads(1)


class Toy(Task):
    """Sums that are answered by almost anything."""

    name = "toy"

    def load(self) -> list[int]:
        return list(range(12 if self.split == "train" else 5))

    def conversation(self, item: int) -> dict:
        return question_answer(f"{item}+1=", str(item + 1))

    def evaluate(self, conversation: dict, completion: str) -> bool:
        return completion[:1] in SOME


class Unevaluated(Toy):
    """The same without validation questions."""

    name, splits = "unevaluated", ("train",)


@pytest.fixture
def options(tokenizer, monkeypatch) -> list[str]:
    """Toy tasks, a chat model of that stage without the tower and one with it; the arguments of a short run."""
    for task in (Toy, Unevaluated):
        monkeypatch.setitem(tasks.TASKS, task.name, _entry(task))
    for tag, model in (("", noisy_gpt()), ("tower", with_tower(noisy_gpt(), tokenizer))):
        checkpoint.save("chat_sft", tag, 7, model, checkpoint.describe(model, tokenizer), {})
    return ["--tasks=toy", "--questions=2", "--samples=4", "--max_tokens=4", "--device_batch=4", "--device=cpu"]


def _entry(task):
    class Entry(SimpleNamespace):
        def __call__(self, data_dir, split):
            return task(data_dir, split)

    return Entry(type=lambda: task)


def lines(base_dir, stage: str = "chat_rl") -> list[dict]:
    return [json.loads(line) for line in (base_dir / "stages" / stage / "metrics.jsonl").read_text().splitlines()]


def test_an_epoch_of_questions_makes_a_model_that_is_evaluated_and_chatted_with(options, base_dir, capfd):
    assert chat_rl.main([*options, "--eval_every=3"]) == 0
    metrics = read_status("chat_rl", "")["metrics"]
    assert metrics["steps"] == 6 and metrics["questions"] == 12 and 0 <= metrics["val_accuracy"] <= 1 and metrics["params"] > 0
    steps = [line for line in lines(base_dir) if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 7)) and any(line["loss"] for line in steps)
    assert all(0 <= line["reward"] <= 1 and 0 <= line["advantage_share"] <= 1 and 0 <= line["answer_tokens"] <= 4 for line in steps)
    assert [line["step"] for line in lines(base_dir) if "val_accuracy" in line] == [3, 6]
    model, _, meta = checkpoint.load_model("rl")
    assert meta["parent"] == "chat_sft/default/step_000007" and meta["score"]["metric"] == "val_accuracy"
    assert meta["score"]["better"] == "higher" and any(
        not torch.equal(a, b) for a, b in zip(model.parameters(), checkpoint.load_model("sft")[0].parameters(), strict=True)
    )
    assert chat_rl.main([*options, "--eval_every=3"]) == 0 and "skipped" in capfd.readouterr().err
    assert chat_eval.main(["-i", "rl", "--tasks=toy", "--max_tokens=4", "--device=cpu"]) == 0
    assert read_status("chat_eval", "rl")["metrics"]["n/toy"] == 5
    capfd.readouterr()
    assert chat_cli.main(["-p", "1+1=", "--max_tokens=3", "--device=cpu"]) == 0
    assert "chat_rl/default/step_000006" in capfd.readouterr().err


def test_with_the_tower_and_without_validation_questions(options, base_dir, capfd):
    arguments = [*options, "--model_tag=tower", "--tasks=unevaluated:4*2", "--tag=tower"]
    assert chat_rl.main(arguments) == 0
    metrics = read_status("chat_rl", "tower")["metrics"]
    assert metrics["steps"] == 4 and "val_accuracy" not in metrics
    assert checkpoint.load_model("rl", "tower")[0].branch is not None
    assert dag_trace.main(["1+1=", "--model_tag=tower"]) == 0 and "rl model chat_rl/tower" in capfd.readouterr().err


def test_files_of_word_problems_are_asked(options, base_dir, tmp_path):
    (tmp_path / "gsm8k").mkdir()
    rows = [{"question": f"{i} and {i}?", "answer": f"<<{i}+{i}={2 * i}>>{2 * i}\n#### {2 * i}"} for i in range(200)]
    for split in ("train", "test"):
        (tmp_path / "gsm8k" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[split == "test" :: 2]))
    assert chat_rl.main([*options, "--tasks=gsm8k", f"--data_dir={tmp_path}", "--steps=1", "--eval_problems=2"]) == 0
    status = read_status("chat_rl", "")
    assert status["metrics"]["val_accuracy"] == 0 and any("gsm8k/train.jsonl" in path for path in status["inputs"])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("--tasks=facts", "task 'facts' is categorical: there are no written answers to reward; use some of"),
        ("--tasks=identity", "task 'identity' is chat"),
        ("--tasks=humaneval", "no split 'train'"),
        ("--tasks=word_problem", "did you mean 'word_problems'"),
        ("--tasks=", "name at least one task"),
        ("--samples=1", "--samples must be at least 2"),
        ("--questions=0", "--questions must be at least 1"),
        ("--temperature=0", "--temperature must be above 0"),
        ("--top_k=-1", "--top_k must be at least 0"),
        ("--eval_problems=-1", "--eval_problems must be at least 0"),
        ("--total_batch=64", "leave --total_batch out"),
        ("--source=base", "sft, mid"),
        ("--source=mid", "python -m scripts.mid_train"),
        ("--model_tag=none", "python -m scripts.chat_sft --tag=none"),
    ],
)
def test_what_cannot_work_is_said_in_a_sentence(options, base_dir, capfd, wrong, words):
    assert chat_rl.main([*options, wrong]) == 2
    said = capfd.readouterr().err
    assert words in said and "Traceback" not in said and not (base_dir / "checkpoints/chat_rl").exists()
