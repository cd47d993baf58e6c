"""Proof that a run which was killed and went on is the run that never stopped: the same loss at every step, the same weights.

Every training stage of a small pipeline runs twice from the same beginning. The second run is killed again and again: asked to stop
(SIGTERM), or ended at once (SIGKILL) at a random moment, while it writes a checkpoint or while it evaluates, and started again each
time by the same command. Then all losses and other figures ever logged, the last weights, the last training state and what the last
checkpoint says about itself are compared bit for bit. A stage that was done before it could be killed as often as asked begins anew.
"""

import contextlib
import itertools
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file

from nanochat.common import UserError, derive_seed, duration

STAGES = ("base_train", "dag_train", "mid_train", "chat_sft", "chat_rl")
SAVING, TERM, EVALUATING, KILL = WAYS = ("SIGKILL while saving", "SIGTERM", "SIGKILL while evaluating", "SIGKILL")
PATIENCE = 600.0  # seconds for one start of a stage of this size
EVAL_EVERY = 5  # steps
ROUNDS = 3  # runs of a stage, beside one for each kill, in which it can be killed
# What two equal runs may log differently.
OF_THE_CLOCK = {"time", "dt", "tokens_per_s", "examples_per_s", "data_wait", "mfu", "gpu_memory", "gpu_utilisation"}

PROFILE = """
stages = ["tok_train", "base_train", "dag_train", "mid_train", "chat_sft", "chat_rl"]
[common]
text = "embedded"
data_dir = "{data}"
device_batch = 4
log_every = 1
save_minutes = 0
steps = {steps}
save_every = 7
eval_every = {eval_every}
[tok_train]
vocab_size = 900
max_chars = 200_000
[base_train]
depth = 2
aspect_ratio = 32
head_dim = 32
sequence_len = 128
total_batch = {total_batch}
eval_tokens = 8192
sample_tokens = 0
[dag_train]
width = 32
layers = 2
heads = 2
operations = 3
eval_items = 40
workers = 1
[mid_train]
total_batch = {total_batch}
eval_passes = 4
eval_tokens = 8192
arithmetic = 100
plans = 3
plans_at = "everywhere"
mixture = ["facts:100", "word_problems:100"]
[chat_sft]
total_batch = {total_batch}
eval_passes = 8
arithmetic = 100
mixture = ["identity:100", "word_problems:100"]
[chat_rl]
tasks = ["svamp"]
questions = {questions}
samples = 8
max_tokens = 8
eval_problems = 60
"""


