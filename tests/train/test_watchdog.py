"""A process that hangs shows its stacks and ends with an exit code; one that is slow, or was stopped for a while, goes on."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch

from nanochat.train.watchdog import Watchdog

HANGS = """
import os, sys, time
import torch, torch.distributed as dist
from nanochat import common
from nanochat.pipeline.stage import Run
from nanochat.train.loop import fit
from tests.train.conftest import Config, CountingBatches

rank, world = common.rank(), common.world_size()
if world > 1:
    dist.init_process_group("gloo", rank=rank, world_size=world)
config = Config(log_every=1, eval_every=2, save_minutes=0.0, steps=4, hang_minutes=0.03)
folder = common.base_dir() / "stages" / "dag_train"
folder.mkdir(parents=True, exist_ok=True)
run = Run("dag_train", "", folder, config, identity="run 1", compute=common.Compute(torch.device("cpu"), torch.float32, rank, world))

def sleeps_for_ever():
    while True:
        time.sleep(60)

def loss(model, batch):
    if rank == world - 1 and WHERE == "step" and batches.n == 2:
        sleeps_for_ever()
    return model(batch[0].float()).square().mean(), {}

def evaluate(model):
    for _ in range(12):  # takes longer than it may take, but moves
        time.sleep(0.25)
        model(torch.zeros(1, 16))
    print("moved")
    sleeps_for_ever()
    return {"val": 1.0}

batches = CountingBatches()
torch.manual_seed(0)
fit(run, config, model=torch.nn.Linear(16, 1), batches=batches, loss_fn=loss, evaluate=evaluate, meta={"model_config": {}})
"""


def started(base_dir, repository, where: str, rank: int = 0, world: int = 1, port: int = 0) -> subprocess.Popen:
    environment = {**os.environ, "RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-c", f"WHERE = {where!r}\n{HANGS}"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=repository, env=environment, **streams)


def test_all_processes_end_when_one_hangs_and_its_stack_is_shown(base_dir, repository):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    children = [started(base_dir, repository, "step", rank, 2, port) for rank in (0, 1)]
    first, second = (child.communicate(timeout=120)[1] for child in children)
    assert [child.returncode for child in children] == [1, 1]
    assert "in sleeps_for_ever" in second and "in sleeps_for_ever" not in first
    assert "process 1 got no further for 1.8 s (step 2)" in second and "process 0 got no further" in first
    note = (base_dir / "stages" / "dag_train" / "failure.1").read_text()
    assert note == "process 1 got no further for 1.8 s (step 2); --hang_minutes sets how long it may"


def test_an_evaluation_may_take_long_as_long_as_it_moves(base_dir, repository):
    child = started(base_dir, repository, "evaluation")
    printed, said = child.communicate(timeout=120)
    assert child.returncode == 1 and printed == "moved\n"
    assert "(evaluation after step 2)" in said and "in sleeps_for_ever" in said


STOPPED = """
import os, sys, time
from pathlib import Path
from nanochat.train.watchdog import Watchdog
with Watchdog(1 / 60, Path(".")) as watchdog:
    for i in range(20):
        watchdog.beat("counting")
        print(i, flush=True)
        time.sleep(0.1)
"""


@pytest.mark.slow
def test_time_in_which_a_process_was_stopped_does_not_count(repository):
    child = subprocess.Popen([sys.executable, "-c", STOPPED], cwd=repository, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "0\n"
    child.send_signal(signal.SIGSTOP)
    time.sleep(2.5)
    child.send_signal(signal.SIGCONT)
    child.communicate(timeout=60)
    assert child.returncode == 0


def test_without_minutes_there_is_no_watch_and_after_it_nothing_is_left(tmp_path):
    import threading

    before = threading.active_count()
    with Watchdog(0, tmp_path):
        assert threading.active_count() == before
    model = torch.nn.Linear(1, 1)
    with Watchdog(5, tmp_path, model) as watchdog:
        watchdog.beat("evaluation")
        model(torch.zeros(1, 1))
        assert (watchdog.beats, watchdog.doing) == (2, "evaluation") and threading.active_count() == before + 1
    model(torch.zeros(1, 1))
    assert watchdog.beats == 2, "a forward pass after it is none"


SAMPLES = """
import time
import torch
from nanochat import common
from nanochat.pipeline.stage import Run
from nanochat.train.loop import fit
from tests.train.conftest import Config, CountingBatches

class Sampled(CountingBatches):
    def __next__(self):  # asks the model for longer than a step may take without moving
        for _ in range(6):
            time.sleep(0.3)
            model(torch.zeros(1, 16))
        return super().__next__()

config = Config(log_every=1, eval_every=0, save_minutes=0.0, steps=2, hang_minutes=0.02)
folder = common.base_dir() / "stages" / "chat_rl"
folder.mkdir(parents=True, exist_ok=True)
run = Run("chat_rl", "", folder, config, identity="run 1", compute=common.Compute(torch.device("cpu"), torch.float32, 0, 1))
model = torch.nn.Linear(16, 1)
loss = lambda model, batch: (model(batch[0].float()).square().mean(), {})
fit(run, config, model=model, batches=Sampled(), loss_fn=loss, meta={"model_config": {}})
"""


def test_drawing_a_batch_may_take_long_as_long_as_the_model_moves(base_dir, repository):
    done = subprocess.run([sys.executable, "-c", SAMPLES], cwd=repository, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
