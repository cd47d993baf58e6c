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


@pytest.mark.parametrize("number, count", [(signal.SIGTERM, 1), (signal.SIGUSR1, 1), (signal.SIGINT, 2)])
def test_the_same_signal_again_within_seconds_is_one_request_but_ctrl_c_is_two(number, count):
    with runner.Launcher() as launcher:
        for _ in range(2):
            os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGHUP)
    assert launcher.requests == count + 1
