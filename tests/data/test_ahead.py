"""Things made ahead: the same, in order, and no process outlives the one it works for."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from nanochat.data.ahead import Ahead, Lookahead, default_workers

PROGRAM = """
import sys, time
from nanochat.data.ahead import Ahead

def make(number):
    time.sleep(0.01)
    return bytes(200_000) + str(number).encode()

ahead = Ahead(make, 2)
ahead.get(0)
print(*ahead._pool._processes, flush=True)
for number in range(1, 10_000):
    ahead.get(number)
    if sys.argv[1] == "fail" and number == 5:
        raise ValueError("enough")
    if sys.argv[1] == "end" and number == 5:
        break
"""


def squares(number):
    if number == 7:
        raise ValueError("seven is refused")
    return number * number, os.getpid()


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(pids, seconds=10.0):
    until = time.monotonic() + seconds
    while time.monotonic() < until and any(map(alive, pids)):
        time.sleep(0.02)
    return not any(map(alive, pids))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_numbers_come_in_any_order_and_what_failed_fails_here(workers):
    ahead = Ahead(squares, workers)
    for number in (0, 1, 2, 5, 4, 6):
        value, pid = ahead.get(number)
        assert value == number * number and (pid == os.getpid()) == (workers == 0)
    with pytest.raises(ValueError, match="seven is refused"):
        ahead.get(7)
    assert ahead.get(8)[0] == 64
    ahead.close()
    assert ahead.get(9) == (81, os.getpid())


def test_a_worker_that_was_killed_is_replaced_by_the_training_process(capsys):
    ahead = Ahead(squares, 1)
    os.kill(ahead.get(0)[1], signal.SIGKILL)
    assert [ahead.get(n)[0] for n in (1, 2, 3)] == [1, 4, 9] and ahead.get(4)[1] == os.getpid()
    assert capsys.readouterr().err.count("was killed") == 1


def test_requests_to_stop_are_for_the_training_process():
    ahead = Ahead(squares, 1)
    pid = ahead.get(0)[1]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        os.kill(pid, number)
    time.sleep(0.1)
    assert [ahead.get(n) for n in (1, 2)] == [(1, pid), (4, pid)]


def test_workers_end_when_nobody_needs_them_any_more():
    ahead = Ahead(squares, 1)
    pid = ahead.get(0)[1]
    del ahead
    gc.collect()
    assert wait_until_gone([pid])


@pytest.mark.parametrize("how", ["end", "fail", signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_the_process_however_it_ends(repository, how):
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(how)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=repository
    )
    pids = [int(pid) for pid in child.stdout.readline().split()]
    assert len(pids) == 2 and all(map(alive, pids))
    if how not in ("end", "fail"):
        child.send_signal(how)
    _, said = child.communicate(timeout=30)
    assert (child.returncode == 0) == (how == "end") and wait_until_gone(pids), said
    assert how != "fail" or "ValueError: enough" in said
    assert how != "end" or not said


@pytest.mark.parametrize("depth", [0, 1, 4])
def test_a_thread_makes_things_in_their_order_and_no_more_than_were_asked_for(depth):
    made = []
    ahead = Lookahead(lambda: made.append(threading.current_thread()) or len(made), depth)
    assert made == []
    assert [ahead.get() for _ in range(20)] == list(range(1, 21))
    ahead.close()
    assert 20 <= len(made) <= 20 + depth and (threading.main_thread() in made) == (depth == 0)


def test_what_fails_in_the_thread_fails_here():
    ahead = Lookahead(iter([1]).__next__, 2)
    assert ahead.get() == 1
    with pytest.raises(StopIteration):
        ahead.get()


def test_one_cpu_has_no_worker_to_spare(monkeypatch):
    for cpus, local, expected in (({0}, "1", 0), ({0, 1}, "1", 1), ({0, 1}, "2", 0), (set(range(16)), "8", 1)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, cpus=cpus: cpus, raising=False)
        monkeypatch.setenv("LOCAL_WORLD_SIZE", local)
        assert default_workers() == expected
