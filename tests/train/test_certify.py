"""certify_resume tells equal runs from unequal ones: whatever part of a checkpoint's training state is lost, it says so."""

import json
import random
import signal
from pathlib import Path

import pytest
import torch

from nanochat.common import UserError, read_json, write_text
from nanochat.train import checkpoint
from nanochat.train.certify import Certifier, Verdict, _equal
from scripts import certify_resume


def test_states_are_compared_bit_for_bit():
    a = {"x": torch.tensor([1.0, 2.0]), "n": [1, (2, {"y": torch.zeros(2)})]}
    assert _equal(a, {"x": torch.tensor([1.0, 2.0]), "n": [1, (2, {"y": torch.zeros(2)})]})
    for other in ({"x": torch.tensor([1.0, 2.0 + 1e-6]), "n": a["n"]}, {"x": a["x"]}, {"x": a["x"], "n": [1, (2, {"y": torch.ones(2)})]}):
        assert not _equal(a, other)


@pytest.fixture
def toy(tmp_path):
    """A certifier with made-up runs: `losses(whole, killed)` writes their metrics."""
    certifier = Certifier(tmp_path / "work", steps=3)

    def losses(**runs):
        for base, found in runs.items():
            folder = tmp_path / "work" / base / "stages" / "base_train"
            folder.mkdir(parents=True)
            (folder / "metrics.jsonl").write_text("".join(json.dumps({"step": s, "loss": x}) + "\n" for s, x in found) + '{"step": 3, "lo')
        verdict = Verdict("base_train", 3)
        certifier._compare("base_train", verdict)
        return verdict.difference

    return losses


EXPECTED = [(1, 3.0), (2, 2.0), (3, 1.0)]


def test_a_loss_that_differs_in_the_last_bit_is_named(toy):
    assert "loss of step 2" in toy(whole=EXPECTED, killed=[(1, 3.0), (2, 2.0000000000000004), (2, 2.0), (3, 1.0)])


def test_a_loss_that_is_missing_is_named(toy):
    assert "step 2" in toy(whole=EXPECTED, killed=[(1, 3.0), (3, 1.0)])


def test_a_folder_in_use_and_an_unknown_stage_are_refused(tmp_path, capfd):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(UserError, match="not empty"):
        Certifier(tmp_path)
    assert certify_resume.main(["--stages=base_trian"]) == 2 and "did you mean 'base_train'" in capfd.readouterr().err


def lose(part: str):
    """A function that puts what a new run begins with in the place of a part of a checkpoint's training state."""

    def tamper(folder: Path) -> None:
        state = torch.load(folder / checkpoint.STATE, weights_only=True)
        if part == "optimizer":
            state["optimizer"]["state"] = {
                n: {k: torch.zeros_like(v) for k, v in s.items()} for n, s in state["optimizer"]["state"].items()
            }
        elif part == "batches":
            state["batches"][0] |= {"epoch": 0, "cursor": 0, "waiting": []}
        elif part == "loss_sum":
            state["loss_sum"] = 0.0
        elif part == "random":
            state["random"][0]["cpu"] = torch.Generator().manual_seed(5).get_state()
        torch.save(state, folder / checkpoint.STATE)
        meta = read_json(folder / checkpoint.META)
        meta["files"] = {name: checkpoint.sha256(folder / name) for name in meta["files"]}
        write_text(folder / checkpoint.META, json.dumps(meta))

    return tamper


@pytest.mark.slow
@pytest.mark.parametrize("part", ["", "optimizer", "batches", "loss_sum", "random"])
def test_a_lost_part_of_the_state_is_found(tmp_path, part, monkeypatch):
    monkeypatch.setattr(Certifier, "_kill_once", kill_by_signal)
    certifier = Certifier(tmp_path / "work", steps=12, kills=1, tamper=lose(part) if part else None)
    certifier.prepare()
    verdict = certifier.certify("base_train")
    assert verdict.kills and bool(verdict.difference) == bool(part), verdict


def kill_by_signal(self, stage, way, seconds, verdict):
    """Asked to stop in the middle: the next start begins with the checkpoint that was then written."""
    process = self._start(stage, self.killed)
    while process.poll() is None and self._step(stage) < 4:
        random.random()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 75
    verdict.kills.append((way, self._step(stage)))
    return True


@pytest.mark.slow
def test_a_stage_that_is_killed_in_every_way_gets_its_certificate(tmp_path, capfd):
    assert certify_resume.main(["--stages=base_train", "--steps=20", f"--folder={tmp_path / 'work'}"]) == 0
    said = capfd.readouterr().out.splitlines()
    found = json.loads(said[-1])
    assert said[0].startswith("CERTIFICATE") and found["equal"] and len(found["stages"][0]["kills"]) >= 2
