"""Bad steps: their loss or gradient is no number, or their loss is a spike. None of them reaches the weights.

A spike rises far out of the range that the run itself has shown. Of the losses of the last WINDOW good steps let m be the median and h
the highest; then a loss is a spike if

    loss > m + factor max(h - m, |m| / 10, 1/4)          --spike is the factor

The range and not the standard deviation, since losses have long tails (batches of word problems among sums) and fall while training is
young: both make the range wide before anything is compared with it. The floors, a tenth of the loss and a quarter of a nat, keep a loss
that has come to rest, or is nearly 0, from being taken by its own small noise.

Every process tells the others, in one exchange per step, its loss, the size of its gradients, and whether it was asked to save or stop. On
a GPU the device judges, and the host reads the verdict while the next step runs: no step waits for it but those that are logged,
evaluated or saved. Where the host computes it knows at once.

What follows: the sentence names the row, the documents in it and their text. `rollback` then goes on from the newest checkpoint and leaves
the batch out on the way; before there is one, from the weights of the step before, unless those are ruined: then, as after a second bad
step at the same place, the run stops.
"""

import dataclasses
import math
import statistics
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.distributed as dist

from nanochat import common
from nanochat.common import UserError
from nanochat.data.tokenizer import Tokenizer

WINDOW, FEWEST = 256, 32  # losses that are remembered; so many must be before one can be a spike
SHARE, NATS = 0.1, 0.25  # the least range, of the median and in nats
NEAR = 10  # steps that are the same place
NAMED, SHOWN = 8, 160  # documents and characters of a row
LOSS, GRADIENT, LATE, STOP, GOOD = range(5)  # what a process tells of a step


class Losses:
    """The losses of the last good steps, and above what the next one is a spike. `factor` 0: nothing is."""

    def __init__(self, factor: float):
        self.factor, self.last = factor, deque[float](maxlen=WINDOW)

    @property
    def middle(self) -> float:
        return statistics.median(self.last)

    def limit(self) -> float:
        """The highest loss that is no spike; infinite as long as too little is known."""
        if not self.factor or len(self.last) < FEWEST:
            return math.inf
        return self.middle + self.factor * max(max(self.last) - self.middle, SHARE * abs(self.middle), NATS)


@dataclass
class Step:
    """A step until the host has read how it was judged: its number, what this process drew for it, the limit for its loss, and what all
    processes told of it, (processes, 5) on the host once `arrived`."""

    number: int
    drawn: list[tuple]
    limit: float
    told: torch.Tensor
    arrived: object = None

    def read(self) -> list[list[float]]:
        """What each process told."""
        if self.arrived is not None:
            self.arrived.synchronize()
        return self.told.tolist()


@dataclass
class Heard:
    """What has become known of the last steps: the mean losses of good ones, whether a checkpoint is late and whether a stop was noted in
    any process, and whether the run went back to a checkpoint."""

    losses: list[float] = field(default_factory=list)
    late: bool = False
    stop: bool = False
    went_back: bool = False


def lags(device: torch.device) -> bool:
    """True where the device decides about a step, and the host hears of it while the next one runs."""
    return device.type == "cuda"


