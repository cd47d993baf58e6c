"""base_train, mid_train and chat_sft at toy size: one after the other, interrupted, and in two processes."""

import json
import os
import random
import shutil
import subprocess
import sys
import time

import pytest
import torch

from nanochat.common import UserError
from nanochat.config import parse
from nanochat.dag.variants import VARIANTS
from nanochat.pipeline.ledger import read_status
from nanochat.pipeline.stage import Run
from nanochat.train import checkpoint
from nanochat.train.settings import make_optimizer, make_schedule
from scripts import base_train, chat_sft, checkpoints, dag_eval, dag_trace, dag_train, mid_train

torch.set_num_threads(1)

PROFILE = """
stages = ["base_train", "dag_train", "mid_train", "mid_train.plain", "chat_sft"]
[common]
text = "*.txt"
val_files = 1
device_batch = 4
log_every = 1
eval_every = 0
[base_train]
depth = 2
aspect_ratio = 16
head_dim = 16
sequence_len = 64
steps = 12
total_batch = 512
eval_tokens = 2000
sample_tokens = 4
[dag_train]
width = 16
layers = 1
heads = 2
operations = 2
styles = ["symbols"]
steps = 2
device_batch = 8
eval_items = 2
[mid_train]
mixture = ["identity_file"]
arithmetic = 30
operations = 2
text_share = 0.3
steps = 4
eval_passes = 2
eval_tokens = 1000
["mid_train.plain"]
dag_depth = 0
[chat_sft]
mixture = ["identity_file"]
eval_passes = 2
"""
SENTENCE = "the baker opened her shop early and put warm bread into the window near a small red door"
WORDS = SENTENCE.split()


@pytest.fixture
def world(tmp_path, tokenizer, monkeypatch):
    """A data folder with text and conversations, a tokenizer, and a profile; gives the arguments that name them."""
    data, draw = tmp_path / "data", random.Random(0)
    data.mkdir()
    for i in range(3):
        paragraphs = [" ".join(draw.choices(WORDS, k=draw.randrange(5, 40))).capitalize() + "." for _ in range(60)]
        (data / f"{i}.txt").write_text("\n\n".join(paragraphs))
    turns = [[{"role": "user", "content": f"Say {w}."}, {"role": "assistant", "content": f"{w.capitalize()}!"}] for w in WORDS * 4]
    (data / "identity_conversations.jsonl").write_text("".join(json.dumps(t) + "\n" for t in turns))
    (tmp_path / "toy.toml").write_text(PROFILE)
    return [f"--profile={tmp_path / 'toy.toml'}", f"--data_dir={data}", "--device=cpu"]


def status(stage, tag=""):
    return read_status(stage, tag)


def losses(base_dir, stage) -> dict[int, float]:
    path = base_dir / "stages" / stage / "metrics.jsonl"
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {line["step"]: line["loss"] for line in found if "loss" in line}


def test_text_is_not_read_again_and_again_unasked(world, base_dir, capfd):
    assert base_train.main([*world, "--steps=3000"]) == 1
    refused = capfd.readouterr().err
    assert "more than --max_epochs=4" in refused and "--text" in refused and "Traceback" not in refused
    assert losses(base_dir, "base_train") == {} and not list((base_dir / "checkpoints").glob("base_train/*/step_*"))
    assert base_train.main([*world, "--tokens=20_000", "--steps=0", "--max_epochs=1000", "--sample_tokens=0"]) == 0
    assert " times: training takes 19,968 tokens and it has" in capfd.readouterr().err
    found = status("base_train")["metrics"]
    assert 1 < found["epochs"] == pytest.approx(found["tokens"] / found["text_tokens"])


