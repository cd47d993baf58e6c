"""How fast a GPT of some shape trains and writes on this machine: random weights, random tokens, nothing read, nothing kept.

Figures are medians over rounds. Two configurations take turns, round by round, so that whatever else the machine does falls on both, and
the ratios are medians of the rounds' own ratios. The memory of each is measured while the other one does not exist.
"""

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
import torch

from nanochat import common
from nanochat.data.loader import TokenLoader
from nanochat.evaluate.benchmark import make_tokenizer
from nanochat.infer.engine import Engine
from nanochat.model.gpt import GPT
from nanochat.model.options import model_config
from nanochat.train.acceleration import choose, compiles, in_float8
from nanochat.train.hardware import Energy, keep_freed_memory, peak_flops, peak_megabytes
from nanochat.train.settings import accumulation, make_optimizer

DOCUMENTS, MEAN_LENGTH = 4096, 600  # of random text, with lengths as on the web: many short ones, a few long ones


class RandomDocuments(Sequence):
    """Documents of random tokens in the place of a `TokenShard`; token 0 begins each."""

    def __init__(self, vocab_size: int, seed: int = 0):
        rng = np.random.default_rng(seed)
        self.name = "random tokens"
        self.lengths = np.clip(rng.lognormal(np.log(MEAN_LENGTH) - 0.5, 1.0, DOCUMENTS), 8, 50 * MEAN_LENGTH).astype(np.int32)
        self._tokens = rng.integers(1, vocab_size, int(self.lengths.max()), dtype=np.uint32)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> np.ndarray:
        return np.concatenate([[0], self._tokens[: self.lengths[index] - 1]])


@dataclass
class Measured:
    """One round of steps: seconds of each, of which waiting for data, joules (None: not measured)."""

    seconds: list[float] = field(default_factory=list)
    waited: float = 0.0
    joules: float | None = None

    def tokens_per_s(self, tokens: int) -> float:
        return tokens / median(self.seconds)


class Training:
    """A model, its optimizer and its data, as `base_train` has them. `memory`: megabytes that a step takes, of all this process holds."""

    def __init__(self, config, device: torch.device, say: Callable = common.say):
        began = time.perf_counter()
        torch.manual_seed(0)
        self.config, self.device, self.rounds = config, device, []
        if device.type == "cpu":
            keep_freed_memory()
        self.model = GPT(model_config(config, config.vocab_size)).to(device).train()
        self.model.compute_dtype = common.compute_dtype(device)
        kernel, said = choose(self.model.config, config.attention, config.device_batch, device, self.model.compute_dtype, fresh=True)
        self.model.use_attention(kernel)
        if said:
            say(f"attention: {said}")
        if config.fp8:
            say(in_float8(self.model, device, self.model.compute_dtype, config.device_batch))
        if compiles(config.compile, device, math.inf):
            self.model.compile_blocks()
        self.loader = TokenLoader(RandomDocuments(config.vocab_size), config.device_batch, config.sequence_len, device=device)
        self.passes = accumulation(config.total_batch, self.loader.tokens_per_step)
        self.tokens = self.passes * self.loader.tokens_per_step
        self.optimizer = make_optimizer(self.model, config, self.tokens)
        self._step(Measured())
        self.first_step_s = time.perf_counter() - began
        self.memory = peak_megabytes(device, lambda: self._step(Measured()))

    def round(self, steps: int) -> Measured:
        """Times some steps, and keeps what was found."""
        found, energy = Measured(), Energy(self.device)
        for _ in range(steps):
            self._step(found)
        found.joules = energy.joules()
        self.rounds.append(found)
        return found

    def _step(self, found: Measured) -> None:
        began = self._now()
        for _ in range(self.passes):
            waits = time.perf_counter()
            inputs, targets = next(self.loader)
            found.waited += time.perf_counter() - waits
            (self.model(inputs, targets).loss / self.passes).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        found.seconds.append(self._now() - began)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def figures(self) -> dict:
        """What the rounds found, with units in the names; None where this machine does not tell."""
        seconds = [s for r in self.rounds for s in r.seconds]
        speed, peak = self.tokens / median(seconds), peak_flops(self.device)
        joules = [r.joules / (self.tokens * len(r.seconds)) for r in self.rounds if r.joules is not None]
        return {
            "tokens_per_s": speed,
            "step_ms": 1e3 * median(seconds),
            "mfu": speed * self.model.flops_per_token() / peak if peak else None,
            "peak_gpu_mb" if self.device.type == "cuda" else "peak_rss_mb": self.memory,
            "j_per_token": median(joules) if joules else None,
            "data_wait": sum(r.waited for r in self.rounds) / sum(seconds),
            "first_step_s": self.first_step_s,
            "attention": self.model.attention_kernel,
            "window_pattern": self.model.config.window_pattern,
            "tokens_per_step": self.tokens,
            "params": self.model.num_params()["total"],
            "flops_per_token": self.model.flops_per_token(),
        }

    def trace(self, path: Path, steps: int = 3) -> None:
        """Writes what some steps spend their time on, for chrome://tracing or perfetto.dev."""
        from torch.profiler import ProfilerActivity, profile

        kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self.device.type == "cuda" else [])]
        with profile(activities=kinds) as found:
            for _ in range(steps):
                self._step(Measured())
        with common.atomic_path(path) as new:
            found.export_chrome_trace(str(new))


def in_turns(config, other, device: torch.device) -> list[Training]:
    """Two trainings at once. The memory of the second one is that of a twin, which was there before the first."""
    memory = Training(other, device, say=lambda _: None).memory
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    trainings = [Training(config, device), Training(other, device)]
    trainings[1].memory = memory
    return trainings


def compare(trainings: list[Training], rounds: int, steps: int) -> list[float]:
    """Rounds in turns; of two trainings the ratio of the second's tokens/s to the first's, round by round."""
    ratios = []
    for i in range(rounds):
        order = trainings if i % 2 == 0 else trainings[::-1]
        found = {id(t): t.round(steps).tokens_per_s(t.tokens) for t in order}
        if len(trainings) == 2:
            ratios.append(found[id(trainings[1])] / found[id(trainings[0])])
    return ratios


def writing(config, device: torch.device) -> dict[str, float]:
    """Of a prompt of `prompt` tokens and `new` more in `rows` rows: milliseconds to the first token, for each one after it, tokens/s."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    model = GPT(model_config(config, max(config.vocab_size, tokenizer.vocab_size))).to(device).eval()
    model.compute_dtype = common.compute_dtype(device)
    engine = Engine(model, tokenizer, calculator=None)
    rng = np.random.default_rng(0)
    prompts = [rng.integers(1, config.vocab_size, config.prompt).tolist() for _ in range(config.rows)]

    def seconds(tokens: int) -> float:
        began = time.perf_counter()
        engine.generate(prompts, max_tokens=tokens, stop=[])
        return time.perf_counter() - began

    seconds(1)
    first = [seconds(1) for _ in range(config.rounds)]
    whole = [seconds(1 + config.new) for _ in range(config.rounds)]
    each = (median(whole) - median(first)) / config.new
    return {"first_token_ms": 1e3 * median(first), "token_ms": 1e3 * each, "tokens_per_s": config.rows / max(each, 1e-9)}
