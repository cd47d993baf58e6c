"""The checkpoints of a run: going on from one, and writing them beside the training.

At a save the training stands still only until its state has been copied in the host's memory, on a GPU until the copies are under way;
a thread writes, hashes and publishes them while the next steps run. One write at a time: the next save, a request to stop and
the end of the run wait for the one before, and what went wrong in it is raised there, in every process.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist

from nanochat import common
from nanochat.pipeline.results import deciding
from nanochat.train import checkpoint
from nanochat.train.checkpoint import Criterion


class Saving:
    """What a run saves and goes on from: weights, optimizer, random states, cursors of the data, and the run's counters.

    As a context it finishes what is being written when the training ends with an error. `best`: by what the best checkpoints
    are told, None if the stage measures nothing of the kind.
    """

    def __init__(self, run, settings, model, optimizer, batches, meta: dict, best: Criterion | None = None):
        self.run, self.settings, self.model, self.optimizer, self.batches = run, settings, model, optimizer, batches
        chosen = {name: value for name, value in deciding(settings).items() if name != "tag"}
        self.meta, self.best = {**meta, "settings": chosen, "identity": run.identity}, best
        self.stale: list[Path] = []  # checkpoints that make place once something new has been written
        self.writer, self.pause = Writer(), 0.0  # seconds of the longest time that the training stood still

    def __enter__(self) -> "Saving":
        return self

    def __exit__(self, kind, error, trace) -> None:
        if kind is not None and not issubclass(kind, KeyboardInterrupt):  # else wait() has been called, or somebody is in a hurry
            with contextlib.suppress(Exception):  # the error that ended the training counts
                self.writer.wait()

    def resume(self) -> dict | None:
        """Loads the newest valid checkpoint if the run is to go on from one: the counters it was saved with; None if it begins."""
        stage, tag, path = self.run.stage, self.run.tag, None
        if self.run.config.resume == "auto":
            path = common.from_first(lambda: checkpoint.latest(stage, tag, self.run.identity))
        self.stale = checkpoint.beyond(stage, tag, path)
        if path is None:
            return None
        state = self.load(path)
        self.run.say(f"goes on from step {state['step']} ({path})")
        return state

    def newest(self) -> Path | None:
        """The newest checkpoint that this run wrote or went on from, None before there is one. For the first process."""
        self.writer.wait()
        path = checkpoint.latest(self.run.stage, self.run.tag, self.run.identity)
        return None if path in self.stale else path

    def load(self, path: Path) -> dict:
        """Takes over weights, optimizer, random states and cursors of a checkpoint; the counters it was saved with."""
        checkpoint.load_weights(self.model, path)
        state, rank = checkpoint.load_train_state(path), self.run.compute.rank
        self.optimizer.load_state_dict(state.pop("optimizer"))
        cursors, random = state.pop("batches"), state.pop("random")
        if rank < len(cursors) or len(cursors) == 1:  # else: more processes than before, with streams that nobody has read yet
            self.batches.load_state_dict(cursors[min(rank, len(cursors) - 1)])
        if rank < len(random):
            _set_random_state(random[rank], self.run.compute.device)
        return state

    def save(self, counters: dict, metrics: dict, wait: bool = False, spare: bool = False) -> Path:
        """Begins to write the checkpoint of `counters["step"]` and gives its folder, which is there after `wait`.

        Call it in every process. `metrics` were measured at this step. With `spare` what a run with other settings left stays: this
        one is stopped, perhaps because of that. What went wrong in this process or, since the last save, in the writer is raised in all
        of them; UserError for what a disk refuses.
        """
        began, world = time.monotonic(), self.run.compute.world
        random, cursors = _of_all(_random_state(self.run.compute.device), world), _of_all(self.batches.state_dict(), world)
        optimizer = self.optimizer.state_dict()  # in every process, since parts of it may lie in others
        state = {**counters, "random": random, "batches": cursors[:1] if all(c == cursors[0] for c in cursors) else cursors,
                 "optimizer": optimizer}  # fmt: skip
        meta = {**self.meta, "metrics": metrics, "score": self.best and self.best.score(metrics)}
        common.from_first(lambda: self.writer.write(partial(self._publish, spare), self.model.state_dict(), meta, state))
        self.pause = max(self.pause, time.monotonic() - began)
        if wait:
            self.wait()
        self.run.result(save_seconds=round(max(self.writer.seconds, self.pause), 3), save_pause_seconds=round(self.pause, 3))
        return self._folder(counters["step"])

    def wait(self) -> None:
        """Until nothing is being written any more; what went wrong is raised in every process."""
        common.from_first(self.writer.wait)

    def is_among_best(self, metrics: dict) -> bool:
        """True if a checkpoint with these metrics would be one of the best that are kept. Call it in every process."""
        score = self.best and self.best.score(metrics)
        return bool(score and self.settings.keep_best) and common.from_first(lambda: self._is_among_best(score))

    def _is_among_best(self, score: dict) -> bool:
        self.writer.wait()  # what it writes is one of them
        there = [p for p in checkpoint.ranked(checkpoint.complete(self.run.stage, self.run.tag)) if p not in self.stale]
        worst = there[self.settings.keep_best - 1] if len(there) >= self.settings.keep_best else None
        return worst is None or checkpoint.merit({"score": score}) > checkpoint.merit(checkpoint.meta_of(worst))

    def _folder(self, step: int) -> Path:
        return checkpoint.folder_of(self.run.stage, self.run.tag) / checkpoint.name_of(step)

    def _publish(self, spare: bool, weights: dict, meta: dict, state: dict) -> None:
        keep, keep_best = self.settings.keep, self.settings.keep_best
        spared = [p for p in self.stale if spare and checkpoint.meta_of(p).get("identity") != self.run.identity]
        checkpoint.write(self.run.stage, self.run.tag, state["step"], weights, meta, state, keep, keep_best, self.stale, spared)
        self.stale = spared


class Writer:
    """One write at a time, in a thread of its own. `seconds`: of the longest, from the call until it was published."""

    def __init__(self):
        self.seconds = 0.0
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._pinned: dict[tuple, torch.Tensor] = {}

    def write(self, publish: Callable, *values) -> None:
        """Calls publish(*copies of the values) in the thread, after waiting for what was written before."""
        self.wait()
        began = time.monotonic()
        copies = snapshot(values, self._pinned)
        copied = torch.cuda.Event() if self._pinned else None
        if copied is not None:
            copied.record()
        # A daemon, since a process that is told to end at once must not wait for it.
        self._thread = threading.Thread(target=self._write, args=(publish, copies, copied, began), name="checkpoint", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until it is written; raises what went wrong, once."""
        if self._thread is not None:
            self._thread.join()
        error, self._thread, self._error = self._error, None, None
        if error is not None:
            raise error

    def _write(self, publish: Callable, copies: tuple, copied, began: float) -> None:
        try:
            if copied is not None:
                copied.synchronize()
            publish(*copies)
        except Exception as error:  # raised where the training hears it
            self._error = error
        self.seconds = max(self.seconds, time.monotonic() - began)


def snapshot(value, pinned: dict[tuple, torch.Tensor], at: tuple = ()):
    """A copy of nested dicts, lists and tensors whose tensors lie, contiguous, in memory of the host that nobody else writes to.

    Of tensors on a GPU the copy is only under way, in the order of the stream: what later steps do to them it does not see, and
    an event recorded now tells when it is there. It lies in the `pinned` buffers, which the next snapshot of the same things uses again.
    """
    if isinstance(value, dict):
        return {key: snapshot(x, pinned, (*at, key)) for key, x in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(snapshot(x, pinned, (*at, i)) for i, x in enumerate(value))
    if not isinstance(value, torch.Tensor):
        return value
    if not value.is_cuda:
        return value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
    buffer = pinned.get(at)
    if buffer is None or (buffer.shape, buffer.dtype) != (value.shape, value.dtype):
        buffer = pinned[at] = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
    return buffer.copy_(value.detach(), non_blocking=True)


def _of_all(value, world: int) -> list:
    """The value of every process, by rank."""
    if world == 1:
        return [value]
    values = [None] * world
    dist.all_gather_object(values, value)
    return values


def _random_state(device: torch.device) -> dict:
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def _set_random_state(state: dict, device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
