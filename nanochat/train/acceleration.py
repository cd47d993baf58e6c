"""How training is made fast on the machine at hand: the kernel of layers with a window (model/window.py), products in 8 bits
(model/float8.py), and compiled blocks.

On a GPU the kernels are tried and timed when a run begins, with the shapes it has. The fastest computes; where it is full attention, a
model that is new loses its windows, which were to save time and nothing else. On a CPU nothing is timed: a run that goes on must compute
what the whole one would have. A run that goes on keeps its kernel, which its checkpoints name.
"""

import importlib.util
import math
import os
import shutil
import time
from dataclasses import dataclass
from functools import cached_property
from statistics import median

import torch

from nanochat import common
from nanochat.common import UserError
from nanochat.config import option
from nanochat.model.float8 import lacking, use_float8
from nanochat.model.gpt import GPT, GPTConfig
from nanochat.model.window import KERNELS, MULTIPLE, WINDOWED, short_window
from nanochat.train import checkpoint

CALLS = 7  # of each kernel are timed
DIFFERENCE = 0.02  # between a kernel's results and the plain ones: bfloat16 leaves 0.005, a window that is one token off much more
EARNS = 3e16  # operations of a process: a minute of compiling pays from some four minutes on a fast GPU


@dataclass
class Acceleration:
    """Mixed into the configuration of a stage that trains a GPT."""

    attention: str = option(
        "auto", "what computes layers with a window; auto: the fastest on this GPU; full: they get no window", choices=("auto", *KERNELS)
    )
    compile: str = option("auto", "compile blocks for training; auto: on a GPU, if the run is long enough", choices=("auto", "on", "off"))
    fp8: bool = option(False, "multiply large matrices in 8-bit floating point while training (GPUs from Hopper and Ada on); compiled")


def accelerate(model: GPT, config, run, fresh: bool = False) -> None:
    """Gives a model its kernel, compiles its blocks if that pays, and says both. Before the model is described for its checkpoints:
    a `fresh` one, which has learnt nothing with its windows, may lose them."""
    earlier = checkpoint.earlier(run)
    if earlier.get("model_config", {}).get("window_pattern") == "L":
        model.use_attention("full")
    compute, asked = run.compute, config.attention
    free, before = fresh and not earlier, earlier.get("attention")
    kernel, said = common.from_first(lambda: choose(model.config, asked, config.device_batch, compute.device, compute.dtype, free, before))
    model.use_attention(kernel)
    if said:
        run.say(f"attention: {said}")
    if config.fp8:
        run.say(in_float8(model, compute.device, compute.dtype, config.device_batch))
    if compiles(config.compile, compute.device, math.inf if config.fp8 else _operations(model, config, run)):
        model.compile_blocks()
        run.say("blocks are compiled for training: the first step takes longer")


# ---------------------------------------------------------------------------------------------------------------------
# The kernel


def choose(config: GPTConfig, asked: str, rows: int, device: torch.device, dtype: torch.dtype, fresh: bool,
           earlier: str | None = None) -> tuple[str, str]:  # fmt: skip
    """(kernel, what to say about it; "" without windows) for `rows` rows of a full context. `earlier`: what computed so far.

    UserError if the kernel that was `asked` for does not work here, or none does."""
    windows = [config.window(layer) for layer in range(config.n_layer) if config.window(layer) is not None]
    if not windows or asked == "full":
        return "full", _without(config, bool(windows))
    where = f"{len(windows)} of {config.n_layer} layers see {windows[0]} of {config.sequence_len} tokens"
    trial = Trial(config, windows[0], rows, device, dtype)
    wanted = earlier if asked == "auto" and earlier in WINDOWED else asked
    if wanted != "auto" and not trial.reason(wanted):
        return wanted, f"{wanted}; {where}{_share(trial, wanted)}"
    if asked != "auto":
        works = [name for name in WINDOWED if name != asked and not trial.reason(name)]
        raise UserError(f"--attention={asked} does not work here ({trial.reason(asked)}); use one of auto, {', '.join([*works, 'full'])}")
    if device.type != "cuda":
        return "chunked", f"chunked; {where}"
    found = {name: trial.seconds(name) for name in KERNELS if not trial.reason(name)}
    skipped = "".join(f"; {name} left out: {trial.reason(name)}" for name in WINDOWED if name not in found)
    times = ", ".join(f"{name} {1e3 * seconds:.2f}" for name, seconds in sorted(found.items(), key=lambda item: item[1]))
    if not fresh:
        found.pop("full", None)
    if not found:
        raise UserError(f"no kernel for attention over windows works here{skipped}; train a model without windows, --window_pattern=L")
    best = min(found, key=found.get)
    where = "no windows, they would save no time" if best == "full" else where
    return best, f"{best}; {where} (ms a layer, forward and backward: {times}){skipped}"


