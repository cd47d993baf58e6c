"""The one training loop: accumulate, step, log, evaluate, save, stop, go on.

    batches   an endless iterator with `tokens_per_step` (of one forward pass over all processes), `epoch`, `progress` and
              `state_dict` / `load_state_dict` (of plain values); what it yields only `loss_fn` looks into
              examples handed out so far by this process as `examples`, if it counts them; `batch` and `resize`, if batches can be
              made smaller (memory.py); `sources` and `noun`, if it knows what documents the last batch held (guards.py)
    loss_fn   (model, batch) -> (loss, {name: number or tensor to log}); with `targets` it may be given `weights` by name beside them
    targets   (batch) -> {name: scalar tensor}: over how much each part of its loss is the mean, if that differs (weighing.py)
    evaluate  (model) -> {name: number}
    observer  looks closer at the steps that are logged: dag/logger.py

An interrupted run goes on from its newest valid checkpoint and, on a CPU, gives the same losses as one that never stopped.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
import torch.distributed as dist

from nanochat import common
from nanochat.common import Interrupted
from nanochat.train.checkpoint import Criterion
from nanochat.train.guards import Guard
from nanochat.train.hardware import first_step, gpu_usage, keep_freed_memory, peak_flops, placed
from nanochat.train.memory import passes_that_fit
from nanochat.train.saving import Saving
from nanochat.train.scaler import LossScaler
from nanochat.train.settings import TrainSettings, accumulation, as_before, check, make_optimizer, make_schedule
from nanochat.train.watchdog import Watchdog
from nanochat.train.weighing import weighed

SAY_SECONDS = 10.0  # a line for people about as often
AVERAGE = 0.95  # memory of the running mean of the loss
COUNTERS = ("step", "seconds", "loss_sum", "loss_weight")  # what a checkpoint holds of the run itself, beside the last losses
UNSAID = (
    "loss",
    "lr",
    "progress",
    "tokens_per_s",
    "dt",
    "data_wait",
    "examples_per_s",
    "gpu_memory",
    "gpu_utilisation",
    "loss_scale",
)  # said otherwise, or logged only


class Batches(Protocol):
    """What fit needs of a loader."""

    tokens_per_step: int
    epoch: int
    progress: float

    def __iter__(self) -> Iterator: ...
    def state_dict(self) -> dict: ...
    def load_state_dict(self, state: dict) -> None: ...


class Observer(Protocol):
    """Somebody who looks closer at the steps that are logged, in the first process."""

    def begin(self, passes: float) -> None:
        """The next call of loss_fn is to be observed; its loss is divided by `passes`."""

    def get_wandb_logging_dict(self) -> dict[str, float]:
        """What was seen, with all gradients of this process's passes still in place."""

    def console_line(self) -> str:
        """A line for people after each evaluation; "" for none."""


def fit(run, settings: TrainSettings, *, model: torch.nn.Module, batches: Batches, loss_fn: Callable, evaluate: Callable | None = None,
        observer: Observer | None = None, targets: Callable | None = None, meta: dict, parent: str | None = None,
        best: Criterion | None = None) -> dict[str, float]:  # fmt: skip
    """Trains `model` under the stage contract of `run` and returns the final metrics.

    `meta` goes into every checkpoint: what `checkpoint.build_model` needs, and the tokenizer's hash. `parent` is the id of the
    checkpoint the model came from, `best` says by which of the evaluated figures the best checkpoints are told. With
    `settings.steps` 0 one epoch of `batches` is the run. Interrupted when a stop was requested and everything is saved; UserError
    when a bad step (guards.py) stops the run.
    """
    check(settings)
    settings = as_before(run, settings, batches)
    fitting = _Fit(run, settings, model, batches, loss_fn, evaluate, observer, {**meta, "parent": parent}, targets, best)
    with fitting.watchdog, fitting.saving:
        return fitting.train()


