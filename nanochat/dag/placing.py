"""From a conversation's plan to labels: which number an operand is, and at which token each operation is carried out.

A plan names its operands by index or by value, and says after which token its result is printed (`PlanSpec`). Here it meets the text
as it was read. Operands by value ("v48") are sought in this order: the latest number of that value in the plan's text; for a number
that is not whole, the latest one a hundred times as large, times 0.01 (0.2 of `20%`); the constants.

Operations stand at the answer token, the one before the printed number, as far as it has room. Three kinds of plan use other tokens too,
in tape mode. Steps that say after which number's sentence they come are carried out where the next sentence begins. A plan whose operands
are the last numbers of the text in order, as in `2 * 3 + 4 = 10`, is carried out as the generator's expressions are: at the first
operator or closing bracket at which an operation is complete. A longer one of any kind begins at the planning tokens before the answer
token, as many as it takes, but not before `PlanSpec.ready`.
"""

from dataclasses import dataclass

import numpy as np

from nanochat.dag.executor import CONSTANTS, IDENTITY, NO_REFERENCE, OPERATIONS, constant_reference, number_reference, tape_reference
from nanochat.dag.numbers import CLOSE, DOT, MINUS, OPERATOR, NumberTable, documents_of, read_numbers
from nanochat.data.conversations import PlanSpec

NO_PLACE = "the token before the number may not plan"
NO_ROOM = "more operations than its tokens carry out"
NO_NUMBER = "an operand is neither in the text nor a constant"


class Unplaced(ValueError):
    """A plan that cannot become a label; the message says why."""


@dataclass
class Ground:
    """A row of T tokens as it was read: where its numbers end (N,) and their values (N,); where plans may stand (A,); per token
    whether it is white space, its kind (numbers.py) and bracket depth."""

    ends: np.ndarray
    values: np.ndarray
    anchors: np.ndarray
    space: np.ndarray
    kind: np.ndarray
    depth: np.ndarray


@dataclass(frozen=True)
class Placed:
    """One operation of a plan at its place; references in the executor's form."""

    token: int
    step: int
    operation: int
    operand1: int
    operand2: int


def grounds_of(idx, table: NumberTable, bos: int) -> list[Ground]:
    """The rows of `idx` (B, T) as they are read."""
    reading = read_numbers(idx, table, documents_of(idx, bos))
    number, anchor = ((flag & ~reading.absorbed).cpu().numpy() for flag in (reading.number, reading.anchor))
    value, space, depth, kind = (x.cpu().numpy() for x in (reading.value, reading.space, reading.depth, table.kind[idx]))
    rows = range(len(idx))
    return [Ground(np.flatnonzero(number[i]), value[i][number[i]], np.flatnonzero(anchor[i]), space[i], kind[i], depth[i]) for i in rows]


def place(plan: PlanSpec, offset: int, ground: Ground, steps: int, mode: str = "tape") -> list[Placed]:
    """The operations of a plan whose document begins at token `offset`, in order, and an identity at the answer token if none stands
    there; Unplaced if they cannot be labelled."""
    at = plan.position + offset
    while ground.space[at]:
        at -= 1
    if at not in ground.anchors:
        raise Unplaced(NO_PLACE)
    first, last = plan.text[0] + offset, min(plan.text[1] + offset, at)
    there = (ground.ends >= first) & (ground.ends < last)
    ends, values = ground.ends[there], ground.values[there]
    after = [step[3] if len(step) == 4 else None for step in plan.steps]
    inline = inline_operands(plan.steps, values) if after == [None] * len(after) else None
    found = resolve(inline or plan.steps, values)
    tokens = _as_written(found, ends, at, ground, steps) if inline and mode == "tape" else None
    if tokens is None:
        ready = ground.anchors[(ground.anchors >= plan.ready + offset) & (ground.anchors < at)]
        settled = [None if mode != "tape" or n is None else _next_sentence(n, ends, at, ground) for n in after]
        tokens = _latest(found, ends, at, ready if mode == "tape" else ready[:0], steps, settled)
    places = [(token, tokens[:k].count(token)) for k, token in enumerate(tokens)]
    pairs = zip(places, found, strict=True)
    placed = [Placed(*p, OPERATIONS.index(o), *(_reference(x, ends, places, steps) for x in operands)) for p, (o, *operands) in pairs]
    if tokens[-1] != at:  # the answer is what stands there already
        placed.append(Placed(at, 0, IDENTITY, tape_reference(*places[-1], steps), NO_REFERENCE))
    return placed


