"""certify_resume tells equal runs from unequal ones: whatever part of a checkpoint's training state is lost, it says so."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from nanochat.common import Interrupted, UserError, read_json, sha256, write_text
from nanochat.train import certify, checkpoint
from nanochat.train.certify import Certifier, Verdict, _equal
from nanochat.train.loop import fit
from scripts import certify_resume
from tests.train.conftest import CountingBatches
from tests.train.test_loop import stop_at


def test_states_are_compared_bit_for_bit():
    a = {"x": torch.tensor([1.0, 2.0]), "n": [1, (2, {"y": torch.zeros(2)})]}
    assert _equal(a, {"x": torch.tensor([1.0, 2.0]), "n": [1, (2, {"y": torch.zeros(2)})]})
    for other in ({"x": torch.tensor([1.0, 2.0 + 1e-6]), "n": a["n"]}, {"x": a["x"]}, {"x": a["x"], "n": [1, (2, {"y": torch.ones(2)})]}):
        assert not _equal(a, other)


@pytest.fixture
def toy(tmp_path):
    """A certifier with made-up runs: `losses(whole, killed)` writes their metrics."""
    certifier = Certifier(tmp_path / "work", steps=3)
    certifier.logged = [(1, "loss", 3.0)]  # by an attempt that was killed

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


def test_what_a_killed_attempt_had_logged_counts_too(toy):
    assert "loss of step 1 is 3.0, without a kill 5.0" in toy(whole=[(1, 5.0), *EXPECTED[1:]], killed=[(1, 5.0), *EXPECTED[1:]])


def test_a_folder_in_use_and_an_unknown_stage_are_refused(tmp_path, capfd):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(UserError, match="not empty"):
        Certifier(tmp_path)
    assert certify_resume.main(["--stages=base_trian"]) == 2 and "did you mean 'base_train'" in capfd.readouterr().err


def test_nothing_to_certify_is_refused(capfd):
    assert certify_resume.main(["--stages="]) == 2
    said = capfd.readouterr().err
    assert "name at least one training stage" in said and "base_train" in said and "Traceback" not in said


# ---------------------------------------------------------------------------------------------------------------------
# Kills, and what is left when they are done


@pytest.fixture
def elusive(tmp_path, monkeypatch):
    """`elusive(kills of each run, ...)` -> a certifier, asked for 3 kills, of a stage that is done after so many of them in a run."""

    def make(*kills: int) -> Certifier:
        certifier, left = Certifier(tmp_path / "work", steps=15, kills=3), list(kills)
        certifier.whole.mkdir()

        def kill_once(stage, way, seconds, verdict):
            if left and left[0]:
                left[0] -= 1
                verdict.kills.append((way, 1))
                return True
            return False

        def finish(stage, base):
            if base == certifier.killed:
                del left[:1]
                assert not (base / "checkpoints" / stage).exists(), "an earlier run's"
                (base / "checkpoints" / stage).mkdir(parents=True)
            return 1.0

        monkeypatch.setattr(certifier, "_kill_once", kill_once)
        monkeypatch.setattr(certifier, "finish", finish)
        monkeypatch.setattr(certifier, "_compare", lambda *_: None)
        return certifier

    return make


def test_a_stage_that_was_done_too_early_begins_anew_until_it_was_killed_as_often_as_asked(elusive):
    verdict = elusive(2, 0, 1).certify("base_train")
    assert len(verdict.kills) == 3 and "killed 3 times: " in verdict.line()


@pytest.mark.parametrize(("kills", "code", "head", "line"), [
    ((0, 2), 0, "CERTIFICATE", "killed 2 times, not 3, since it was done before: "),
    ((), 1, "NO CERTIFICATE: ", "killed 0 times, not 3, since it was done before"),
])  # fmt: skip
def test_fewer_kills_are_told_and_none_is_no_certificate(elusive, monkeypatch, capfd, kills, code, head, line):
    verdict = elusive(*kills).certify("base_train")
    monkeypatch.setattr(certify_resume, "certify", lambda *_: [verdict])
    assert certify_resume.main([]) == code
    said = capfd.readouterr().out.splitlines()
    assert said[0].startswith(head) and line in said[2] and json.loads(said[-1])["certified"] is (code == 0)


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """`commands(code)`: every stage is this Python code. Temporary folders are made in the folder that is given back."""

    def be(code: str) -> Path:
        popen = subprocess.Popen
        monkeypatch.setattr(subprocess, "Popen", lambda command, **options: popen([sys.executable, "-c", code], **options))
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
        (tmp_path / "temporary").mkdir()
        return tmp_path / "temporary"

    return be


def test_the_log_of_a_stage_that_failed_is_where_it_is_said_to_be(commands, capfd):
    temporary = commands("raise SystemExit('broken')")
    assert certify_resume.main(["--stages=base_train"]) == 2
    said = capfd.readouterr().err
    log = Path(said.strip().rpartition("its log is ")[2])
    assert "tok_train ended with exit code 1 (broken)" in said and temporary in log.parents and "broken" in log.read_text()


# A stage whose child is in a session of its own, as torchrun's processes are.
NEVER_DONE = """
import os, subprocess, sys, time
from pathlib import Path
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"], start_new_session=True)
pids = Path(os.environ["NANOCHAT_BASE_DIR"]).parents[1] / "pids"
pids.with_suffix(".new").write_text(f"{os.getpid()} {child.pid}")
pids.with_suffix(".new").rename(pids)
time.sleep(100)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_leaves_no_process_and_no_folder(commands, number):
    temporary = commands(NEVER_DONE)
    pids = temporary / "pids"

    def stop():
        while not pids.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        certify_resume.main(["--stages=base_train"])
    assert list(temporary.iterdir()) == [pids]
    for pid in pids.read_text().split():
        assert not Path(f"/proc/{pid}").exists() or " Z " in Path(f"/proc/{pid}/stat").read_text()