class Guard:
    """Watches over the steps of a run. `go_back(path)` takes it back to a checkpoint; `newest()` is the checkpoint for that, or None.

    In each step: `begin`, `draw` its batches, `judge` it, and `read`.
    """

    def __init__(self, run, settings, model, batches, loss_fn: Callable, newest: Callable[[], Path | None], go_back: Callable):
        self.run, self.settings, self.model, self.batches, self.loss_fn = run, settings, model, batches, loss_fn
        self.newest, self.go_back = newest, go_back
        self.compute, self.lags = run.compute, lags(run.compute.device)
        self.losses = Losses(settings.spike)
        self.loss = math.nan  # the mean over the processes of the last step that was read
        self.drawn: list[tuple] = []
        self.pending: deque[Step] = deque()
        self.left_out: set[int] = set()  # steps whose first batches are passed over
        self.last_bad: int | None = None
        self.good: tuple | None = None  # number and first batch of the last good step

    # -- in a step ----------------------------------------------------------------------------------------------------

    def begin(self, number: int, passes: int) -> None:
        """Before a step draws so many batches: those that were bad at this place are passed over."""
        self.drawn = []
        if number in self.left_out:
            self.left_out.remove(number)
            for _ in range(passes):
                next(self.batches)

    def draw(self):
        """The next batch; kept until its step has been judged."""
        batch = next(self.batches)
        self.drawn.append((batch, getattr(self.batches, "sources", [])))
        return batch

    def judge(self, number: int, loss: torch.Tensor, late: bool, stop: bool, gradients: list[torch.Tensor]) -> bool | torch.Tensor:
        """Whether a step may be taken, by this process's mean loss and its gradients: the same in all processes, which must call it
        together. A bool, or on a GPU a tensor () that nobody has waited for. `late`, `stop`: a checkpoint is due, a stop was noted."""
        device = self.compute.device
        told = torch.zeros(self.compute.world, 5, dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)
        mine = told[self.compute.rank]
        mine[LOSS] = loss.detach()
        if gradients:
            mine[GRADIENT] = torch.stack(torch._foreach_norm(gradients)).sum()
        mine[LATE], mine[STOP] = float(late), float(stop)
        if self.compute.world > 1:
            dist.all_reduce(told)
        limit = self.losses.limit()
        good = told[:, : GRADIENT + 1].isfinite().all() & (told[:, LOSS].mean() <= limit)
        told[:, GOOD] = good
        step = Step(number, self.drawn, limit, told)
        if device.type == "cuda":
            step.told = torch.empty(told.shape, dtype=told.dtype, pin_memory=True).copy_(told, non_blocking=True)
            step.arrived = torch.cuda.Event()
            step.arrived.record()
        self.pending.append(step)
        return good if self.lags else bool(good)

    def read(self, at_once: bool) -> Heard:
        """What is known by now; `at_once`: of the newest step too, which on a GPU is waited for. Nothing may be saved before. Call it in
        all processes with the same `at_once`. UserError if a bad step stops the run."""
        heard = Heard()
        while self.pending and (at_once or heard.late or heard.stop or len(self.pending) > self.lags):
            step = self.pending.popleft()
            told = step.read()
            self.loss = sum(row[LOSS] for row in told) / len(told)
            heard.late |= any(row[LATE] for row in told)
            heard.stop |= any(row[STOP] for row in told)
            if told[0][GOOD]:
                self.losses.last.append(self.loss)
                self.good = (step.number, step.drawn[0][0])
                heard.losses.append(self.loss)
            elif self._leave_out(step, told):
                return Heard(went_back=True)
        return heard

    # -- after a bad one ----------------------------------------------------------------------------------------------

    def _leave_out(self, step: Step, told: list[list[float]]) -> bool:
        """True if the run went back to a checkpoint, False if it goes on from here. UserError if it stops."""
        reason = self._reason(step, told)
        again = self.last_bad is not None and step.number <= self.last_bad + NEAR
        if again or self.settings.on_spike == "stop":
            another = "" if again else ", or leave the batch out with --on_spike=rollback,"
            soon = f", soon after a batch was left out at step {self.last_bad}" if again else ""
            raise UserError(f"{reason}{soon}; lower --lr_scale (now {self.settings.lr_scale:g}){another} and run again")
        self.last_bad = step.number
        path = common.from_first(self.newest)
        if path is None and not math.isfinite(self.loss) and common.from_first(self._is_ruined):
            raise UserError(
                f"{reason}; the loss of the batch of step {self.good[0]}, which had been good, is no number any more: the model is ruined "
                f"and there is no checkpoint to go back to; lower --lr_scale (now {self.settings.lr_scale:g}) and start again"
            )
        self.run.say(f"{reason}; " + (f"back to {path.name}, and on without that batch" if path else "goes on without that batch"))
        if path is None:
            return False
        self.left_out.add(step.number)
        self.pending.clear()
        self.go_back(path)
        return True

    def _reason(self, step: Step, told: list[list[float]]) -> str:
        """What happened and where, the same in all processes, which must call it together."""
        if not math.isfinite(self.loss):
            what = f"the loss became {self.loss}"
        elif self.loss > step.limit:
            what = f"the loss rose to {self.loss:.4g} from about {self.losses.middle:.4g}"
        else:
            what = "the gradient became " + ("nan" if any(math.isnan(row[GRADIENT]) for row in told) else "infinite")
        process = _worst([row[LOSS] for row in told])
        return f"{what} at step {step.number}, worst in " + common.from_first(lambda: self._where(step.drawn, process), process)

    def _where(self, drawn: list[tuple], process: int) -> str:
        """The worst row of what this process drew: its place, its documents and the beginning of its text."""
        batch, sources = drawn[_worst([self._loss(batch) for batch, _ in drawn]) if len(drawn) > 1 else 0]
        n = len(_tokens(batch))
        # A row as often as a batch has rows: a compiled model knows that shape.
        worst = _worst([self._loss(_take(batch, [row] * n)) for row in range(n)]) if n > 1 else 0
        text = f"row {worst + 1} of {n} in process {process}"
        if worst < len(sources):
            documents = list(dict.fromkeys(sources[worst]))
            more = f" and {len(documents) - NAMED} more" if len(documents) > NAMED else ""
            text += f", {self.batches.noun}{'s' * (len(documents) > 1)} {', '.join(map(str, documents[:NAMED]))}{more}"
        beginning = _beginning(_tokens(batch)[worst])
        return text + (f": {beginning!r}" if beginning else "")

    def _is_ruined(self) -> bool:
        """Whether a step has left weights that give no numbers: a batch that was good is no longer."""
        return self.good is not None and not math.isfinite(self._loss(self.good[1]))

    def _loss(self, batch) -> float:
        devices = [self.compute.device] if self.compute.device.type == "cuda" else []
        with torch.no_grad(), torch.random.fork_rng(devices):
            return float(self.loss_fn(self.model, batch)[0])


