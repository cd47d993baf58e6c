"""Batches of generated expressions for training: an endless iterator with exact resume, each process on its own stream."""

import numpy as np
import torch

from nanochat.common import derive_seed
from nanochat.dag.expressions import ExpressionSettings, ExpressionStream
from nanochat.dag.predictor import PlanLabels

AT_ONCE = 8  # batches generated together: the cost of generating is mostly per call


class ExpressionBatches:
    """Yields (idx (B, T), PlanLabels, lengths (B,)) of unique random expressions, right-padded.

    `epoch` and `progress` stay 0: expressions never end. `tokens_per_step` is the mean number of tokens of one micro step over all
    processes, padding not counted.
    """

    epoch, progress = 0, 0.0

    def __init__(self, tokenizer, settings: ExpressionSettings, batch: int, seed: int, rank: int = 0, world: int = 1, device="cpu"):
        self.stream = ExpressionStream(tokenizer, settings, "train", derive_seed(seed, "expressions", rank, world))
        self.batch, self.world, self.device = batch, world, torch.device(device)
        self._begin()
        self.tokens_per_step = round(float(self._block.length.mean()) * batch * world)

    def _begin(self) -> None:
        self._state, self._given = self.stream.state_dict(), 0
        block = self.stream.batch(self.batch * AT_ONCE)
        # Rows of like length go together, so that little is padding; the order of the batches is random.
        order = np.argsort(block.length, kind="stable").reshape(AT_ONCE, self.batch)
        self._block = block.select(self.stream.rng.permutation(order).ravel())

    def __iter__(self):
        return self

    def __next__(self):
        if self._given == AT_ONCE:
            self._begin()
        rows = np.arange(self.batch) + self.batch * self._given
        self._given += 1
        b = self._block.select(rows)
        tensors = [torch.from_numpy(x).to(self.device) for x in (b.ids, b.operation, b.operand1, b.operand2, b.length)]
        return tensors[0], PlanLabels(*tensors[1:4]), tensors[4]

    def state_dict(self) -> dict:
        """Plain JSON values: the random state the current block was generated from, and how much of it has been given out."""
        return {"stream": self._state, "given": self._given}

    def load_state_dict(self, state: dict) -> None:
        self.stream.load_state_dict(state["stream"])
        self._begin()
        self._given = state["given"]