def write_questions(data: Path) -> None:
    """Questions that a model which has hardly learnt to speak answers half the time: a young tower repeats the first number it reads."""
    rows = [{"Body": f"There are {i} birds.", "Question": "How many birds are there?", "Answer": i} for i in range(10, 2010)]
    (data / "svamp").mkdir(parents=True)
    (data / "svamp" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@dataclass
class Verdict:
    """What came out for a stage. `kills`: how, and after which step, of `asked`; `difference`: the first one found, "" for none."""

    stage: str
    steps: int
    kills: list[tuple[str, int]] = field(default_factory=list)
    losses: int = 0
    difference: str = ""
    asked: int = 0

    def line(self) -> str:
        if self.difference:
            return f"{self.stage:<11} DIFFERS: {self.difference}"
        how = ", ".join(f"{way} after step {step}" for way, step in self.kills)
        equal = f"{self.losses} losses of {self.steps} steps, all other figures, weights and state equal"
        fewer = f", not {self.asked}, since it was done before" if len(self.kills) < self.asked else ""
        return f"{self.stage:<11} {equal}; killed {len(self.kills)} times{fewer}{': ' * bool(how)}{how}"


class Certifier:
    """Works in `folder`, which must be empty. `tamper(checkpoint folder)`, for tests, is called after every kill."""

    def __init__(self, folder: Path, *, steps: int = 30, kills: int = 4, seed: int = 0, processes: int = 1, device: str = "cpu",
                 tamper: Callable[[Path], None] | None = None):  # fmt: skip
        self.folder, self.steps, self.kills, self.processes, self.device, self.tamper = folder, steps, kills, processes, device, tamper
        self.random = random.Random(derive_seed(seed, "kills"))
        self.profile = folder / "certify.toml"
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UserError(f"{folder} is not empty; give a folder that is, or does not exist")
        data, batch = folder.absolute() / "data", 2 * 4 * 128 * processes
        write_questions(data)
        self.profile.write_text(PROFILE.format(data=data, steps=steps, total_batch=batch, questions=2 * processes, eval_every=EVAL_EVERY))
        self.whole, self.killed = folder / "whole", folder / "killed"
        self.logged: list[tuple[int, str, object]] = []  # by attempts that were killed: (step, name, value)

    def prepare(self) -> None:
        """Makes the tokenizer that all stages share."""
        self.finish("tok_train", self.whole)

    def certify(self, stage: str) -> Verdict:
        """Runs a stage twice after those before it have been certified, or run."""
        shutil.rmtree(self.killed, ignore_errors=True)
        shutil.copytree(self.whole, self.killed)
        seconds = self.finish(stage, self.whole)
        if (tokens := self.whole / "tokens").exists():  # making them again for every stage is no part of the proof
            shutil.copytree(tokens, self.killed / "tokens", dirs_exist_ok=True)
        verdict, self.logged = Verdict(stage, self.steps, asked=self.kills), []
        ways = itertools.cycle(WAYS)
        try:
            for _ in range(self.kills + ROUNDS):
                self._killed_run(stage, ways, seconds, verdict)
                if verdict.difference or len(verdict.kills) == self.kills:
                    break
                self._forget(stage)
        except UserError as error:
            verdict.difference = str(error)
        return verdict

    def _killed_run(self, stage: str, ways: Iterator[str], seconds: float, verdict: Verdict) -> None:
        """One run from its beginning to its end, killed as often as is left to do unless it is faster, and compared."""
        while len(verdict.kills) < self.kills and self._kill_once(stage, next(ways), seconds, verdict):
            self.logged += self._figures(stage, self.killed)  # the next attempt drops the lines of steps that it takes again
            if self.tamper is not None and (newest := self._checkpoints(stage)):
                self.tamper(newest[-1])
        self.finish(stage, self.killed)
        self._compare(stage, verdict)

    def _forget(self, stage: str) -> None:
        """The next killed run begins anew."""
        self.logged += self._figures(stage, self.killed)
        for folder in ("stages", "checkpoints"):
            shutil.rmtree(self.killed / folder / stage, ignore_errors=True)

    # -- running ------------------------------------------------------------------------------------------------------

    def _start(self, stage: str, base: Path) -> subprocess.Popen:
        command = [sys.executable, "-m", f"scripts.{stage}", f"--profile={self.profile}", f"--device={self.device}"]
        if self.processes > 1 and stage in STAGES:
            command[1:2] = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={self.processes}", "-m"]
        if stage == "tok_train":
            command.pop()
        environment = {**os.environ, "NANOCHAT_BASE_DIR": str(base), "OMP_NUM_THREADS": "1"}
        with open(self._log(stage, base), "ab") as log:
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

    @contextlib.contextmanager
    def _started(self, stage: str, base: Path) -> Iterator[subprocess.Popen]:
        """A start of a stage. It ends with the block, whatever ends that. UserError if it takes too long."""
        process = self._start(stage, base)
        try:
            yield process
        except subprocess.TimeoutExpired:
            raise UserError(f"{stage} did not end within {duration(PATIENCE)}; its log is {self._log(stage, base)}") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            while at_work := _at_work(base):  # torchrun's processes have sessions of their own
                for pid in at_work:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                time.sleep(0.01)
            process.wait()

    def _log(self, stage: str, base: Path) -> Path:
        return self.folder / f"{base.name}.{stage}.log"

    def finish(self, stage: str, base: Path) -> float:
        """Runs a stage to its end; seconds. UserError if it fails."""
        began = time.monotonic()
        with self._started(stage, base) as process:
            code = process.wait(timeout=PATIENCE)
        if code:
            last = self._log(stage, base).read_text(errors="replace").strip().splitlines()[-1:]
            raise UserError(f"{stage} ended with exit code {code} ({''.join(last)}); its log is {self._log(stage, base)}")
        return time.monotonic() - began

    def _kill_once(self, stage: str, way: str, seconds: float, verdict: Verdict) -> bool:
        """Starts the stage and ends it the given way; False if it was done before that."""
        target = self._step(stage) + self.random.randint(1, max(1, self.steps // (self.kills + 1)))
        deadline = time.monotonic() + max(60.0, 5 * seconds)
        with self._started(stage, self.killed) as process:
            while process.poll() is None and time.monotonic() < deadline and not self._is_moment(stage, way, target):
                time.sleep(0.0005 if way == SAVING else 0.01)
            if way in (TERM, KILL):
                time.sleep(self.random.random() * seconds / (2 * self.steps))
            done = process.poll() is not None
            if way == TERM and not done:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(timeout=PATIENCE)
        if done:
            return False
        hit = way in (TERM, KILL) or self._is_moment(stage, way, target)  # the process may have gone on before the signal came
        verdict.kills.append((way if hit else KILL, self._step(stage)))
        return True

    def _is_moment(self, stage: str, way: str, target: int) -> bool:
        """Has the stage come to where it is to be ended?"""
        if way == SAVING:
            return any(self._checkpoint_folder(self.killed, stage).glob(".step_*.tmp"))
        step = self._step(stage)
        if way != EVALUATING:
            return step >= target
        if step < target or (step + 1) % EVAL_EVERY:
            return False
        last = self._lines(stage, self.killed)[-1]  # the next line comes after the evaluation, which takes longer than a step
        return time.time() - last["time"] > 2 * last.get("dt", math.inf)

    # -- looking ------------------------------------------------------------------------------------------------------

    def _checkpoint_folder(self, base: Path, stage: str) -> Path:
        return base / "checkpoints" / stage / "default"

    def _checkpoints(self, stage: str, base: Path | None = None) -> list[Path]:
        return sorted(self._checkpoint_folder(base or self.killed, stage).glob("step_*"))

    def _lines(self, stage: str, base: Path) -> list[dict]:
        """The whole lines of metrics.jsonl."""
        path, found = base / "stages" / stage / "metrics.jsonl", []
        for line in path.read_text().splitlines() if path.exists() else []:
            with contextlib.suppress(ValueError):  # a process was killed in the middle of it
                found.append(json.loads(line))
        return found

    def _figures(self, stage: str, base: Path) -> list[tuple[int, str, object]]:
        """(step, name, value) of all that was logged and is not of the clock."""
        return [(line["step"], k, v) for line in self._lines(stage, base) for k, v in line.items() if k not in OF_THE_CLOCK | {"step"}]

    def _step(self, stage: str) -> int:
        return max((line["step"] for line in self._lines(stage, self.killed)), default=0)

    def _compare(self, stage: str, verdict: Verdict) -> None:
        expected = {(step, name): value for step, name, value in self._figures(stage, self.whole)}
        last = self._figures(stage, self.killed)
        found = self.logged + last
        verdict.losses = sum(name == "loss" for _, name, _ in found)
        wanted = expected.keys() | {(step + 1, "loss") for step in range(self.steps)}
        missing = sorted(wanted - expected.keys()) or sorted(wanted - {entry[:2] for entry in last})
        wrong = [entry for entry in found if expected.get(entry[:2]) != entry[2]]
        if missing:
            verdict.difference = f"no {missing[0][1]} was logged at step {missing[0][0]}"
        elif wrong:
            step, name, value = wrong[0]
            verdict.difference = f"the {name} of step {step} is {value!r}, without a kill {expected.get((step, name))!r}"
        else:
            verdict.difference = self._differing_state(stage)

    def _differing_state(self, stage: str) -> str:
        whole, killed = (self._checkpoints(stage, base)[-1] for base in (self.whole, self.killed))
        mine, other = (load_file(path / "model.safetensors") for path in (whole, killed))
        for name, value in mine.items():
            if not torch.equal(value, other[name]):
                return f"the last weights of '{name}' are not the same"
        states = [torch.load(path / "train_state.pt", weights_only=True) for path in (whole, killed)]
        for name in states[0].keys() - {"seconds"}:
            if not _equal(states[0][name], states[1].get(name)):
                return f"the last training state's '{name}' is not the same"
        said = [_about(json.loads((path / "meta.json").read_text())) for path in (whole, killed)]
        differing = [name for name in said[0] if said[0][name] != said[1].get(name)]
        return f"the last checkpoint says another '{differing[0]}' about itself" if differing else ""


def _at_work(base: Path) -> list[int]:
    """Processes of this machine (Linux) that were started to work in a base directory."""
    wanted, found = f"NANOCHAT_BASE_DIR={base}".encode(), []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # somebody else's, or gone meanwhile
            if wanted in path.read_bytes().split(b"\0") and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
    return found


def _about(meta: dict) -> dict:
    """What meta.json says, without what the clock has a part in."""
    return {**meta, "metrics": {k: v for k, v in meta["metrics"].items() if k not in OF_THE_CLOCK}, "files": None}


def _equal(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(_equal, a, b))
    return a == b