class _Fit:
    """One run: its counters, and a method for each thing that happens in it."""

    def __init__(self, run, settings, model, batches, loss_fn, evaluate, observer, meta, targets, best):
        self.run, self.settings, self.batches, self.loss_fn, self.evaluate_fn = run, settings, batches, loss_fn, evaluate
        self.compute, self.targets = run.compute, targets
        self.observer = observer if self.compute.rank == 0 else None  # only the first process writes
        self.accumulate = accumulation(settings.total_batch, batches.tokens_per_step)
        self.tokens_per_step = batches.tokens_per_step * self.accumulate
        self.model = placed(model, self.compute.device).train()
        if hasattr(model, "compute_dtype"):
            model.compute_dtype = self.compute.dtype
        if self.compute.device.type == "cpu":
            keep_freed_memory()
        self.optimizer = make_optimizer(model, settings, self.tokens_per_step)
        self.optimizer.scaler = LossScaler() if self.compute.dtype == torch.float16 else None
        self.schedule = make_schedule(settings)
        meta = {**meta, "tokens_per_step": self.tokens_per_step}
        self.saving = Saving(run, settings, self.model, self.optimizer, batches, meta, best)
        self.guard = Guard(run, settings, self.model, batches, loss_fn, self.saving.newest, self._go_back)
        self.watchdog = Watchdog(settings.hang_minutes, run.folder, self.model)
        self.step, self.seconds = 0, 0.0  # optimizer steps done, and the time they took without evaluations and saves
        self.first, self.waited, self.observed = 0, 0.0, {}  # steps done before; seconds waited for data; what the observer saw last
        self.loss_sum, self.loss_weight = 0.0, 0.0  # running mean of the loss
        self.saved = time.monotonic()
        self.longest_evaluation = 0.0  # seconds
        self.said, self.said_at = time.monotonic(), self._counts()  # when the last line was said, and the counts then
        self.peak = peak_flops(self.compute.device)

    # -- the run ------------------------------------------------------------------------------------------------------

    def train(self) -> dict[str, float]:
        start = time.monotonic()
        self._start()
        while not self.finished():
            began = time.monotonic()
            extra, lr = self._one_step()
            heard = self.guard.read(at_once=self._is_due())
            if heard.went_back:
                continue
            self.seconds += time.monotonic() - began
            if self.step == self.first + 1:
                first_step(self.run, self.compute.device, start)
            for loss in heard.losses:
                self.loss_sum = AVERAGE * self.loss_sum + (1 - AVERAGE) * loss
                self.loss_weight = AVERAGE * self.loss_weight + (1 - AVERAGE)
            values, observed, measured = {}, {}, {}
            if self._is_logged(self.step):
                values = {"loss": self.guard.loss, "lr": lr, "progress": round(self.progress(), 6)}
                values |= {**self._speed(time.monotonic() - began), **self._mean_over_processes(extra)}
                values |= {"loss_scale": self.optimizer.loss_scale} if self.optimizer.scaler else {}
                observed = self.observed
            if self.evaluate_fn and self._is_each(self.settings.eval_every) and not self.finished():
                measured = self._evaluate()
                values |= measured
            if values:
                self.run.log(self.step, **values, **observed)
            self._say(self.guard.loss, values if measured else {})
            save_due = heard.late or self._is_each(self.settings.save_every) or self.saving.is_among_best(measured)
            if heard.stop and not self.finished():
                self._save(measured, wait=True, spare=True)
                raise Interrupted(f"saved at step {self.step}; run the same command again to go on")
            if save_due and not self.finished():
                self._save(measured)
        return self._finish()

    def finished(self, step: int | None = None) -> bool:
        """True once the steps (or `step` steps) are done, or the epoch if no number of steps was given."""
        step = self.step if step is None else step
        return step >= self.settings.steps if self.settings.steps else self.batches.epoch >= 1 and step > 0

    def _is_logged(self, step: int) -> bool:
        return step % self.settings.log_every == 0 or step == self.first + 1 or self.finished(step)

    def _is_each(self, steps: int) -> bool:
        return steps > 0 and self.step % steps == 0

    def _is_due(self) -> bool:
        """Whether it must be known now how the step went: it is logged, or something rests on it."""
        return self._is_logged(self.step) or self._is_each(self.settings.eval_every) or self._is_each(self.settings.save_every)

    def progress(self) -> float:
        """Share of the run that is done: of its steps, or of the epoch."""
        return self.step / self.settings.steps if self.settings.steps else min(1.0, self.batches.epoch + self.batches.progress)

    def _one_step(self) -> tuple[dict, float]:
        """What loss_fn had to say about the last pass, learning-rate multiplier."""
        before, epoch = self.progress(), self.batches.epoch
        total, extra = self._passes()
        if self.batches.epoch.bit_length() > epoch.bit_length():  # epochs 1, 2, 4, ...: a tiny text ends one in every batch
            self.run.say(f"epoch {self.batches.epoch} ended: all of the data has been read")
        after = (self.step + 1) / self.settings.steps if self.settings.steps else self.progress()
        progress = (before + after) / 2  # the middle of the step, so that no step has a learning rate of 0
        lr = self.schedule.lr(progress)
        judge = partial(self.guard.judge, self.step + 1, total / self.accumulate, self._is_late(), self.run.stop_noted())
        self.optimizer.step(lr, self.schedule.momentum(progress), self.schedule.weight_decay(progress), judge)
        self.optimizer.zero_grad()
        self.step += 1
        return extra, lr

    def _passes(self) -> tuple[torch.Tensor, dict]:
        """Forward and backward passes of a step: the sum of their losses, and what loss_fn had to say about the last."""
        total, extra, observed = 0.0, {}, False
        self.guard.begin(self.step + 1, self.accumulate)
        parts = self.accumulate / self.optimizer.loss_scale
        batches = weighed(self.guard.draw, self.accumulate, self.targets)
        for i in range(self.accumulate):
            self.watchdog.beat(f"step {self.step + 1}")
            began = time.monotonic()
            batch, weights = next(batches)
            self.waited += time.monotonic() - began
            if self.observer and i + 1 == self.accumulate and self._is_logged(self.step + 1):
                observed = True
                self.observer.begin(parts)
            loss, extra = self.loss_fn(self.model, batch, **weights)
            if i + 1 == self.accumulate:
                self.optimizer.last_pass(hold=observed)
            (loss / parts).backward()
            total = total + loss.detach()
        if observed:
            with self.optimizer.unscaled():
                self.observed = self.observer.get_wandb_logging_dict()
        self.optimizer.send_gradients()
        return total, extra

    def _is_late(self) -> bool:
        """Whether the last checkpoint is older than it may be, by the clock of the first process."""
        minutes = self.settings.save_minutes
        return self.compute.rank == 0 and minutes > 0 and time.monotonic() - self.saved > 60 * minutes

    def _evaluate(self) -> dict[str, float]:
        """What `evaluate` measures; the random state is as before, so that evaluating changes no training."""
        devices = [self.compute.device] if self.compute.device.type == "cuda" else []
        self.watchdog.beat(f"evaluation after step {self.step}")
        with torch.random.fork_rng(devices):
            began = time.monotonic()
            self.model.eval()
            measured = {name: float(value) for name, value in self.evaluate_fn(self.model).items()}
            self.model.train()
        self.longest_evaluation = max(self.longest_evaluation, time.monotonic() - began)
        self.run.result(eval_seconds=round(self.longest_evaluation, 3))  # a job must be warned that early before its end
        return measured

    def _finish(self) -> dict[str, float]:
        metrics = {
            "steps": self.step,
            "tokens": self.step * self.tokens_per_step,
            "train_loss": self.loss_sum / max(self.loss_weight, 1e-9),
        }
        if self.seconds > 0:
            metrics["tokens_per_s"] = metrics["tokens"] / self.seconds
        if hasattr(self.model, "flops_per_token"):
            metrics["flops"] = float(metrics["tokens"] * self.model.flops_per_token())
        if self.evaluate_fn:
            measured = self._evaluate()
            self.run.log(self.step, **measured)
            metrics |= measured
        self.run.output(self._save(metrics, wait=True))
        return metrics

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Seeds, resumes if there is something to resume, and makes sure that all processes hold the same model."""
        torch.manual_seed(common.derive_seed(self.run.config.seed, self.run.label, "training", self.compute.rank))
        if (state := self.saving.resume()) is not None:
            self._take_over(state)
        self.accumulate *= passes_that_fit(self.run, self.model, self.batches, self.loss_fn)
        if self.compute.world > 1:
            for p in self.model.state_dict().values():
                dist.broadcast(p, src=0)
        self.first, self.said_at = self.step, self._counts()

    def _take_over(self, state: dict) -> None:
        for name in COUNTERS:
            setattr(self, name, state[name])
        self.guard.losses.last.clear()
        self.guard.losses.last.extend(state.get("losses", []))

    def _go_back(self, path: Path) -> None:
        self._take_over(self.saving.load(path))
        self.run.went_back()
        self.said_at = self._counts()

    def _save(self, metrics: dict, wait: bool = False, spare: bool = False) -> Path:
        self.watchdog.beat(f"checkpoint of step {self.step}")
        self.saved = time.monotonic()
        counters = {name: getattr(self, name) for name in COUNTERS}
        return self.saving.save({**counters, "losses": list(self.guard.losses.last)}, metrics, wait, spare)

    # -- what people see ----------------------------------------------------------------------------------------------

    def _counts(self) -> tuple:
        """Steps, the seconds they took, the seconds of those in which there was no batch yet, and examples (None: not counted)."""
        return self.step, self.seconds, self.waited, getattr(self.batches, "examples", None)

    def _speed(self, dt: float) -> dict:
        """tokens_per_s since the last line, seconds of this step, the share of the machines' peak it used, the share of the time in
        which this process waited for data, different examples per second of all processes, and how a GPU is used."""
        both = zip(self._counts(), self.said_at, strict=True)
        steps, seconds, waited, examples = (None if now is None else now - then for now, then in both)
        seconds = max(seconds, 1e-9)
        speed = steps * self.tokens_per_step / seconds
        values = {"tokens_per_s": round(speed, 1), "dt": round(dt, 4), "mfu": None, "data_wait": round(min(1.0, waited / seconds), 5)}
        if self.peak and hasattr(self.model, "flops_per_token"):
            values["mfu"] = speed * self.model.flops_per_token() / (self.peak * self.compute.world)
        if examples is not None:
            values["examples_per_s"] = round(examples * self.compute.world / seconds, 1)
        return values | gpu_usage(self.compute.device)

    def _mean_over_processes(self, extra: dict) -> dict[str, float]:
        names = sorted(extra)
        sums = common.all_reduce_sum([float(extra[name]) for name in names]) if names else []
        return {name: value / self.compute.world for name, value in zip(names, sums, strict=True)}

    def _say(self, loss: float, measured: dict) -> None:
        now = time.monotonic()
        if now - self.said < SAY_SECONDS and not measured:
            return
        share = self.progress()
        speed = self._speed(0.0)["tokens_per_s"]
        left = self.seconds * (1 / max(share, 1e-9) - 1)
        total = f"/{self.settings.steps}" if self.settings.steps else ""
        also = "".join(f", {name} {value:.3f}" for name, value in measured.items() if name not in UNSAID and value is not None)
        self.run.say(f"step {self.step}{total} ({share:.0%}): loss {loss:.3f}{also}, {speed:,.0f} tokens/s, {common.duration(left)} left")
        if measured and self.observer and (line := self.observer.console_line()):
            self.run.say(line)
        self.said, self.said_at = now, self._counts()
