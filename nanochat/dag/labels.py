"""Plan labels of packed rows: from generated expressions, and from conversations that carry a plan.

A document without a plan is unknown ground for the planner (no label) but a negative for the gate: nothing computed is to be
printed in it.
Which tokens carry out a conversation's plan, `placing.py` says.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import torch

from nanochat.dag.executor import IDENTITY, NO_REFERENCE, NO_STEP, shift_references
from nanochat.dag.hindsight import hindsight
from nanochat.dag.numbers import NumberTable
from nanochat.dag.placing import Ground, Unplaced, grounds_of, place
from nanochat.dag.predictor import PlanLabels
from nanochat.data.conversations import PlanSpec, Rendered

NOT_COMPUTED = -1
GATE_UNKNOWN, GATE_CLOSED, GATE_OPEN = -1, 0, 1


@dataclass(frozen=True)
class PlannedText(Rendered):
    """A rendered example whose every token is labelled: operation, operand1, operand2 (L, D) for its first L tokens; the number
    it computes is printed after token `answer`, NOT_COMPUTED if the answer is in words."""

    operation: np.ndarray = field(default=None)
    operand1: np.ndarray = field(default=None)
    operand2: np.ndarray = field(default=None)
    answer: int = NOT_COMPUTED


def plan_tensors(
    documents, idx: torch.Tensor, table: NumberTable, bos: int, steps: int, mode: str = "tape", search: bool = False
) -> PlanLabels:
    """Labels of packed rows `idx` (B, T). `documents`: per row a list of (offset, Rendered or PlannedText).

    `search`: look for plans in plain text, which gives none (hindsight.py).
    """
    shape = (*idx.shape, steps)
    operation = np.full(shape, NO_STEP)
    operand1, operand2 = np.full(shape, NO_REFERENCE), np.full(shape, NO_REFERENCE)
    gate = np.full(idx.shape, GATE_CLOSED)
    grounds = None
    for row, items in enumerate(documents):
        for offset, item in items:
            if isinstance(item, PlannedText):
                n = max(0, min(len(item.operation), idx.shape[1] - offset, len(item)))
                here = slice(offset, offset + n)
                operation[row, here] = item.operation[:n]
                operand1[row, here] = shift_references(item.operand1[:n], offset, steps)
                operand2[row, here] = shift_references(item.operand2[:n], offset, steps)
                if item.answer != NOT_COMPUTED and offset + item.answer < idx.shape[1]:
                    gate[row, offset + item.answer] = GATE_OPEN
            elif item.plans:
                grounds = grounds_of(idx, table, bos) if grounds is None else grounds
                labels = operation[row], operand1[row], operand2[row], gate[row]
                operation[row, offset : offset + len(item), 0] = IDENTITY
                for plan in item.plans:
                    if plan.position + offset < idx.shape[1]:
                        _write(plan, offset, grounds[row], mode, *labels)
            elif search and all(item.mask[1:]):  # plain text: of a conversation the questions are not trained
                grounds = grounds_of(idx, table, bos) if grounds is None else grounds
                for position, p in hindsight(grounds[row], offset, offset + len(item), steps):
                    operation[row, p.token, 0], operand1[row, p.token, 0], operand2[row, p.token, 0] = p.operation, p.operand1, p.operand2
                    operation[row, p.token, 1:2], gate[row, position] = IDENTITY, GATE_UNKNOWN
    tensors = (torch.from_numpy(x).to(idx.device) for x in (operation, operand1, operand2, gate))
    return PlanLabels(*tensors)


def _write(plan: PlanSpec, offset: int, ground: Ground, mode: str, operation, operand1, operand2, gate) -> None:
    """Writes the labels of one conversation's plan into its row; a plan that has no place leaves its answer token unlabelled."""
    position, steps = plan.position + offset, operation.shape[1]
    try:
        placed = place(plan, offset, ground, steps, mode)
        if any(operation[p.token, 0] != IDENTITY for p in placed):
            raise Unplaced("another plan stands there")
    except Unplaced:
        operation[position], gate[position] = NO_STEP, GATE_UNKNOWN
        return
    gate[position] = GATE_OPEN
    taken = Counter(p.token for p in placed if p.operation != IDENTITY)
    for token, count in taken.items():
        operation[token] = NO_STEP
        operation[token, count : count + 1] = IDENTITY
    for p in placed:
        operation[p.token, p.step], operand1[p.token, p.step], operand2[p.token, p.step] = p.operation, p.operand1, p.operand2
