"""Stages as processes: signals, kill -9, several processes under torchrun."""

import signal
import socket

import pytest

from tests.pipeline.helpers import wait_for


@pytest.fixture
def logged(base_dir):
    """True once the slow stage has logged `steps` steps."""
    path = base_dir / "stages" / "slow" / "metrics.jsonl"
    return lambda steps: path.exists() and len(path.read_text().splitlines()) >= steps


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_after_a_signal_everything_is_saved_and_the_same_command_goes_on(start, status, logged, number):
    child = start("slow", "--steps=30", "--pause=0.1")
    wait_for(lambda: logged(2))
    child.send_signal(number)
    assert child.wait(30) == 75
    error = child.stderr.read()
    assert "stop requested" in error and "interrupted: saved at step" in error and "Traceback" not in error
    assert start("slow", "--steps=30", "--pause=0.1").wait(60) == 0
    assert status("slow")["state"] == "done" and status("slow")["metrics"]["started_at"] > 0


@pytest.mark.slow
def test_another_configuration_does_not_go_on_but_begins(start, status, logged):
    child = start("slow", "--steps=500")
    wait_for(lambda: logged(2))
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) == 75
    assert start("slow", "--steps=50").wait(60) == 0
    assert status("slow")["metrics"]["started_at"] == 0


def test_a_second_ctrl_c_means_now(start, status, logged):
    child = start("slow", "--steps=1000", "--deaf")
    wait_for(lambda: logged(2))
    child.send_signal(signal.SIGINT)
    wait_for(lambda: "stop requested" in child.stderr.readline())
    child.send_signal(signal.SIGINT)
    assert child.wait(30) == 75
    assert status("slow")["state"] == "interrupted"


@pytest.mark.slow
def test_after_kill_9_the_status_still_says_running_and_the_next_run_begins(start, status, logged, base_dir):
    child = start("slow", "--steps=500")
    wait_for(lambda: logged(2))
    child.kill()
    child.wait(30)
    assert status("slow")["state"] == "running"
    assert start("slow", "--steps=3").wait(60) == 0
    assert status("slow")["state"] == "done"


def test_two_runs_at_once_are_refused(start, logged):
    first = start("slow", "--steps=500")
    wait_for(lambda: logged(1))
    second = start("slow", "--steps=500")
    assert second.wait(60) == 2
    assert f"by process {first.pid} on {socket.gethostname()}; wait for it" in second.stderr.read()


@pytest.mark.slow
def test_two_processes_agree_and_only_the_first_writes(start, status, base_dir):
    child = start("slow", processes=2)
    assert child.wait(120) == 0, child.stderr.read()
    assert status("slow")["metrics"]["processes"] == 2
    assert len((base_dir / "stages" / "slow" / "metrics.jsonl").read_text().splitlines()) == 3
    again = start("slow", processes=2)
    assert again.wait(120) == 0 and "skipped" in again.stderr.read()


@pytest.mark.slow
def test_a_stop_file_stops_all_processes_at_the_same_step(start, status, base_dir, logged):
    child = start("slow", "--steps=500", processes=2)
    wait_for(lambda: logged(2))
    (base_dir / "stages" / "slow" / "STOP").touch()
    assert child.wait(60) != 0
    assert status("slow")["state"] == "interrupted"


@pytest.mark.slow
def test_the_reason_of_another_process_is_kept(start, status):
    child = start("slow", "--break_rank=1", processes=2)
    assert child.wait(120) != 0
    assert status("slow")["error"] == "process 1: process 1 cannot go on"