def _without(config: GPTConfig, could_have: bool) -> str:
    """What to say of a model without windows: nothing where none were asked for."""
    if could_have:
        return "full, without the windows"
    if "S" not in config.window_pattern:
        return ""
    short = short_window(config.sequence_len) is None
    return f"full; {f'contexts up to {MULTIPLE} tokens have no windows' if short else 'no layer before the last one is an S'}"


class Trial:
    """Kernels on random queries, keys and values of a model's shapes."""

    def __init__(self, config: GPTConfig, window: int, rows: int, device: torch.device, dtype: torch.dtype):
        self.config, self.window, self.rows, self.device, self.dtype = config, window, rows, device, dtype
        self._reasons = {"full": ""}

    def reason(self, name: str) -> str:
        """Why a kernel cannot be used here, "" if it can: it raises, or computes something else than `masked` does."""
        if name not in self._reasons:
            try:
                self._reasons[name] = self._wrong(name)
            except Exception as error:  # a missing module, shapes or precision that it cannot have, no compiler: any of them
                self._reasons[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:120] if str(error).strip() else ''}"
        return self._reasons[name]

    def _wrong(self, name: str) -> str:
        for found, expected in zip(self._call(name), self._call("masked"), strict=True):
            difference = ((found - expected).float().norm() / expected.float().norm()).item()
            if not difference < DIFFERENCE:
                return f"its results differ by {difference:.1%}"
        return ""

    def seconds(self, name: str) -> float:
        """Median time of a forward and backward pass of one layer."""
        times = []
        for _ in range(2 + CALLS):
            began = self._now()
            self._call(name)
            times.append(self._now() - began)
        return median(times[2:])

    @cached_property
    def inputs(self) -> list[torch.Tensor]:
        """q, k, v, and what stands for the gradient of the result."""
        c, generator = self.config, torch.Generator().manual_seed(0)  # nobody else's random numbers
        shapes = [(self.rows, c.sequence_len, heads, c.head_dim) for heads in (c.n_head, c.n_kv_head, c.n_kv_head, c.n_head)]
        q, k, v, grad = (torch.randn(shape, generator=generator).to(self.device, self.dtype) for shape in shapes)
        return [q.requires_grad_(), k.requires_grad_(), v.requires_grad_(), grad]

    def _call(self, name: str) -> list[torch.Tensor]:
        """The result, and the gradients of q, k and v."""
        kernel, (q, k, v, grad) = KERNELS[name], self.inputs
        seen = kernel.prepare(len(q), q.shape[1], self.window, self.device)
        y = kernel(q, k, v, seen, 1 / math.sqrt(q.shape[-1]))
        return [y, *torch.autograd.grad(y, (q, k, v), grad)]

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def _share(trial: Trial, kernel: str) -> str:
    """On a GPU how long a kernel takes beside full attention."""
    if trial.device.type != "cuda":
        return ""
    return f" ({trial.seconds(kernel) / trial.seconds('full'):.2f} times as long as full attention)"


# ---------------------------------------------------------------------------------------------------------------------
# 8 bits, and compiling


def in_float8(model: GPT, device: torch.device, dtype: torch.dtype, rows: int) -> str:
    """Has the large matrices of the blocks multiply in 8 bits, for `rows` rows of a full context; what to say about it. UserError if
    they cannot."""
    if reason := lacking(device, dtype, rows * model.config.sequence_len):
        raise UserError(f"--fp8 cannot be: {reason}; leave it out")
    return "{} of {} linear maps of the blocks multiply in 8 bits".format(*use_float8(model.blocks))


def compiles(asked: str, device: torch.device, operations: float) -> bool:
    """Whether to compile for a run of so many operations; UserError if that was asked for and cannot be."""
    if asked == "off" or (asked == "auto" and (device.type != "cuda" or operations < EARNS)):
        return False
    reason = _cannot_compile(device)
    if reason and asked == "on":
        raise UserError(f"--compile=on cannot be: {reason}; use --compile=off")
    if reason:
        common.say(f"blocks are not compiled for training: {reason}")
    return not reason


def _cannot_compile(device: torch.device) -> str:
    """What torch.compile lacks here, "" if nothing."""
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        return "the package triton is missing"
    names = ("CC", "gcc", "cc", "clang") if device.type == "cuda" else ("CXX", "g++", "clang++")
    if not any(shutil.which(os.environ.get(name, name)) for name in names):
        return f"there is no C{'' if device.type == 'cuda' else '++'} compiler ({names[1]})"
    return ""


def _operations(model: GPT, config, run) -> float:
    """Operations of a run in each process; a run without a number of steps, an epoch of something, counts as long."""
    passes = config.device_batch * model.config.sequence_len
    tokens = (config.total_batch / run.compute.world if config.total_batch else passes) * config.steps
    return tokens * model.flops_per_token() if config.steps else math.inf
