"""Batches for training the tower alone: an endless iterator with exact resume, each process on its own stream."""

from collections.abc import Sequence

import numpy as np
import torch

from nanochat.common import derive_seed
from nanochat.dag.expressions import Batch, ExpressionSettings, ExpressionStream, gathered
from nanochat.dag.labels import plan_tensors
from nanochat.dag.numbers import NumberTable
from nanochat.dag.predictor import PlanLabels
from nanochat.dag.problems import Pool
from nanochat.data.ahead import Ahead
from nanochat.data.conversations import Rendered, render

ROUNDED = 0.08  # share of the expressions that ask for a rounded number: the digits in "to 2 decimals" are no operand
AT_ONCE, MOST_BATCHES = 65_536, 512  # expressions made together, for much of the cost is per call, and the batches they make
FEWER = 8  # so many times smaller are blocks with questions that are labelled one by one: nobody waits seconds for the first
ALIKE, TOGETHER = 64, 16  # batches that share their rows out by length; those whose rows are copied together
FIELDS = ("ids", "operation", "operand1", "operand2", "decimals", "length")
SHARED = 8  # neighbouring blocks whose word problems have the same texts, with other numbers: composing takes longer than the rest


class PlanBlocks:
    """Blocks of `size` batches, each a function of its number alone, whoever makes it and when."""

    def __init__(self, tokenizer, settings: ExpressionSettings, batch: int, seed: tuple, problems: Sequence[Rendered], share: float):
        self.stream = ExpressionStream(tokenizer, settings, "train")
        self.batch, self.seed, self.problems = batch, seed, problems
        self.table, self.bos, self.steps, self.mode = NumberTable(tokenizer), tokenizer.bos_id, settings.steps, settings.mode
        asked = len(problems) > 0 and share > 0
        self.size = max(8, min(MOST_BATCHES, AT_ONCE // batch) // (FEWER if asked else 1))
        self.of_problems = max(1, round(self.size * share)) if asked else 0
        self.rounded = ROUNDED if self.stream.families[0] == "infix" else 0.0
        self.texts: tuple[int, Pool | None] = (-1, None)  # of the last group of blocks

    def make(self, number: int) -> list[tuple[np.ndarray, ...]]:
        """For each batch ids, operation, operand1, operand2, decimals and length, as `expressions.Batch` has them. Rows of like length go
        together, so that little is padding; their order is random."""
        rng = self.stream.rng = np.random.default_rng(derive_seed(*self.seed, number))
        made = []
        if n := self.batch * (self.size - self.of_problems):
            rounded = round(n * self.rounded)
            parts = self.stream.parts(n - rounded, texts=self._texts(number // SHARED, n))
            made += self._of_expressions([*parts, self.stream.rounded(rounded)] if rounded else parts)
        if self.of_problems:
            chosen = [self.problems[i] for i in rng.integers(len(self.problems), size=self.batch * self.of_problems)]
            made += [self._of_problems([chosen[i] for i in rows]) for rows in self._alike([len(item) for item in chosen])]
        return [made[i] for i in rng.permutation(self.size)]

    def _texts(self, group: int, n: int) -> Pool | None:
        """Texts for the word problems of a group of blocks with n expressions each: a function of the group's number alone."""
        if self.texts[0] != group:
            rng = np.random.default_rng(derive_seed(*self.seed, "texts", group))
            self.texts = group, self.stream.texts(rng, n)
        return self.texts[1]

    def _of_expressions(self, parts: list[Batch]) -> list[tuple[np.ndarray, ...]]:
        """Batches of all examples of `parts`. Some batches are put together at a time, and each is a view of them."""
        lengths = np.concatenate([part.length for part in parts])
        order = self.stream.rng.permutation(len(lengths))
        rows, made = order[self._alike(lengths[order])], []
        for begin in range(0, len(rows), TOGETHER):
            fields = list(gathered(parts, rows[begin : begin + TOGETHER].ravel(), FIELDS).values())
            for at in range(0, len(fields[0]), self.batch):
                here = slice(at, at + self.batch)
                longest = int(fields[-1][here].max())
                made.append((*(x[here, :longest] for x in fields[:-2]), *(x[here] for x in fields[-2:])))
        return made

    def _alike(self, lengths) -> np.ndarray:
        """The rows of each batch: of every ALIKE batches, those of like length."""
        lengths, at_once = np.asarray(lengths), ALIKE * self.batch
        begins = range(0, len(lengths), at_once)
        return np.concatenate([b + np.argsort(lengths[b : b + at_once], kind="stable") for b in begins]).reshape(-1, self.batch)

    def _of_problems(self, items: list[Rendered]) -> tuple[np.ndarray, ...]:
        lengths = np.array([len(item) for item in items])
        idx = torch.nn.utils.rnn.pad_sequence([torch.tensor(item.ids) for item in items], batch_first=True)
        labels = plan_tensors([[(0, item)] for item in items], idx, self.table, self.bos, self.steps, self.mode)
        operation, *operands = (x.numpy() for x in (labels.operation, labels.operand1, labels.operand2))
        unknown = np.full(len(items), -1)
        return idx.numpy().astype(np.int32), operation.astype(np.int8), *(x.astype(np.int32) for x in operands), unknown, lengths


class PlanBatches:
    """Yields (idx (B, T), PlanLabels, lengths (B,)), right-padded: batches of unique random expressions and, for `share` of the
    batches (rounded to those of a block, but at least one), of `problems`: questions rendered up to where their planned answer begins.

    `epoch` and `progress` stay 0: expressions never end. `tokens_per_step` is the mean number of tokens of one micro step over all
    processes, padding not counted. `workers` processes make the next blocks (see `data.ahead`); the batches are the same without.
    """

    epoch, progress = 0, 0.0

    def __init__(
        self,
        tokenizer,
        settings: ExpressionSettings,
        batch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        device="cpu",
        problems: Sequence[Rendered] = (),
        share: float = 0.25,
        workers: int = 0,
    ):
        self.batch, self.device, self.examples = batch, torch.device(device), 0
        self.blocks = PlanBlocks(tokenizer, settings, batch, (seed, "expressions", rank, world), problems, share)
        self.ahead = Ahead(self.blocks.make, workers)
        self._parts, self._part = 1, 0  # in how many parts a batch of a block is given out, and how many of them have been
        self._begin(0)
        self.tokens_per_step = round(sum(int(lengths.sum()) for *_, lengths in self._block) / len(self._block) * world)

    def _begin(self, number: int) -> None:
        self._number, self._given, self._block = number, 0, self.ahead.get(number)

    def __iter__(self):
        return self

    def __next__(self):
        if self._given == len(self._block):
            self._begin(self._number + 1)
        here = slice(self._part * self.batch, (self._part + 1) * self.batch)
        idx, *plan, decimals, lengths = (torch.from_numpy(x[here]).to(self.device).long() for x in self._block[self._given])
        self._part = (self._part + 1) % self._parts
        self._given += self._part == 0
        self.examples += self.batch
        return idx, PlanLabels(*plan, decimals=decimals), lengths

    def resize(self, batch: int) -> None:
        """From the next batch on `batch` rows each: those of a block are given out in parts, since what they hold depends on their size.
        Only where a step of training ends, so that its state never lies within a batch of a block."""
        assert self._part == 0 and self.blocks.batch % batch == 0, f"{self.blocks.batch} rows cannot be given out {batch} at a time"
        self.tokens_per_step = round(self.tokens_per_step * batch / self.batch)
        self.batch, self._parts = batch, self.blocks.batch // batch

    def state_dict(self) -> dict:
        """Plain integers: the block that is being given out, and how much of it has been."""
        return {"block": self._number, "given": self._given}

    def load_state_dict(self, state: dict) -> None:
        if state["block"] != self._number:
            self._begin(state["block"])
        self._given, self._part = state["given"], 0


def planned_questions(tokenizer, conversations) -> list[Rendered]:
    """The conversations with a plan, each rendered up to the token after which its last planned answer is printed."""
    rendered = (render(tokenizer, conversation) for conversation in conversations)
    return [_until(item, item.plans[-1].position + 1) for item in rendered if item.plans]


def _until(item: Rendered, length: int) -> Rendered:
    return Rendered(item.ids[:length], item.mask[:length], item.plans)