def test_a_stage_that_takes_for_ever_is_ended_and_said(commands, monkeypatch, capfd):
    commands("import time; time.sleep(100)")
    monkeypatch.setattr(certify, "PATIENCE", 0.2)
    assert certify_resume.main([]) == 2
    assert "tok_train did not end within 0.2 s; its log is " in capfd.readouterr().err


# ---------------------------------------------------------------------------------------------------------------------
# Every part of a checkpoint's state, in a run of a few steps that uses all of it


def noisy_loss(model, batch):
    return model(*batch).loss * (1 + 0.1 * torch.rand(())), {}


def run_toy(run, model, stop: int = 0):
    if stop:
        stop_at(run, stop)
    meta = {"model_config": model.config.to_dict(), "tokenizer_hash": None}
    evaluate = lambda model: {"val_bpb": float(model.head.weight.detach().norm())}  # noqa: E731
    fit(run, run.config, model=model, batches=CountingBatches(), loss_fn=noisy_loss, evaluate=evaluate, meta=meta)


def fresh(value):
    """What a run begins with in the place of a part of the state."""
    if isinstance(value, dict):
        return {k: fresh(v) for k, v in value.items()}
    if isinstance(value, list):
        return [fresh(v) for v in value]
    if isinstance(value, torch.Tensor):
        is_random_state = value.dtype == torch.uint8
        return torch.Generator().manual_seed(5).get_state() if is_random_state else torch.zeros_like(value)
    return type(value)()


def dropped(value):
    return None


def tampered(state: dict, part: tuple, change) -> dict:
    """`state` with the part at the end of the path `part` changed, or left out if `change` gives None."""
    name, *rest = part
    new = tampered(state[name], rest, change) if rest else change(state[name])
    return {k: v for k, v in {**state, name: new}.items() if v is not None}


def rewrite(folder: Path, part: tuple, change) -> None:
    """Changes a part of a checkpoint so that it still looks whole."""
    if part[0] == "weights":
        weights = load_file(folder / checkpoint.MODEL)
        save_file(tampered(weights, (list(weights)[0],), change), folder / checkpoint.MODEL)
    else:
        state = torch.load(folder / checkpoint.STATE, weights_only=True)
        torch.save(tampered(state, part, change), folder / checkpoint.STATE)
    meta = read_json(folder / checkpoint.META)
    meta["files"] = {name: sha256(folder / name) for name in meta["files"]}
    write_text(folder / checkpoint.META, json.dumps(meta))