@pytest.mark.slow
def test_base_mid_and_sft_follow_one_another_with_and_without_the_tower(world, base_dir, capfd):
    assert base_train.main(world) == 0
    base = status("base_train")["metrics"]
    assert base["steps"] == 12 and base["tokens"] == 12 * 512 and 0 < base["val_bpb"] < 9 and base["params"] > 0
    found = losses(base_dir, "base_train")
    assert found[12] < found[1]
    assert "Every morning the ..." in capfd.readouterr().err
    assert base_train.main(world) == 0 and "skipped" in capfd.readouterr().err

    assert mid_train.main([*world, "--tag=plain"]) == 0
    assert dag_train.main(world) == 0
    assert mid_train.main([*world, "--plans=3", "--plans_at=everywhere"]) == 0
    with_tower, without = checkpoint.load_model("mid")[0], checkpoint.load_model("mid", "plain")[0]
    assert (with_tower.branch.config.plans, with_tower.branch.config.plans_at) == (3, "everywhere") and without.branch is None
    torch.manual_seed(123)  # another process would begin with other random numbers
    assert mid_train.main([*world, "--plans=3", "--plans_at=everywhere", "--force"]) == 0
    again = checkpoint.load_model("mid")[0].state_dict()
    assert all(torch.equal(value, again[name]) for name, value in with_tower.state_dict().items())
    for tag in ("", "plain"):
        metrics = status("mid_train", tag)["metrics"]
        assert metrics["steps"] == 4 and metrics["val_loss"] > 0 and metrics["val_bpb"] > 0
    assert checkpoint.load_model("mid")[2]["parent"] == "base_train/default/step_000012"

    assert mid_train.main([*world, "--tag=tool", "--dag_depth=0", "--arithmetic_as=tool"]) == 0
    assert chat_sft.main([*world, "--tag=tool", "--model_tag=tool"]) == 0
    assert [checkpoint.load_model(source, "tool")[2]["arithmetic_as"] for source in ("mid", "sft")] == ["tool", "tool"]
    assert chat_sft.main([*world, "--arithmetic=5", "--arithmetic_as=tool"]) != 0, "the tower needs no calculator"

    assert chat_sft.main(world) == 0
    for stage, names in (("dag_train", ["usage/add"]), ("mid_train", ["gate/mean", "gradient/add"]), ("chat_sft", ["norm/ratio"])):
        last = [json.loads(x) for x in (base_dir / f"stages/{stage}/metrics.jsonl").read_text().splitlines() if '"loss"' in x][-1]
        assert all(f"dag/{name}" in last for name in [*names, "operation_diversity", "node/1"]) and 0 <= last["data_wait"] < 1
        assert last["examples_per_s"] > 0
    model, _, meta = checkpoint.load_model("sft")
    assert model.branch is not None and meta["parent"] == "mid_train/default/step_000004"
    capfd.readouterr()
    assert checkpoints.main(["verify"]) == 0 and checkpoints.main(["lineage", "chat_sft/default"]) == 0
    assert [line.split("/")[0].strip() for line in capfd.readouterr().out.splitlines() if not line.startswith("ok")] == [
        "chat_sft", "mid_train", "base_train", "dag_train"]  # fmt: skip
    scores = {p.parts[-3]: checkpoint.meta_of(p)["score"]["metric"] for p in base_dir.glob("checkpoints/*/default/*")}
    assert scores == {"base_train": "val_bpb", "dag_train": "answer_match", "mid_train": "val_loss", "chat_sft": "val_loss"}
    metrics = status("chat_sft")["metrics"]
    assert metrics["steps"] >= 3 and metrics["val_loss"] > 0
    rates = [json.loads(x).get("lr") for x in (base_dir / "stages/chat_sft/metrics.jsonl").read_text().splitlines()]
    assert max(filter(None, rates)) > 0.5 and [r for r in rates if r][-1] < 0.5  # one epoch: the rate falls towards its end


@pytest.mark.parametrize(
    "module, options, words",
    [
        (base_train, ["--text=none*.txt"], "none*.txt"),
        (base_train, ["--depht=3"], "did you mean '--depth'"),
        (base_train, ["--steps=0", "--tokens_per_param=0"], "--tokens_per_param"),
        (base_train, ["--aspect_ratio=0"], "aspect_ratio"),
        (base_train, ["--weight_decay=-3"], "must be at least 0, or -1 to follow the size of the run, not -3"),
        (mid_train, [], "python -m scripts.base_train"),
        (mid_train, ["--plans=0"], "plans"),
        (chat_sft, ["--source=base"], "python -m scripts.base_train"),
        (chat_sft, ["--mixture=identity_fiel"], "identity_file"),
        (mid_train, ["--arithmetic_as=tool"], "--dag_depth=0 --arithmetic_as=tool"),
    ],
)
def test_what_cannot_work_is_said_in_a_sentence(world, base_dir, capfd, module, options, words):
    assert module.main([*world, *options]) != 0
    said = capfd.readouterr().err
    assert words in said and "Traceback" not in said
    assert not (base_dir / "checkpoints").exists()


