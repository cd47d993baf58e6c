"""A checkpoint is whole or not there; the newest whole one is found; what does not fit is refused in a sentence."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch

from nanochat.common import UserError
from nanochat.train import checkpoint


@pytest.fixture
def save(make_gpt, tokenizer):
    """`save(step, ...)` writes a tiny base checkpoint; its model is made from the step as seed."""

    def write(step: int, stage: str = "base_train", tag: str = "", **options):
        model = make_gpt(seed=step)
        meta = {**checkpoint.describe(model, tokenizer), "parent": None, "metrics": {"val_bpb": 1.5}}
        return checkpoint.save(stage, tag, step, model, meta, {"step": step, "tensor": torch.ones(3)}, **options)

    return write


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_what_was_saved_is_loaded(save, make_gpt, tokenizer):
    path = save(7)
    model, loaded_tokenizer, meta = checkpoint.load_model("base")
    assert same(model, make_gpt(seed=7)) and not model.training
    assert loaded_tokenizer.hash == tokenizer.hash
    assert (meta["step"], meta["id"], meta["metrics"]) == (7, "base_train/default/step_000007", {"val_bpb": 1.5})
    assert sorted(p.name for p in path.iterdir()) == ["COMPLETE", "meta.json", "model.safetensors", "train_state.pt"]
    assert checkpoint.load_train_state(path)["tensor"].tolist() == [1, 1, 1]


def test_whoever_may_read_one_file_may_read_all(save):
    assert len({p.stat().st_mode for p in save(7).iterdir()}) == 1


def test_when_every_checkpoint_is_damaged_that_is_said(save):
    (save(5) / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="every checkpoint of 'base' .* is damaged; make it again with `.*base_train --force`"):
        checkpoint.load_model("base")


def test_a_model_that_may_not_be_read_is_said(save, make_gpt, monkeypatch):
    path = save(5)

    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checkpoint, "load_file", denied)
    with pytest.raises(UserError, match="model.safetensors cannot be read"):
        checkpoint.load_weights(make_gpt(seed=5), path)


def test_the_newest_wins_and_the_newest_few_are_kept(save):
    for step in (5, 10, 1000000):
        save(step, keep=2)
    assert checkpoint.latest("base_train").name == "step_1000000"
    assert checkpoint.existing() == ["base_train/default/step_1000000", "base_train/default/step_000010"]


def test_a_step_can_be_asked_for(save, make_gpt):
    save(5), save(10)
    assert same(checkpoint.load_model("base", step=5)[0], make_gpt(seed=5))


def test_tags_are_apart(save, make_gpt):
    save(3, "mid_train"), save(4, "mid_train", "plain")
    assert same(checkpoint.load_model("mid")[0], make_gpt(seed=3))
    assert same(checkpoint.load_model("mid", "plain")[0], make_gpt(seed=4))


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda p: flip_a_byte(p / "model.safetensors"),
        lambda p: flip_a_byte(p / "train_state.pt"),
        lambda p: (p / "train_state.pt").unlink(),
        lambda p: (p / "meta.json").write_text("{"),
        lambda p: os.truncate(p / "model.safetensors", 100),
    ],
)
def test_a_damaged_checkpoint_is_named_and_walked_past(save, capfd, damage):
    good, bad = save(5), save(10)
    damage(bad)
    assert checkpoint.latest("base_train") == good
    assert str(bad) in capfd.readouterr().err


def test_a_damaged_checkpoint_asked_for_by_step_is_refused(save):
    flip_a_byte(save(5) / "model.safetensors")
    with pytest.raises(UserError, match="model.safetensors is not as it was written"):
        checkpoint.load_model("base", step=5)


def test_a_folder_without_its_marker_does_not_exist(save):
    (save(5) / "COMPLETE").unlink()
    assert checkpoint.latest("base_train") is None and checkpoint.existing() == []


def test_only_checkpoints_of_the_same_run_are_gone_on_from(save):
    save(5)
    assert checkpoint.latest("base_train", identity="another") is None


def test_what_lies_beyond_a_resumed_step_makes_place_only_when_something_new_is_saved(save):
    five, ten = save(5), save(10)
    stale = checkpoint.beyond("base_train", "", five)
    assert stale == [ten] and checkpoint.beyond("base_train", "", None) == [ten, five]
    assert ten.exists()
    save(7, stale=stale)
    assert checkpoint.existing() == ["base_train/default/step_000007", "base_train/default/step_000005"]


SAVE_AND_DIE = """
import os, signal, sys, torch
from nanochat.model.gpt import GPT
from nanochat.model.presets import make_config
from nanochat.train import checkpoint
where, whole = sys.argv[1], torch.save
def die(*arguments):
    if where == "middle":
        os.kill(os.getpid(), signal.SIGKILL)
    whole(*arguments)
