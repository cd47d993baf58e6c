"""Timings of the DAG: generating expressions, training steps, decoding, each beside what it is compared with.

What is compared runs alternately, once each per round, so that whatever else the machine does falls on both; reported are medians
over the rounds and the median of the rounds' ratios.
"""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch

from nanochat.dag import attach_branch
from nanochat.dag.arithmetic import ArithmeticTexts, tensors_of
from nanochat.dag.expressions import ExpressionSettings, ExpressionStream
from nanochat.dag.predictor import PredictorOnlyModel, TowerConfig
from nanochat.dag.stream import SHARED, PlanBlocks
from nanochat.dag.surface import STYLES
from nanochat.dag.variants import tower_loss
from nanochat.data import corpus
from nanochat.data.conversations import Rendered
from nanochat.data.loader import ConversationLoader
from nanochat.data.tokenizer import Tokenizer
from nanochat.infer.engine import Engine
from nanochat.model.gpt import GPT
from nanochat.model.presets import make_config
from nanochat.train.chat import Joined, conversation_loss
from nanochat.train.hardware import peak_megabytes
from nanochat.train.settings import TrainSettings, make_optimizer

VOCABULARY = 2048
TEXTS = 1500  # documents the tokenizer learns from
SETTLING = 20  # steps of the tower before it is plugged in
# What midtraining of the embedded profile reads, a fiftieth of it: of 80,000 items a quarter expressions and 12,000 word problems, the
# others conversations; a tenth of the tokens is text.
EXPRESSIONS, CONVERSATIONS, WORD_PROBLEMS, DOCUMENTS = 400, 960, 240, 40


@dataclass(frozen=True)
class Shape:
    """A GPT and what one pass of its training reads: preset, rows, tokens a row, passes in an optimizer step; `large` on a GPU."""

    preset: str
    rows: int
    length: int
    passes: int
    large: tuple[int, int] = (16, 2048)


SHAPES = {
    "tiny": Shape("tiny", 2, 64, 1, (2, 64)),
    "embedded": Shape("embedded", 8, 256, 2, (8, 256)),
    "d4": Shape("d4", 2, 512, 16),
    "d12": Shape("d12", 1, 256, 16),
}


def make_tokenizer() -> Tokenizer:
    """A tokenizer of the embedded corpus: always the same, and a few seconds' work."""
    return Tokenizer.train([text for text, _ in zip(corpus.documents("train"), range(TEXTS), strict=False)], VOCABULARY)


