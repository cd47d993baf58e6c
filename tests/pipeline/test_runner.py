import os
import signal
from types import SimpleNamespace

import pytest

from nanochat.pipeline import runner
from nanochat.pipeline.plan import Finding


@pytest.fixture
def ran(monkeypatch) -> list[str]:
    """Labels of the stages started; the stage called "broken" fails, all others are done."""
    labels: list[str] = []

    def run(launcher, step):
        labels.append(step.label)
        return (Finding("failed", "it broke") if step.label == "broken" else Finding("done", "well")), 1.0

    monkeypatch.setattr(runner.Launcher, "run", run)
    monkeypatch.setattr(runner, "look", lambda step: Finding("to do", ""))
    return labels


def steps(*labels):
    return [SimpleNamespace(label=label, stage=SimpleNamespace(name=label)) for label in labels]


def test_a_failure_stops_the_run_but_the_report_is_still_written(ran):
    assert runner.run_plan(steps("first", "broken", "never", "report"), say=lambda line: None) == 1
    assert ran == ["first", "broken", "report"]


def test_all_stages_run_once_when_none_fails(ran):
    assert runner.run_plan(steps("first", "second", "report"), say=lambda line: None) == 0
    assert ran == ["first", "second", "report"]


def test_after_a_stop_file_no_further_stage_is_started(ran, base_dir, monkeypatch):
    lines = []
    start = runner.Launcher.run
    monkeypatch.setattr(runner.Launcher, "run", lambda launcher, step: ((base_dir / "STOP").touch(), start(launcher, step))[1])
    base_dir.mkdir(exist_ok=True)
    assert runner.run_plan(steps("first", "second", "report"), say=lines.append) == 75
    assert ran == ["first"] and "interrupted" in lines[-1] and "STOP is there; remove it" in lines[-1]


def test_a_stage_that_met_the_stop_file_while_it_started_was_interrupted(base_dir):
    class Slow(SimpleNamespace):
        folder = base_dir / "stages/slow"

    base_dir.mkdir(exist_ok=True)
    command = ["sh", "-c", f"touch {base_dir}/STOP; exit 2"]
    step = Slow(label="slow", stage=SimpleNamespace(name="slow"), tag="", processes=1, distributed=False, command=command)
    with runner.Launcher() as launcher:
        finding, _ = launcher.run(step)
    assert finding.state == "interrupted" and "remove it to go on" in finding.note
    (base_dir / "STOP").unlink()
    step.command = ["sh", "-c", "exit 2"]
    with runner.Launcher() as launcher:
        assert launcher.run(step)[0].state == "failed"


@pytest.mark.parametrize("number, count", [(signal.SIGTERM, 1), (signal.SIGUSR1, 1), (signal.SIGINT, 2)])
def test_the_same_signal_again_within_seconds_is_one_request_but_ctrl_c_is_two(number, count):
    with runner.Launcher() as launcher:
        for _ in range(2):
            os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGHUP)
    assert launcher.requests == count + 1