torch.save = die
replace = os.replace
def die_at_the_end(source, target):
    if where == "end" and str(target).endswith("step_000010"):
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = die_at_the_end
checkpoint.save("base_train", "", 10, GPT(make_config("tiny")), {}, {})
"""


@pytest.mark.parametrize("where", ["middle", "end"])
def test_killed_while_saving_the_old_checkpoint_stays_valid_and_the_next_save_sweeps_up(save, repository, where):
    good = save(5)
    child = subprocess.run([sys.executable, "-c", SAVE_AND_DIE, where], cwd=repository, capture_output=True, text=True)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert len(list(good.parent.iterdir())) == 2  # and what the killed one had begun
    assert checkpoint.latest("base_train") == good and checkpoint.load_model("base")[2]["step"] == 5
    save(11)
    assert sorted(p.name for p in good.parent.iterdir()) == ["step_000005", "step_000011"]


DISCARD_AND_DIE = """
import os, shutil, signal, sys
from pathlib import Path
from nanochat.train import checkpoint
def die(path, **_):
    if path.exists():
        (path / "model.safetensors").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
shutil.rmtree = die
checkpoint.discard(Path(sys.argv[1]))
"""


def test_killed_while_removing_an_old_one_nothing_damaged_is_seen_and_the_next_save_sweeps_up(save, repository, capfd):
    old, good = save(5), save(10)
    child = subprocess.run([sys.executable, "-c", DISCARD_AND_DIE, str(old)], cwd=repository, capture_output=True, text=True)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert checkpoint.existing() == ["base_train/default/step_000010"] and len(list(good.parent.iterdir())) == 2
    save(11)
    assert sorted(p.name for p in good.parent.iterdir()) == ["step_000010", "step_000011"]


def test_saving_the_same_step_again_replaces_it(save, make_gpt):
    save(5), save(5)
    assert same(checkpoint.load_model("base")[0], make_gpt(seed=5))


def test_a_missing_checkpoint_names_the_command_and_what_there_is(save):
    save(5)
    with pytest.raises(UserError, match=r"python -m scripts.chat_sft --tag=x.*base_train/default/step_000005"):
        checkpoint.load_model("sft", "x")
    with pytest.raises(UserError, match="base, dag, mid, sft"):
        checkpoint.load_model("bass")


def test_another_tokenizer_is_refused(save):
    path = save(5)
    meta = json.loads((path / "meta.json").read_text())
    (path / "meta.json").write_text(json.dumps({**meta, "tokenizer_hash": "0" * 64}))
    with pytest.raises(UserError, match="another tokenizer"):
        checkpoint.load_model("base")


def test_weights_of_another_shape_are_refused(save):
    path = save(5)
    meta = json.loads((path / "meta.json").read_text())
    meta["model_config"]["n_layer"] += 1
    (path / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(UserError, match="does not fit"):
        checkpoint.load_model("base")


def test_the_input_of_a_later_stage_is_the_checkpoint_or_the_way_to_one(save):
    assert "python -m scripts.base_train" in checkpoint.as_input("base").made_by
    assert not checkpoint.as_input("base").path.exists()
    path = save(5)
    assert checkpoint.as_input("base").path == path