def resolve(plan, values) -> list[tuple]:
    """The plan with every operand by value replaced by a number's index, a constant or a step; Unplaced if there is none such."""
    out: list[tuple] = []
    moved: list[str] = []  # what each step of the plan is called now

    def operand(o):
        if isinstance(o, int):
            if o >= len(values):
                raise Unplaced(NO_NUMBER)
            return o
        if o[0] == "s":
            return moved[int(o[1:])]
        value = float(o[1:])
        if o[0] == "v" and (values == value).any():
            return int(np.flatnonzero(values == value)[-1])
        whole = np.flatnonzero(np.abs(values * 0.01 - value) < 1e-9)
        if o[0] == "v" and value % 1 and len(whole):
            out.append(("multiply", int(whole[-1]), "c0.01"))
            return f"s{len(out) - 1}"
        if value not in CONSTANTS:
            raise Unplaced(NO_NUMBER)
        return f"c{o[1:]}"

    for operation, one, two, *_ in plan:
        out.append((operation, operand(one), operand(two)))
        moved.append(f"s{len(out) - 1}")
    return out


def inline_operands(plan, values) -> list[tuple] | None:
    """The plan with its operands as indices, if they are the last numbers of the text in the order in which they are written."""
    order: list[tuple[int, int]] = []
    if any(isinstance(o, int) or o[0] == "c" for step in plan for o in step[1:]) or not _leaves(plan, len(plan) - 1, order):
        return None
    sought = [float(plan[k][i][1:]) for k, i in order]
    if len(sought) > len(values) or sought != values[len(values) - len(sought) :].tolist():
        return None
    index = {place: len(values) - len(sought) + n for n, place in enumerate(order)}
    return [(step[0], *(index.get((k, i), step[i]) for i in (1, 2))) for k, step in enumerate(plan)]


def _leaves(plan, k: int, order: list[tuple[int, int]]) -> bool:
    """Appends the places (step, operand) of values below step k as they are written; False for a plan that is no single tree."""
    if plan[k][0] == "identity":
        return False
    for i in (1, 2):
        operand = plan[k][i]
        if operand[0] == "v":
            order.append((k, i))
        elif not _leaves(plan, int(operand[1:]), order):
            return False
    return k < len(plan) - 1 or len(order) == len(plan) + 1


def _as_written(plan, ends, at: int, ground: Ground, steps: int) -> list[int] | None:
    """The token of each operation of an expression written just before `at`; None if they do not fit there.

    A closing bracket does only what is wholly within it, the answer token all that is left."""
    last = max(ends[o] for step in plan for o in step[1:] if isinstance(o, int))
    marks = [a for a in ground.anchors if a < last and ground.kind[a] in (OPERATOR, MINUS, CLOSE)]
    marks += [a for a in ground.anchors if last < a < at and ground.kind[a] == CLOSE]
    tokens, depths = [], []
    for _, *operands in plan:
        known = [(ends[o] + 1, ground.depth[ends[o]]) if isinstance(o, int) else (tokens[int(o[1:])], depths[int(o[1:])]) for o in operands]
        since, depth = max(k[0] for k in known), min(k[1] for k in known)
        fits = (m for m in marks if m >= since and (ground.kind[m] != CLOSE or depth > ground.depth[m]) and tokens.count(m) < steps)
        tokens.append(int(next(fits, at)))
        depths.append(depth)
    return tokens if tokens[-1] == at and tokens.count(at) <= steps else None


def _next_sentence(number: int, ends, at: int, ground: Ground) -> int | None:
    """The first planning token after the sentence of a number, None if there is none before `at`."""
    if number >= len(ends):
        raise Unplaced(NO_NUMBER)
    stops = np.flatnonzero(ground.kind[ends[number] + 1 : at] == DOT)
    following = ground.anchors[(ground.anchors > ends[number] + 1 + stops[0]) & (ground.anchors < at)] if len(stops) else []
    return int(following[0]) if len(following) else None


def _latest(plan, ends, at: int, anchors: np.ndarray, steps: int, settled: list) -> list[int]:
    """The token of each operation: `settled` ones at theirs, of the others the last ones `at` and those before at the nearest of
    `anchors`; Unplaced where there is no room."""
    settled = settled + [None] * (len(plan) - len(settled))
    count = settled.count(None)
    earlier = max(-(-count // steps) - 1, 0)
    if earlier > len(anchors) or any(settled.count(t) > steps for t in settled if t is not None):
        raise Unplaced(NO_ROOM)
    rooms = [token for token in [*anchors[len(anchors) - earlier :].tolist(), at] for _ in range(steps)]
    open_ = iter(rooms[: count - earlier * steps] + rooms[steps:])
    tokens = [next(open_) if token is None else token for token in settled]
    if any(ends[o] >= token for token, step in zip(tokens, plan, strict=True) for o in step[1:] if isinstance(o, int)):
        raise Unplaced(NO_ROOM)
    return tokens


def _reference(operand, ends, places: list[tuple[int, int]], steps: int) -> int:
    if isinstance(operand, int):
        return number_reference(int(ends[operand]), steps)
    if operand[0] == "s":
        return tape_reference(*places[int(operand[1:])], steps)
    return constant_reference(CONSTANTS.index(float(operand[1:])))
