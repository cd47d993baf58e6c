import json
import os

import pytest

from nanochat.pipeline import requeue
from scripts import requeue as script


@pytest.fixture
def checkpoint(base_dir):
    """Makes a checkpoint of pretraining whole."""

    def make(step: int):
        folder = base_dir / "checkpoints/base_train/default" / f"step_{step:06d}"
        folder.mkdir(parents=True)
        (folder / "COMPLETE").touch()

    return make


def test_a_job_that_makes_something_new_starts_again_up_to_the_limit(checkpoint):
    for turn in range(3):
        checkpoint(turn)
        decision = requeue.decide("7", limit=3)
        assert decision.again and f"number {turn + 1} of at most 3" in decision.reason and f"step_{turn:06d}" in decision.reason
    checkpoint(9)
    decision = requeue.decide("7", limit=3)
    assert not decision.again and decision.failed and "NANOCHAT_MAX_RESTARTS is 3" in decision.reason
    assert requeue.decide("8", limit=3).again, "another job counts for itself"


def test_two_restarts_in_a_row_without_anything_new_are_the_last(checkpoint):
    checkpoint(1)
    assert [requeue.decide("7").again for _ in range(2)] == [True, True]
    decision = requeue.decide("7")
    assert not decision.again and decision.failed and "2 restarts in a row made nothing new" in decision.reason


def test_something_new_in_between_is_progress(checkpoint):
    checkpoint(1)
    assert requeue.decide("7").again and requeue.decide("7").again
    checkpoint(2)
    assert requeue.decide("7").again and requeue.decide("7").again
    assert not requeue.decide("7").again


def test_a_finished_stage_is_progress_and_a_half_written_checkpoint_is_none(base_dir, checkpoint):
    requeue.decide("7")
    (base_dir / "checkpoints/base_train/default/.step_000005.99.tmp").mkdir(parents=True)
    (base_dir / "checkpoints/base_train/default/step_000006").mkdir()
    assert requeue.progress() == []
    (base_dir / "stages/tok_eval").mkdir(parents=True)
    (base_dir / "stages/tok_eval/status.json").write_text('{"state": "done"}')
    (base_dir / "stages/base_eval").mkdir(parents=True)
    (base_dir / "stages/base_eval/status.json").write_text('{"state": "running"}')
    assert requeue.progress() == ["stages/tok_eval"]


def test_a_stop_file_ends_it_without_a_failure(base_dir, checkpoint):
    checkpoint(1)
    (base_dir / "STOP").touch()
    decision = requeue.decide("7")
    assert not decision.again and not decision.failed and str(base_dir / "STOP") in decision.reason


@pytest.mark.parametrize(
    "limit, stop, code, words",
    [("", False, 0, "starts again"), ("0", False, 1, "MAX_RESTARTS is 0"), ("", True, 75, "STOP"), ("many", False, 2, "")],
)
def test_the_script_says_it_with_its_exit_code(base_dir, monkeypatch, capsys, limit, stop, code, words):
    monkeypatch.setenv("NANOCHAT_MAX_RESTARTS", limit)
    base_dir.mkdir()
    if stop:
        (base_dir / "STOP").touch()
    assert script.main(["--job=7"]) == code
    assert words in capsys.readouterr().out


@pytest.mark.parametrize("argv", [[], ["--job=../x"]])
def test_a_job_must_have_a_name(argv, capsys):
    assert script.main(argv) == 2 and "name the job" in capsys.readouterr().err


def measured(base_dir, stage: str, dt: float, **metrics) -> None:
    folder = base_dir / "stages" / stage
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text(
        "".join(json.dumps({"step": i, "dt": value}) + "\n" for i, value in enumerate((None, dt / 2, dt)))
    )
    (folder / "status.json").write_text(json.dumps({"metrics": metrics}))


def test_the_warning_is_twice_the_longest_step_evaluation_and_save(base_dir, capsys):
    assert requeue.warning_seconds() == 600, "nothing is measured"
    measured(base_dir, "dag_train", 1.0)
    assert requeue.warning_seconds() == 600, "pretraining may take longer"
    measured(base_dir, "base_train", 20.0, eval_seconds=45.0, save_seconds=30.5)
    assert script.main(["--warning"]) == 0
    assert capsys.readouterr().out == "260\n", "60 + 2 * 95.5, rounded up to tens"


@pytest.mark.parametrize("dt, seconds", [(0.1, 120), (10_000.0, 3600)])
def test_the_warning_has_bounds(base_dir, dt, seconds):
    measured(base_dir, "base_train", dt)
    assert requeue.warning_seconds() == seconds


def test_the_job_of_each_end_is_written_down(base_dir, monkeypatch):
    monkeypatch.setitem(os.environ, "SLURM_JOB_ID", "12")
    requeue.decide("7_2")
    line = json.loads((base_dir / "slurm/7_2.jsonl").read_text())
    assert (line["restart"], line["slurm_job_id"], line["reached"]) == (0, "12", [])