SETTINGS = {"steps": 8, "eval_every": 3, "total_batch": 128, "warmup": 0.2, "weight_decay": 0.1, "lr_scale": 2.0}
PARTS = [("weights",), ("optimizer",), ("optimizer", "steps"), ("optimizer", "state"), ("random",), ("batches",), ("step",), ("loss_sum",),
         ("loss_weight",), ("losses",)]  # fmt: skip


@pytest.fixture
def pair(tmp_path, make_run, make_gpt, monkeypatch):
    """`pair(change of the checkpoint)` -> what differs between a whole run of 8 steps and one that went on from its changed 4th."""

    def compare(change) -> str:
        certifier = Certifier(tmp_path / "work", steps=SETTINGS["steps"])
        monkeypatch.setenv("NANOCHAT_BASE_DIR", str(certifier.whole))
        run_toy(make_run(**SETTINGS), make_gpt())
        monkeypatch.setenv("NANOCHAT_BASE_DIR", str(certifier.killed))
        with pytest.raises(Interrupted):
            run_toy(make_run(**SETTINGS), make_gpt(), stop=4)
        change(checkpoint.latest("base_train"))
        try:
            run_toy(make_run(**SETTINGS), make_gpt())
        except (KeyError, UserError) as error:
            return f"it does not go on: {error!r}"
        verdict = Verdict("base_train", SETTINGS["steps"])
        certifier._compare("base_train", verdict)
        return verdict.difference

    return compare


def test_a_run_that_goes_on_from_all_of_its_state_is_equal(pair):
    assert pair(lambda folder: None) == ""


@pytest.mark.parametrize("change", [dropped, fresh])
@pytest.mark.parametrize("part", PARTS, ids="/".join)
def test_whatever_part_of_the_state_is_lost_is_found(pair, part, change):
    assert pair(lambda folder: rewrite(folder, part, change))


def test_every_part_of_the_state_is_among_them(make_run, make_gpt):
    run_toy(make_run(**SETTINGS), make_gpt())
    state = checkpoint.load_train_state(checkpoint.latest("base_train"))
    assert {part[0] for part in PARTS} == {"weights"} | state.keys() - {"seconds"}  # which is of the clock
    assert state["optimizer"].keys() == {part[1] for part in PARTS if len(part) > 1}


# ---------------------------------------------------------------------------------------------------------------------
# Real stages


@pytest.mark.slow
@pytest.mark.parametrize("part", [(), ("optimizer", "state"), ("batches",)], ids="/".join)
def test_a_part_that_a_stage_loses_is_found(tmp_path, part, monkeypatch):
    def lose(folder: Path) -> None:
        if part == ("batches",):  # the data is still the same
            rewrite(folder, part, lambda cursors: [fresh(cursor) | {k: cursor[k] for k in ("seed", "items")} for cursor in cursors])
        elif part:
            rewrite(folder, part, fresh)

    monkeypatch.setattr(Certifier, "_kill_once", kill_by_signal)
    certifier = Certifier(tmp_path / "work", steps=12, kills=1, tamper=lose)
    certifier.prepare()
    verdict = certifier.certify("base_train")
    assert verdict.kills and bool(verdict.difference) == bool(part), verdict


def kill_by_signal(self, stage, way, seconds, verdict):
    """Asked to stop in the middle: the next start begins with the checkpoint that was then written."""
    process = self._start(stage, self.killed)
    while process.poll() is None and self._step(stage) < 4:
        time.sleep(0.01)
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


@pytest.mark.slow
def test_learning_from_rewards_gets_its_certificate(tmp_path, capfd):
    work = tmp_path / "work"
    assert certify_resume.main(["--stages=chat_rl", "--steps=20", "--kills=2", f"--folder={work}"]) == 0
    found = json.loads(capfd.readouterr().out.splitlines()[-1])["stages"][0]
    assert found["kills"] and found["losses"] >= 20
    lines = [json.loads(line) for line in (work / "whole/stages/chat_rl/metrics.jsonl").read_text().splitlines()]
    assert sum(line.get("advantage_share", 0) > 0 for line in lines) > 6, "there was nothing to learn"