def alternately(runs: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each run measures in each of `rounds` rounds after one that does not count; every other round goes backwards."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(rounds + 1):
        for name in runs if i % 2 else reversed(runs):
            value = runs[name]()
            found[name] += [value] if i else []
    return found


def ratio(of: list[float], to: list[float]) -> float:
    """Median of the ratios round by round."""
    return median(a / b for a, b in zip(of, to, strict=True))


# ---------------------------------------------------------------------------------------------------------------------
# Generating


def generator(tokenizer, examples: int, rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    """Examples per second by style, of 1 to 6 operations with token ids, labels and values, and beside them the generator written
    with sympy; `faster` is how many times as many. They are made as in training, in blocks of `examples`; by
    sympy for at least `seconds` in each round."""
    from nanochat.evaluate.sympy_expressions import SympyExpressions

    kinds = {"symbols+english": ("symbols", "english"), **{s: (s,) for s in STYLES}, "all": STYLES}
    blocks = {name: PlanBlocks(tokenizer, ExpressionSettings(styles=styles), (1,), at_once=examples) for name, styles in kinds.items()}
    groups = {name: itertools.count() for name in kinds}
    one_by_one = SympyExpressions(tokenizer)

    def by_sympy() -> int:
        one_by_one.example()
        return 1

    runs = {name: lambda name=name: _of_blocks(blocks[name], next(groups[name])) for name in kinds}
    found = alternately({**runs, "sympy": lambda: _per_second(by_sympy, seconds)}, rounds)
    base = found.pop("sympy")
    rows = {name: {"examples_per_s": median(x), "faster": ratio(x, base)} for name, x in found.items()}
    return {**rows, "sympy": {"examples_per_s": median(base), "faster": 1.0}}


def _of_blocks(blocks: PlanBlocks, group: int) -> float:
    """Examples per second over a group of SHARED blocks, of which the first composes the texts of word problems for all: from that one
    and the next."""
    passed = []
    for number in (SHARED * group, SHARED * group + 1):
        began = time.process_time()
        blocks.make(number)
        passed.append(time.process_time() - began)
    return SHARED * blocks.examples / max(passed[0] + (SHARED - 1) * passed[1], 1e-9)


def _per_second(make: Callable[[], int], seconds: float) -> float:
    began, made = time.process_time(), 0  # of this process: what others do on the machine does not count
    while (passed := time.process_time() - began) < seconds or not made:
        made += make()
    return made / max(passed, 1e-9)


# ---------------------------------------------------------------------------------------------------------------------
# Training and decoding


class Bench:
    """One GPT of a shape with random weights; a tower is plugged in or left out."""

    def __init__(self, tokenizer, shape: Shape, device: torch.device, rows: int = 0, length: int = 0):
        torch.manual_seed(0)
        self.shape, self.device, self.tokenizer = shape, device, tokenizer
        usual = shape.large if device.type == "cuda" else (shape.rows, shape.length)
        self.rows, self.length = rows or usual[0], length or usual[1]
        own = {} if shape.preset.startswith("d") else {"vocab_size": tokenizer.vocab_size}
        self.model = GPT(make_config(shape.preset, **own, sequence_len=self.length)).to(device)
        with torch.no_grad():  # where a preset has a larger vocabulary than the tokenizer, what the tokenizer lacks is never said
            self.model.head.weight[tokenizer.vocab_size :] = 0
        if device.type == "cuda":
            self.model.compute_dtype = torch.bfloat16
        self.branch = attach_branch(self.model, _settled_tower(tokenizer), tokenizer).to(device)
        self.items = _items(tokenizer)

    def use(self, dag: bool) -> GPT:
        """The model with or without its tower."""
        self.model.branch = self.branch if dag else None
        return self.model

    def step(self, rounds: int) -> dict[str, float]:
        """Milliseconds of a forward and backward pass and of an optimizer step, with and without the tower, and of the step that
        `passes` of the former and one of the latter make; the ratios; parameters; the most memory in MB that a pass took."""
        loader = ConversationLoader(self.items, self.tokenizer, self.rows, self.length, seed=0, device=self.device)
        batches = [next(loader) for _ in range(rounds + 1)]
        memory, passes = {}, {}
        for name, dag in (("plain", False), ("dag", True)):
            at = iter(batches)
            memory[name] = peak_megabytes(self.device, lambda dag=dag: self._pass(dag, batches[0]))
            passes[name] = lambda dag=dag, at=at: self._pass(dag, next(at))
        times = alternately(passes, rounds)
        optimizers = {name: self._optimizer_step(dag) for name, dag in (("plain", False), ("dag", True))}
        whole = {name: [self.shape.passes * t + optimizers[name] for t in times[name]] for name in times}
        values = {"rows": self.rows, "tokens_per_row": self.length, "passes_per_step": self.shape.passes}
        for what, found in (("pass", times), ("optimizer", {k: [v] for k, v in optimizers.items()}), ("step", whole)):
            values |= {f"{what}_ms/{name}": 1e3 * median(x) for name, x in found.items()}
            values[f"{what}_ratio"] = ratio(found["dag"], found["plain"])
        for name, dag in (("plain", False), ("dag", True)):
            values |= {f"params/{name}": self.use(dag).num_params()["total"], f"peak_mb/{name}": memory[name]}
        return values

    def _pass(self, dag: bool, batch) -> float:
        model = self.use(dag).train()
        began = self._now()
        conversation_loss(model, batch)[0].backward()
        seconds = self._now() - began
        model.zero_grad(set_to_none=True)
        return seconds

    def _optimizer_step(self, dag: bool) -> float:
        """Seconds of the second step of a fresh optimizer: the first one also makes its state."""
        model = self.use(dag)
        for p in model.parameters():
            p.grad = torch.randn_like(p) * 1e-4
        optimizer, weights = make_optimizer(model, TrainSettings(lr_scale=0.0), self.rows * self.length), list(model.parameters())
        began = self._now()
        optimizer.step(1.0, 0.9, 0.0)
        if (first := self._now() - began) < 10:  # on a large model the state's share is small and the time is not
            began = self._now()
            optimizer.step(1.0, 0.9, 0.0)
            first = self._now() - began
        for p in weights:
            p.grad = None
        return first

    def decode(self, tokens: int, rounds: int) -> dict[str, float]:
        """Milliseconds per generated token of one row, with and without the tower, the prompt's own time taken off; and their ratio."""
        prompt = [int(i) for i in ArithmeticTexts(self.tokenizer, ExpressionSettings(), 1, seed=1).batch.ids[0]]
        tokens = min(tokens, self.length - len(prompt) - 1)

        def run(dag: bool) -> float:
            engine = Engine(self.use(dag).eval(), self.tokenizer, calculator=None)
            took = []
            for n in (1, 1 + tokens):
                began = self._now()
                engine.generate([prompt], max_tokens=n, stop=[])
                took.append(self._now() - began)
            return max(took[1] - took[0], 1e-9) / tokens

        times = alternately({"plain": lambda: run(False), "dag": lambda: run(True)}, rounds)
        return {**{f"token_ms/{k}": 1e3 * median(x) for k, x in times.items()}, "ratio": ratio(times["dag"], times["plain"])}

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def _settled_tower(tokenizer) -> PredictorOnlyModel:
    """A tower after a few small steps, which like a trained one computes at few tokens; a random one would compute at all."""
    model = PredictorOnlyModel(TowerConfig(tokenizer.vocab_size, tokenizer.bos_id), tokenizer).train()
    expressions, optimizer = ExpressionStream(tokenizer, ExpressionSettings(), "train"), torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(SETTLING):
        tower_loss(model, tensors_of(expressions.batch(32)))[0].backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def _items(tokenizer) -> Joined:
    """Conversations, arithmetic and text in the shares of midtraining."""
    chats = [*corpus.conversations("train", count=CONVERSATIONS), *corpus.word_problems("train", count=WORD_PROBLEMS)]
    texts = [[tokenizer.bos_id, *tokenizer.encode(text)] for text, _ in zip(corpus.documents("train"), range(DOCUMENTS), strict=False)]
    documents = [Rendered(ids, [0] + [1] * (len(ids) - 1)) for ids in texts]
    return Joined([chats, ArithmeticTexts(tokenizer, ExpressionSettings(), EXPRESSIONS, seed=0), documents])