def _worst(losses: list[float]) -> int:
    """Where the highest loss is, or the first that is no number."""
    return max(range(len(losses)), key=lambda i: losses[i] if math.isfinite(losses[i]) else math.inf)


def _take(batch, rows: list[int]):
    """A batch with these rows of it: of its tensors and lists, in tuples and dataclasses."""
    if isinstance(batch, torch.Tensor):
        return batch[rows]
    if isinstance(batch, list):
        return [batch[row] for row in rows]
    if isinstance(batch, tuple):
        return tuple(_take(part, rows) for part in batch)
    if dataclasses.is_dataclass(batch):
        return dataclasses.replace(batch, **{f.name: _take(getattr(batch, f.name), rows) for f in dataclasses.fields(batch)})
    return batch


def _tokens(batch) -> torch.Tensor:
    """What a batch begins with: its tokens (B, T)."""
    while not isinstance(batch, torch.Tensor):
        batch = batch[0] if isinstance(batch, tuple | list) else getattr(batch, dataclasses.fields(batch)[0].name)
    return batch


def _beginning(row: torch.Tensor) -> str:
    """The first characters of a row of tokens (T,), without what fills it up; "" for what is no text."""
    if row.dim() != 1 or row.is_floating_point():
        return ""
    ids = row.tolist()
    while len(ids) > 1 and ids[-1] == ids[-2]:
        ids.pop()
    try:
        text = Tokenizer.load().decode(ids)
    except (UserError, ValueError):  # a model of something else than this tokenizer's text
        return ""
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."
