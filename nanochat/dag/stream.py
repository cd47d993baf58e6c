"""Batches for training the tower alone: an endless iterator with exact resume, each process on its own stream."""

from collections.abc import Sequence

import numpy as np
import torch

from nanochat.common import derive_seed
from nanochat.dag.arithmetic import tensors_of
from nanochat.dag.expressions import ExpressionSettings, ExpressionStream
from nanochat.dag.labels import plan_tensors
from nanochat.dag.numbers import NumberTable
from nanochat.dag.predictor import PlanLabels
from nanochat.data.conversations import Rendered, render

AT_ONCE = 8  # batches made together: the cost of generating expressions is mostly per call


class PlanBatches:
    """Yields (idx (B, T), PlanLabels, lengths (B,)), right-padded: batches of unique random expressions and, for `share` of the
    batches (rounded to eighths, but at least one), of `problems`: questions rendered up to where their planned answer begins.

    `epoch` and `progress` stay 0: expressions never end. `tokens_per_step` is the mean number of tokens of one micro step over all
    processes, padding not counted.
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
    ):
        self.stream = ExpressionStream(tokenizer, settings, "train", derive_seed(seed, "expressions", rank, world))
        self.batch, self.world, self.device = batch, world, torch.device(device)
        self.table, self.bos, self.steps, self.mode = NumberTable(tokenizer), tokenizer.bos_id, settings.steps, settings.mode
        self.problems, self.examples = problems, 0
        self.of_problems = max(1, round(AT_ONCE * share)) if len(problems) and share > 0 else 0
        self._begin()
        lengths = [int(lengths.sum()) for _, _, lengths in self._block]
        self.tokens_per_step = round(sum(lengths) / AT_ONCE * world)

    def _begin(self) -> None:
        """Makes the next AT_ONCE batches. Rows of like length go together, so that little is padding; their order is random."""
        self._state, self._given = self.stream.state_dict(), 0
        rng, made = self.stream.rng, []
        if expressions := AT_ONCE - self.of_problems:
            block = self.stream.batch(self.batch * expressions)
            made += [tensors_of(block.select(rows)) for rows in self._alike(block.length)]
        if self.of_problems:
            chosen = [self.problems[i] for i in rng.integers(len(self.problems), size=self.batch * self.of_problems)]
            made += [self._of_problems([chosen[i] for i in rows]) for rows in self._alike([len(item) for item in chosen])]
        self._block = [made[i] for i in rng.permutation(AT_ONCE)]

    def _alike(self, lengths) -> np.ndarray:
        return np.argsort(lengths, kind="stable").reshape(-1, self.batch)

    def _of_problems(self, items: list[Rendered]):
        lengths = torch.tensor([len(item) for item in items])
        idx = torch.nn.utils.rnn.pad_sequence([torch.tensor(item.ids) for item in items], batch_first=True)
        labels = plan_tensors([[(0, item)] for item in items], idx, self.table, self.bos, self.steps, self.mode)
        return idx, PlanLabels(labels.operation, labels.operand1, labels.operand2), lengths

    def __iter__(self):
        return self

    def __next__(self):
        if self._given == AT_ONCE:
            self._begin()
        idx, labels, lengths = self._block[self._given]
        self._given += 1
        self.examples += self.batch
        plan = (x.to(self.device) for x in (labels.operation, labels.operand1, labels.operand2))
        return idx.to(self.device), PlanLabels(*plan), lengths.to(self.device)

    def state_dict(self) -> dict:
        """Plain JSON values: the random state the current block was generated from, and how much of it has been given out."""
        return {"stream": self._state, "given": self._given}

    def load_state_dict(self, state: dict) -> None:
        self.stream.load_state_dict(state["stream"])
        self._begin()
        self._given = state["given"]


def planned_questions(tokenizer, conversations) -> list[Rendered]:
    """The conversations with a plan, each rendered up to the token after which its last planned answer is printed."""
    rendered = (render(tokenizer, conversation) for conversation in conversations)
    return [_until(item, item.plans[-1].position + 1) for item in rendered if item.plans]


def _until(item: Rendered, length: int) -> Rendered:
    return Rendered(item.ids[:length], item.mask[:length], item.plans)
