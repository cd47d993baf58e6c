"""Plan labels of packed rows: from generated expressions, and from conversations that carry a plan.

A document without a plan is unknown ground for the planner (no label) but a negative for the gate: nothing computed is to be
printed in it.

A plan of more operations than a token carries out begins earlier, in tape mode: its last D operations stand at the answer token, those
before them at the planning tokens before it, as many as it takes. They must stand behind the text of the plan (the question is read
before anything is planned about it), and a plan that finds too few of them leaves its answer token unlabelled.
"""

from dataclasses import dataclass, field

import numpy as np
import torch

from nanochat.dag.executor import (
    CONSTANTS,
    IDENTITY,
    NO_REFERENCE,
    NO_STEP,
    OPERATIONS,
    constant_reference,
    number_reference,
    shift_references,
    tape_reference,
)
from nanochat.dag.numbers import NumberTable, documents_of, read_numbers
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


@dataclass
class _Row:
    """One packed row under way: its labels, numpy arrays of T tokens, and where its numbers end and which of its tokens may plan."""

    operation: np.ndarray
    operand1: np.ndarray
    operand2: np.ndarray
    gate: np.ndarray
    ends: np.ndarray
    anchors: np.ndarray


def plan_tensors(documents, idx: torch.Tensor, table: NumberTable, bos: int, steps: int, mode: str = "tape") -> PlanLabels:
    """Labels of packed rows `idx` (B, T). `documents`: per row a list of (offset, Rendered or PlannedText)."""
    shape = (*idx.shape, steps)
    operation = np.full(shape, NO_STEP)
    operand1, operand2 = np.full(shape, NO_REFERENCE), np.full(shape, NO_REFERENCE)
    gate = np.full(idx.shape, GATE_CLOSED)
    read = None
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
                read = _numbers_and_anchors(idx, table, bos) if read is None else read
                operation[row, offset : offset + len(item), 0] = IDENTITY
                labels = _Row(operation[row], operand1[row], operand2[row], gate[row], *(np.flatnonzero(x[row]) for x in read))
                for plan in item.plans:
                    _place(plan, offset, labels, mode)
    tensors = (torch.from_numpy(x).to(idx.device) for x in (operation, operand1, operand2, gate))
    return PlanLabels(*tensors)


def _numbers_and_anchors(idx, table, bos) -> tuple[np.ndarray, np.ndarray]:
    """(B, T) bool each: the last tokens of numbers, and the tokens that may plan."""
    reading = read_numbers(idx, table, documents_of(idx, bos))
    return tuple((flag & ~reading.absorbed).cpu().numpy() for flag in (reading.number, reading.anchor))


def _place(plan: PlanSpec, offset: int, row: _Row, mode: str) -> None:
    """Writes one conversation's plan at its answer token and, if it is longer, at those before it; else that token stays unlabelled."""
    at, steps = plan.position + offset, row.operation.shape[1]
    if at >= len(row.gate):
        return
    first, last = (p + offset for p in plan.text)
    numbers = [int(p) for p in row.ends if first <= p < last]
    anchors = row.anchors[(row.anchors >= last) & (row.anchors < at)] if mode == "tape" else row.anchors[:0]
    places = _places(len(plan.steps), anchors, at, steps)
    references = places and [[_reference(o, numbers, places, steps) for o in step[1:]] for step in plan.steps]
    if references is None or any(r is None for pair in references for r in pair):
        row.operation[at], row.gate[at] = NO_STEP, GATE_UNKNOWN
        return
    row.gate[at] = GATE_OPEN
    row.operation[sorted({token for token, _ in places})] = NO_STEP
    for (token, s), step, (one, two) in zip(places, plan.steps, references, strict=True):
        row.operation[token, s], row.operand1[token, s], row.operand2[token, s] = OPERATIONS.index(step[0]), one, two
    if spare := -len(places) % steps:
        row.operation[places[0][0], steps - spare] = IDENTITY


def _places(count: int, anchors: np.ndarray, at: int, steps: int) -> list[tuple[int, int]] | None:
    """(token, step) of each of `count` operations: the last ones at `at`, the others at the nearest of `anchors`; None if too few."""
    earlier = -(-count // steps) - 1
    if earlier > len(anchors):
        return None
    rooms = [(token, s) for token in [*anchors[len(anchors) - earlier :].tolist(), at] for s in range(steps)]
    full = count - earlier * steps  # operations of the first of these tokens
    return rooms[:full] + rooms[steps:]


def _reference(operand, numbers: list[int], places: list[tuple[int, int]], steps: int) -> int | None:
    if isinstance(operand, int):
        return number_reference(numbers[operand], steps) if operand < len(numbers) else None
    if operand.startswith("s"):
        return tape_reference(*places[int(operand[1:])], steps)
    constant = float(operand[1:])
    return constant_reference(CONSTANTS.index(constant)) if constant in CONSTANTS else None
