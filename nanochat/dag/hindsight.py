"""Plans found afterwards: a number printed in plain text that is some earlier two numbers added, subtracted, multiplied or divided.

Nobody says how the numbers of ordinary text came about. Where exactly one operation on two of the latest MOST_NUMBERS numbers before
a number gives it, that operation becomes its label; where several do (distinct by operation and values), or the number is only a copy,
it gets none. Numbers below LEAST, which match by chance, get none either, nor do numbers not written as the tower prints them. What
matches may still be chance, so the gate is left open to learning there: neither open nor closed.
"""

from collections.abc import Iterator

import numpy as np

from nanochat.dag.executor import ADD, DIVIDE, LARGEST, MULTIPLY, SUBTRACT, number_reference
from nanochat.dag.numbers import DIGIT, format_value
from nanochat.dag.placing import Ground, Placed

MOST_NUMBERS = 32
LEAST = 10.0


def hindsight(ground: Ground, begin: int, end: int, steps: int) -> Iterator[tuple[int, Placed]]:
    """For the document of tokens [begin, end) of a row: (token after which a number is printed, the operation that gives it)."""
    there = (ground.ends >= begin) & (ground.ends < end) & np.isfinite(ground.values)
    ends, values = ground.ends[there], ground.values[there]
    for k in range(2, len(ends)):
        earlier = slice(max(0, k - MOST_NUMBERS), k)
        place = _printed_after(ground, int(ends[k]), float(values[k]))
        if place is None or values[k] in values[earlier]:
            continue
        position, token = place
        found = unique_program(values[earlier], float(values[k]))
        if found is not None and ends[k - 1] < token:
            operation, i, j = found
            one, two = (number_reference(int(ends[earlier][n]), steps) for n in (i, j))
            yield position, Placed(token, 0, operation, one, two)


def unique_program(values: np.ndarray, target: float) -> tuple[int, int, int] | None:
    """(operation, index, index) of the only operation on two of `values` (N,) that gives `target`; None if none or several do.

    Equal values are one; the latest of them is pointed to. The order of the operands of add and multiply does not count.
    """
    distinct, latest = np.unique(values[::-1], return_index=True)
    i, j = np.triu_indices(len(distinct))
    x, y = distinct[i], distinct[j]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        tries = ((ADD, x + y, i, j), (MULTIPLY, x * y, i, j), (SUBTRACT, x - y, i, j), (SUBTRACT, y - x, j, i),
                 (DIVIDE, x / y, i, j), (DIVIDE, y / x, j, i))  # fmt: skip
        hits = [(o, int(a[n]), int(b[n])) for o, r, a, b in tries for n in np.flatnonzero(np.abs(r - target) <= 1e-9 * abs(target))]
    counts = (values[:, None] == distinct).sum(0)
    hits = [hit for hit in dict.fromkeys(hits) if hit[1] != hit[2] or counts[hit[1]] > 1]  # a value with itself: it must stand there twice
    if len(hits) != 1:
        return None
    operation, a, b = hits[0]
    return operation, *(len(values) - 1 - int(latest[n]) for n in (a, b))


def _printed_after(ground: Ground, end: int, value: float) -> tuple[int, int] | None:
    """(token after which the number ending at `end` is printed, token that plans it); None unless it is written as it would be printed."""
    text = format_value(value)
    if text is None or not LEAST <= value < LARGEST:
        return None
    position = end - len(text)
    at = position
    while at > 0 and ground.space[at]:
        at -= 1
    if position < 0 or at not in ground.anchors or ground.kind[position + 1] != DIGIT:
        return None
    return position, at
