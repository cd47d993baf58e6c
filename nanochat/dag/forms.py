"""How the operations of a tree are written: brackets, phrases (`the sum of 3 and 4`), LaTeX fractions, and what opens and closes where.

A text has one reading. Infix keeps the usual precedence; a phrase ends where its second operand ends, so its operands are numbers,
bracketed or themselves phrases at the end, and it stands bare only where nothing follows it on its own level.
"""

from dataclasses import dataclass

import numpy as np

from nanochat.dag.trees import Trees, node_operation

LOW, HIGH = 1, 2  # precedence of + - and of * /
PRECEDENCE = np.array([LOW, LOW, HIGH, HIGH])
NOTHING, BRACKET, FRACTION, PHRASE = 0, 1, 2, 3  # codes of what opens or closes; a phrase is PHRASE + its operation
REDUNDANT = 0.04  # brackets that do not matter
DOUBLED, AROUND_NUMBER = 0.02, 0.015  # a second pair around the same operation; a pair around a bare number


@dataclass
class Forms:
    """How n trees of K operations are written.

    opens (n, K+1, R) codes of what opens before each leaf, outermost first; closes (n, K+1, C) what closes after each leaf, innermost
    first (a phrase closes with nothing). written (n, K): the code of node K+1+j's own form, NOTHING for infix. closing (n, K): the
    index in `closes` of the sign that reduces node K+1+j, -1 where no sign does.
    """

    opens: np.ndarray
    closes: np.ndarray
    written: np.ndarray
    closing: np.ndarray

    def rows(self, keep: np.ndarray) -> "Forms":
        """The trees `keep`, with as many columns as they need."""
        opens, closes = (_narrow(x[keep]) for x in (self.opens, self.closes))
        return Forms(opens, closes, self.written[keep], self.closing[keep])


def _narrow(signs: np.ndarray) -> np.ndarray:
    """Without the last columns if nothing stands there."""
    return signs[:, :, : int(np.flatnonzero(signs.any(axis=(0, 1))).max(initial=-1)) + 1]


def set_forms(rng, trees: Trees, phrase_share: np.ndarray, fraction_share: np.ndarray) -> Forms:
    """Chooses forms: `phrase_share` (n,) of the operations as phrases, `fraction_share` (n,) of the divisions as \\frac{}{}."""
    n, k = trees.operation.shape
    operation, first = node_operation(trees), np.arange(n) * k
    written = np.where(rng.random((n, k)) < phrase_share[:, None], PHRASE + operation, NOTHING)
    written = np.where((operation == 3) & (rng.random((n, k)) < fraction_share[:, None]), FRACTION, written)
    brackets = np.zeros((n, 2 * k + 1), dtype=np.int64)  # pairs around each node, leaves too
    last_of_level = np.zeros((n, k), dtype=bool)  # nothing follows the node before what encloses it closes
    for j in range(k - 1, -1, -1):  # parents before children
        above, right = trees.parent[:, k + 1 + j], trees.is_right[:, k + 1 + j]
        p = first + np.maximum(above - k - 1, 0)
        outer, here = written.ravel().take(p), written[:, j]
        inner, own = PRECEDENCE.take(operation.ravel().take(p)), PRECEDENCE.take(operation[:, j])
        end = (above < 0) | (outer == FRACTION) | (right & last_of_level.ravel().take(p))
        in_infix = np.where(here >= PHRASE, ~end, np.where(right, own <= inner, own < inner))
        in_phrase = ~((here >= PHRASE) & right & end)
        needed = np.where(outer >= PHRASE, in_phrase, in_infix) & (here != FRACTION) & (outer != FRACTION) & (above >= 0)
        pairs = (needed | (rng.random(n) < REDUNDANT)).astype(np.int64)
        brackets[:, k + 1 + j] = pairs + (rng.random(n) < DOUBLED)
        last_of_level[:, j] = end | (brackets[:, k + 1 + j] > 0)
    brackets[:, : k + 1] = rng.random((n, k + 1)) < AROUND_NUMBER
    return _placed(trees, written, brackets)


def _placed(trees: Trees, written: np.ndarray, brackets: np.ndarray) -> Forms:
    """Lists what opens before and closes after each leaf."""
    n, k = written.shape
    rows, most = np.arange(n), int(brackets.max(initial=0))
    room = 2 * (int(brackets.sum(1).max(initial=0)) + k) + 1
    opens, closes = np.zeros((n, k + 1, room), dtype=np.int8), np.zeros((n, k + 1, room), dtype=np.int8)
    opened, closed = np.zeros((n, k + 1), dtype=np.int64), np.zeros((n, k + 1), dtype=np.int64)
    closing = np.full((n, k), -1)

    def put(table, count, leaf, code, where):
        r = np.flatnonzero(where)
        at = leaf[r] if isinstance(leaf, np.ndarray) else leaf
        table[r, at, count[r, at]] = code[r] if isinstance(code, np.ndarray) else code
        count[r, at] += 1

    for j in range(k - 1, -1, -1):  # outermost first
        first = trees.first[:, j]
        for pair in range(most):
            put(opens, opened, first, BRACKET, brackets[:, k + 1 + j] > pair)
        put(opens, opened, first, written[:, j], written[:, j] != NOTHING)
    for leaf in range(k + 1):
        put(opens, opened, leaf, BRACKET, brackets[:, leaf] > 0)
        put(closes, closed, leaf, BRACKET, brackets[:, leaf] > 0)
    for j in range(k):  # innermost first
        last, fraction, pairs = trees.last[:, j], written[:, j] == FRACTION, brackets[:, k + 1 + j]
        closing[:, j] = np.where(fraction | (pairs > 0), closed[rows, last], -1)
        put(closes, closed, last, FRACTION, fraction)
        for pair in range(most):
            put(closes, closed, last, BRACKET, pairs > pair)
    return Forms(opens[:, :, : int(opened.max(initial=0))], closes[:, :, : int(closed.max(initial=0))], written, closing)