@pytest.mark.parametrize(
    "module, options",
    [
        (base_train, ["--total_batch=300"]),
        (base_train, ["--depth=0"]), (base_train, ["--steps=-1"]), (base_train, ["--head_dim=3"]), (base_train, ["--val_files=-1"]),
        (base_train, ["--matrix_lr=-1"]), (base_train, ["--eval_tokens=0"]), (mid_train, ["--text_share=1"]), (mid_train, ["--mixture="]),
        (mid_train, ["--dag_depth=-1"]),
        (dag_train, ["--dag_depth=0"]), (dag_train, ["--dag_depth=1", "--mode=isolated"]),
        (chat_sft, ["--mixture=humaneval"]), (chat_sft, ["--operations=0"]), (chat_sft, ["--eval_passes=-1"]),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused_before_anything_is_written(world, base_dir, capfd, module, options):
    assert module.main([*world, *options]) == 2
    said = capfd.readouterr().err
    assert any(word in said for word in (options[0].partition("=")[0].lstrip("-"), "task", "heads"))
    assert not (base_dir / "stages").exists() and "Traceback" not in said


def test_a_mixture_without_its_file_names_it(world, base_dir, capfd):
    assert base_train.main(world) == 0
    assert chat_sft.main([*world, "--source=base", "--mixture=gsm8k"]) == 2
    assert "gsm8k/train.parquet is missing; put it there, or give" in capfd.readouterr().err


def test_without_a_tokenizer_the_command_that_makes_it_is_named(world, base_dir, capfd):
    (base_dir / "tokenizer" / "COMPLETE").unlink()
    for path in (base_dir / "tokenizer").iterdir():
        path.unlink()
    assert base_train.main(world) != 0
    assert "python -m scripts.tok_train" in capfd.readouterr().err


def test_mid_train_without_its_tower_names_dag_train(world, capfd):
    assert base_train.main(world) == 0
    assert mid_train.main(world) != 0
    assert "python -m scripts.dag_train" in capfd.readouterr().err


def test_depth_0_is_the_plain_gpt_bit_for_bit(world, monkeypatch):
    assert base_train.main([*world, "--steps=2"]) == 0
    seen, loss = [], mid_train.conversation_loss
    monkeypatch.setattr(mid_train, "conversation_loss", lambda model, batch, **more: seen.append(batch) or loss(model, batch, **more))
    assert mid_train.main([*world, "--dag_depth=0", "--steps=1", "--eval_passes=0"]) == 0
    trained, _, meta = checkpoint.load_model("mid")
    assert trained.branch is None and meta["branch_config"] is None and len(seen) == 1

    plain = checkpoint.load_model("base")[0].train()
    config = parse(mid_train.Config, "mid_train", [*world, "--dag_depth=0", "--steps=1", "--eval_passes=0"])
    optimizer, schedule = make_optimizer(plain, config, seen[0].inputs.numel()), make_schedule(config)
    plain(seen[0].inputs, seen[0].targets).loss.backward()
    optimizer.step(schedule.lr(0.5), schedule.momentum(0.5), schedule.weight_decay(0.5))
    before = checkpoint.load_model("base")[0].state_dict()
    assert trained.state_dict().keys() == plain.state_dict().keys() == before.keys()
    assert all(torch.equal(p, plain.state_dict()[name]) for name, p in trained.state_dict().items())
    assert any(not torch.equal(p, before[name]) for name, p in trained.state_dict().items())


def test_another_depth_than_the_towers_is_refused_in_a_sentence(world, base_dir, capfd):
    assert base_train.main([*world, "--steps=1"]) == 0 and dag_train.main([*world, "--mixture="]) == 0
    assert mid_train.main([*world, "--dag_depth=3"]) != 0
    said = capfd.readouterr().err
    assert "carries out 2 operations a token" in said and "Traceback" not in said
    assert not (base_dir / "checkpoints/mid_train").exists()
    assert mid_train.main([*world, "--dag_depth=2", "--steps=1"]) == 0
    assert checkpoint.load_model("mid")[0].branch.tower.config.steps == 2


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_of_the_predictor_is_trained_and_evaluated_by_the_same_commands(world, base_dir, capsys, variant):
    options = [*world, f"--tag={variant}", f"--variant={variant}", "--eval_every=1", "--mixture="]
    assert dag_train.main(options) == 0
    metrics = status("dag_train", variant)["metrics"]
    assert metrics["params"] > 0 and metrics["examples"] == 16 and 0 <= metrics["answer_match"] <= 1
    assert ("plan_match" in metrics) == (variant == "tower") and len(losses(base_dir, f"dag_train.{variant}")) == 2
    model, _, meta = checkpoint.load_model("dag", variant)
    assert meta["variant"] == variant and type(model) is VARIANTS[variant].model and model.config.steps == 2
    capsys.readouterr()
    assert dag_eval.main([*world, f"--model_tag={variant}", "--items=3", "--operations=2", "--suites=operations,gate"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(figures["cells"]) == ["1_op", "2_ops"] and figures["n"] == 6
    assert ("plan" in figures["cells"]["1_op"]) == (variant == "tower")


def test_only_the_tower_is_plugged_in_or_traced_and_plans_on_the_tape(world, base_dir, capfd):
    assert dag_train.main([*world, "--tag=old", "--variant=stack", "--mode=tape"]) == 2
    assert "--variant=stack has no tape mode" in capfd.readouterr().err
    assert dag_train.main([*world, "--tag=old", "--execution=soft"]) == 2
    assert "--execution=soft is for the tower that plans at the answer: add --mode=isolated" in capfd.readouterr().err
    assert dag_train.main([*world, "--mixture=", "--tag=soft", "--execution=soft", "--mode=isolated"]) == 0
    assert base_train.main([*world, "--steps=1"]) == 0 and dag_train.main([*world, "--mixture=", "--tag=old", "--variant=stack"]) == 0
    assert mid_train.main([*world, "--dag_tag=old"]) == 1
    assert "only the variant 'tower' can be plugged into a GPT" in capfd.readouterr().err
    assert dag_trace.main(["3 + 4 =", "--source=dag", "--model_tag=old"]) == 2
    said = capfd.readouterr().err
    assert "is the variant 'stack' of dag_train, and only the variant 'tower' can be traced" in said and "Traceback" not in said
    assert not (base_dir / "checkpoints/mid_train").exists()


def test_a_stop_file_interrupts_a_stage_and_the_same_command_finishes_it_as_if_nothing_had_been(world, base_dir, monkeypatch):
    assert base_train.main([*world, "--tag=whole"]) == 0
    asked = []
    monkeypatch.setattr(Run, "stop_noted", lambda self: asked.append(1) or len(asked) == 6)
    assert base_train.main(world) == 75
    assert status("base_train")["state"] == "interrupted"
    monkeypatch.undo()
    os.environ["NANOCHAT_BASE_DIR"] = str(base_dir)
    assert base_train.main(world) == 0
    assert losses(base_dir, "base_train") == losses(base_dir, "base_train.whole")


def stopped_at(monkeypatch, step, *argv):
    """base_train's exit code when a stop is noted in that step."""
    asked = []
    with monkeypatch.context() as patch:
        patch.setattr(Run, "stop_noted", lambda self: asked.append(1) or len(asked) == step)
        return base_train.main([*argv])


def test_who_changed_an_option_by_mistake_is_told_and_goes_on_with_the_old_one(world, base_dir, monkeypatch, capfd):
    assert base_train.main([*world, "--tag=whole"]) == 0
    assert stopped_at(monkeypatch, 6, *world) == 75
    assert stopped_at(monkeypatch, 2, *world, "--lr_scale=2") == 75
    said = capfd.readouterr().err
    assert "begins anew because --lr_scale was 1.0 and is 2.0; stopped before its first checkpoint is due it leaves what" in said
    assert list(losses(base_dir, "base_train")) == [1, 2]
    assert stopped_at(monkeypatch, 2, *world, "--lr_scale=2") == 75
    said = capfd.readouterr().err
    assert "begins anew" not in said and "goes on from step 2" in said and "saved at step 4" in said
    assert base_train.main(world) == 0 and "goes on from step 6" in capfd.readouterr().err
    assert losses(base_dir, "base_train") == losses(base_dir, "base_train.whole")
    assert not list((base_dir / "stages/base_train").glob("metrics.*.jsonl")) and len(checkpoint.complete("base_train")) <= 3


def test_rows_in_a_pass_and_evaluations_may_change_while_a_run_is_under_way(world, base_dir, monkeypatch, capfd):
    assert base_train.main([*world, "--tag=whole"]) == 0
    assert stopped_at(monkeypatch, 6, *world) == 75
    assert base_train.main([*world, "--device_batch=2", "--eval_every=5"]) == 0 and "goes on from step 6" in capfd.readouterr().err
    whole = losses(base_dir, "base_train.whole")
    assert losses(base_dir, "base_train") == pytest.approx(whole, rel=1e-5) and len(whole) == 12


def test_all_text_is_tokenised_before_the_first_step_so_that_a_stop_meanwhile_loses_none(world, monkeypatch, capfd):
    def fit(*_, **__):
        raise UserError("no step is needed")

    monkeypatch.setattr(base_train, "fit", fit)
    assert base_train.main(world) == 1
    said = capfd.readouterr().err
    assert said.count("tokenised ") == 2 and "(train)" in said and "(val)" in said


def launch(world, *options, stage="base_train", processes=1):
    """A stage as a child process, alone or under torchrun."""
    several = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"] if processes > 1 else []
    command = [sys.executable, *several, "-m", f"scripts.{stage}", *world, *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
def test_killed_without_warning_it_goes_on_from_its_newest_checkpoint(world, base_dir):
    options = ["--steps=150", "--max_epochs=1000", "--save_every=5", "--sample_tokens=0"]
    child = launch(world, *options, "--tag=killed")
    deadline = time.time() + 120
    while not checkpoint.existing() and time.time() < deadline:
        time.sleep(0.05)
    child.kill()
    child.wait()
    assert checkpoint.existing() and status("base_train", "killed")["state"] == "running"
    assert base_train.main([*world, *options, "--tag=killed"]) == 0
    assert base_train.main([*world, *options, "--tag=whole"]) == 0
    assert losses(base_dir, "base_train.killed") == losses(base_dir, "base_train.whole")


@pytest.mark.slow
def test_two_processes_train_what_one_does_and_one_can_go_on_where_two_stopped(world, base_dir):
    options = ["--sample_tokens=0", "--save_every=6"]
    assert base_train.main([*world, *options, "--tag=alone"]) == 0  # two passes a step
    child = launch(world, *options, "--tag=two", processes=2)  # one pass a step in each process
    text, _ = child.communicate(timeout=240)
    assert child.returncode == 0, text
    expected = pytest.approx(list(losses(base_dir, "base_train.alone").values()), rel=1e-3)
    assert list(losses(base_dir, "base_train.two").values()) == expected
    assert status("base_train", "two")["metrics"]["tokens"] == status("base_train", "alone")["metrics"]["tokens"]

    shutil.rmtree(checkpoint.latest("base_train", "two"))
    assert checkpoint.latest("base_train", "two").name == "step_000006"
    assert base_train.main([*world, *options, "--tag=two"]) == 0
    assert list(losses(base_dir, "base_train.two").values()) == expected


def made_before(world, module, tower: bool) -> None:
    """What a stage starts from, with a tower or without."""
    if module in (mid_train, chat_sft):
        assert base_train.main(world) == 0
        if tower:
            assert dag_train.main([*world, "--mixture="]) == 0
        if tower and module is chat_sft:
            assert mid_train.main([*world, "--steps=2"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "module, tower, options",
    [
        (base_train, False, ["--sample_tokens=0", "--device_batch=2"]),
        (base_train, False, ["--sample_tokens=0", "--device_batch=4", "--total_batch=0"]),  # one pass of the one process
        (base_train, False, ["--sample_tokens=0", "--device_batch=4", "--total_batch=0", "--steps=0", "--tokens=3072"]),  # by law
        (dag_train, False, ["--mixture=", "--steps=12", "--device_batch=8"]),
        (mid_train, True, ["--steps=12", "--device_batch=2", "--total_batch=512"]),
        (mid_train, True, ["--steps=12", "--device_batch=8", "--plans=3", "--plans_at=everywhere", "--hindsight=true"]),
        (chat_sft, False, ["--source=base", "--steps=12", "--device_batch=2", "--total_batch=512"]),
        (chat_sft, True, ["--arithmetic=40", "--steps=12", "--device_batch=2", "--total_batch=512"]),
    ],
)
def test_a_run_goes_on_with_two_four_and_one_process_as_if_it_had_had_one(world, base_dir, module, tower, options):
    stage = module.STAGE.name
    made_before(world, module, tower)
    options = [*options, "--save_every=3", "--keep=9"]
    assert module.main([*world, *options]) == 0
    alone, tokens = losses(base_dir, stage), status(stage)["metrics"]["tokens"]
    for step, processes in ((3, 2), (6, 4), (9, 1)):
        for path in checkpoint.complete(stage):
            if int(path.name[-6:]) > step:
                checkpoint.discard(path)
        child = launch(world, *options, stage=stage, processes=processes)
        text, _ = child.communicate(timeout=300)
        assert child.returncode == 0 and f"goes on from step {step}" in text, text
        assert status(stage)["metrics"]["tokens"] == tokens
    assert list(losses(base_dir, stage).values()) == pytest.approx(list(alone.values()), rel=1e-6)


def tokens_of_a_row(world, module) -> int:
    """What --total_batch counts for a row: of dag_train the mean length of an example, told by a short run."""
    if module is not dag_train:
        return 64
    assert dag_train.main([*world, "--tag=short", "--steps=1"]) == 0
    found = status("dag_train", "short")["metrics"]
    return found["tokens"] // found["examples"]


KINDS = [
    (base_train, False, ["--sample_tokens=0"]),
    (mid_train, False, ["--dag_depth=0"]),
    (mid_train, True, []),
    (mid_train, True, ["--plans=3", "--plans_at=everywhere", "--hindsight=true"]),
    (chat_sft, False, ["--source=base"]),
    (chat_sft, True, ["--arithmetic=40"]),
    (dag_train, False, ["--mixture="]),
]


@pytest.mark.slow
@pytest.mark.parametrize("module, tower, options", KINDS)
def test_a_pass_two_passes_and_two_processes_train_the_same(world, base_dir, module, tower, options):
    stage = module.STAGE.name
    made_before(world, module, tower)
    options = [*options, "--steps=4", f"--total_batch={8 * tokens_of_a_row(world, module)}", "--lr_scale=0.9"]
    assert module.main([*world, *options, "--device_batch=8", "--tag=pass"]) == 0
    expected = pytest.approx(list(losses(base_dir, f"{stage}.pass").values()), rel=1e-5)
    assert module.main([*world, *options, "--device_batch=4", "--tag=passes"]) == 0
    assert list(losses(base_dir, f"{stage}.passes").values()) == expected
    child = launch(world, *options, "--device_batch=4", "--tag=processes", stage=stage, processes=2)
    text, _ = child.communicate(timeout=240)
    assert child.returncode == 0, text
    assert list(losses(base_dir, f"{stage}.processes").values()) == expected


def test_dag_train_counts_word_problems_apart(world, monkeypatch):
    asked = {}
    monkeypatch.setattr(dag_train, "match", lambda model, unseen, variant: asked.update(unseen) or {"answer_match": 0.5})
    monkeypatch.setattr(dag_train, "problem_match", lambda model, told: asked.update(told=told) or 0.25)
    monkeypatch.setattr(dag_train, "UNSEEN", 6)
    assert dag_train.main([*world, "--styles=symbols,problems", "--steps=1"]) == 0
    assert status("dag_train")["metrics"]["problem_match"] == 0.25
    texts = [asked[k].expression(i) for k in (1, 2) for i in range(2)]
    assert len(asked["told"]) == 6 and all(len(ids) > 12 for ids, _ in asked["told"]) and all(len(t) < 30 for t in texts)
    assert set(asked) == {1, 2, "told"}


@pytest.mark.slow
def test_dag_train_learns_the_same_whether_or_not_its_batches_are_made_ahead(world, base_dir):
    options = [*world, "--mixture=word_problems:200", "--steps=70", "--device_batch=128"]  # more than a block
    assert dag_train.main([*options, "--workers=0"]) == 0 and dag_train.main([*options, "--tag=ahead", "--workers=1"]) == 0
    here, ahead = losses(base_dir, "dag_train"), losses(base_dir, "dag_train.ahead")
    assert len(here) == 70 and here == ahead
