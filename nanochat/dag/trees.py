"""Random expression trees in whole batches: shapes, numbers, values, and when each operation is carried out."""

from dataclasses import dataclass

import numpy as np

from nanochat.dag.executor import DIVIDE, MULTIPLY, SUBTRACT

LARGEST_VALUE = 1e9
DECIMALS = 4  # answers and intermediate values have at most so many
TOO_LARGE = (16.2, 22.0)  # log10 of products beyond 2^53
FRIENDLY_DIVISORS = np.array([2, 4, 5, 8, 10, 20, 25, 50, 100])


def lots(*shares: float) -> np.ndarray:
    """A table of 20 in which index i stands as often as its share says; shares are multiples of 0.05."""
    table = np.repeat(np.arange(len(shares)), [round(20 * share) for share in shares])
    assert len(table) == 20
    return table


def drawn(rng: np.random.Generator, table: np.ndarray, shape) -> np.ndarray:
    """Random entries of a table; several times as fast as `rng.choice` with probabilities."""
    return table.take(rng.integers(len(table), size=shape, dtype=np.uint8))


KINDS, FREEDOM = lots(0.3, 0.3, 0.25, 0.15), np.array([0.0, 0.3, 1.0])[lots(0.35, 0.4, 0.25)]


@dataclass
class Spots:
    """Token positions in the text: number (n, K+1) last digit; operator (n, K) last token of the operator; close (n, K+1, C) the
    closing signs after a leaf in order, C >= 1; answer (n,) the last token."""

    number: np.ndarray
    operator: np.ndarray
    close: np.ndarray
    answer: np.ndarray


@dataclass
class Trees:
    """n expression trees of K operations. Node ids: leaves 0..K in text order, then K+1+j for the j-th merge, children first.

    operation (n, K) by position in the text; place (n, K): the position whose operator merge j is; left, right (n, K): child ids;
    first, last (n, K): leaves the node spans; parent (n, 2K+1), -1 at the root; is_right (n, 2K+1).
    """

    operation: np.ndarray
    place: np.ndarray
    left: np.ndarray
    right: np.ndarray
    first: np.ndarray
    last: np.ndarray
    parent: np.ndarray
    is_right: np.ndarray


def draw_trees(rng: np.random.Generator, n: int, k: int) -> Trees:
    """n random trees of k operations: some follow precedence without brackets, some are arbitrary, most lie between."""
    operation = drawn(rng, KINDS, (n, k))
    natural = np.arange(k) + np.where(operation <= SUBTRACT, k, 0)
    freedom = drawn(rng, FREEDOM, (n, 1))
    keys = np.where(rng.random((n, k)) < freedom, rng.random((n, k)) * 2 * k, natural)
    return _merge(operation, np.argsort(keys, axis=1, kind="stable"))


def _merge(operation: np.ndarray, place: np.ndarray) -> Trees:
    """The trees in which merge j joins what stands left and right of the operator at `place[:, j]`."""
    n, k = operation.shape
    leaf = np.arange(n) * (k + 1)  # of each tree the first one, in the flat tables below: numpy is twice as fast in one dimension
    start = np.tile(np.arange(k + 1), n)  # valid at a span's last leaf
    end, root = start.copy(), start.copy()  # valid at a span's first leaf
    shape = (n, k)
    left, right, first, last = (np.empty(shape, dtype=np.int64) for _ in range(4))
    parent, is_right = np.full((n, 2 * k + 1), -1), np.zeros((n, 2 * k + 1), dtype=bool)
    for j in range(k):
        at = place[:, j]
        one, two = leaf + at, leaf + at + 1
        a, b = start.take(one), end.take(two)
        of_left, of_right = root.take(leaf + a), root.take(two)
        left[:, j], right[:, j], first[:, j], last[:, j] = of_left, of_right, a, b
        node = np.arange(n) * (2 * k + 1)
        parent.ravel()[node + of_left] = parent.ravel()[node + of_right] = k + 1 + j
        is_right.ravel()[node + of_right] = True
        start[leaf + b], end[leaf + a], root[leaf + a] = a, b, k + 1 + j
    return Trees(operation, place, left, right, first, last, parent, is_right)


def node_operation(trees: Trees) -> np.ndarray:
    """(n, K) operation of merge j."""
    return np.take_along_axis(trees.operation, trees.place, axis=1)


def draw_numbers(rng, trees: Trees, max_digits: int, decimal_share: float):
    """Integers (n, K+1) and decimals (n, K+1): the numbers are integer / 10^decimals. Divisors are chosen so that most quotients end."""
    n, k = trees.operation.shape
    digits = rng.integers(1, max_digits + 1, (n, k + 1))
    digits = np.minimum(digits, rng.integers(1, max_digits + 1, (n, k + 1)))
    numbers = _power_of_ten(digits - rng.random((n, k + 1)))
    numbers[rng.random((n, k + 1)) < 0.01] = 0
    decimals = np.where(rng.random((n, k + 1)) < decimal_share, rng.integers(1, 3, (n, k + 1)), 0)
    rows = np.arange(n)
    for j in range(k):
        divides = trees.operation[rows, trees.place[:, j]] == DIVIDE
        leaf_right, leaf_left = trees.right[:, j] <= k, trees.left[:, j] <= k
        r = np.flatnonzero(divides & leaf_right)
        numbers[r, trees.right[r, j]] = np.where(
            rng.random(len(r)) < 0.7, rng.choice(FRIENDLY_DIVISORS, len(r)), rng.integers(1, 13, len(r))
        )
        decimals[r, trees.right[r, j]] = 0
        r = np.flatnonzero(divides & leaf_right & leaf_left & (rng.random(n) < 0.7))
        numbers[r, trees.left[r, j]] = numbers[r, trees.right[r, j]] * _power_of_ten(rng.random(len(r)) * 2.5)
    decimals[numbers % 10 == 0] = 0  # 2.50 is written 2.5
    return numbers, decimals


def _power_of_ten(exponent: np.ndarray) -> np.ndarray:
    """10^exponent without its decimals; `exp` takes a third of the time of a power."""
    return np.exp(exponent * np.log(10.0)).astype(np.int64)


def evaluate(trees: Trees, leaves: np.ndarray):
    """Values (n, 2K+1) of all nodes and whether an example may be used: every value ends within DECIMALS and stays in bounds."""
    k = trees.operation.shape[1]
    values, good = node_values(trees, leaves)
    results = values[:, k + 1 :]
    scaled = results * 10.0**DECIMALS
    rounding = 1e-9 + np.abs(scaled) * 1e-14  # what float64 itself may have added
    good &= ((np.abs(results) < LARGEST_VALUE) & (np.abs(scaled - np.rint(scaled)) < rounding)).all(axis=1)
    return values, good


def node_values(trees: Trees, leaves: np.ndarray):
    """Values (n, 2K+1) of all nodes, and whether nothing is divided by zero (n,)."""
    n, k = trees.operation.shape
    values = np.concatenate([leaves, np.zeros((n, k))], axis=1)
    first, operations, good = np.arange(n) * (2 * k + 1), node_operation(trees), np.ones(n, dtype=bool)
    for j in range(k):
        x, y, o = values.ravel().take(first + trees.left[:, j]), values.ravel().take(first + trees.right[:, j]), operations[:, j]
        good &= (o != DIVIDE) | (y != 0)
        values[:, k + 1 + j] = np.choose(o, [x + y, x - y, x * y, x / np.where(y == 0, 1.0, y)])
    return values, good


def divide_by_zero(rng, trees: Trees, numbers: np.ndarray, decimals: np.ndarray) -> np.ndarray:
    """Makes a bare divisor of each expression 0 where it has one, in place; (n,) whether it has."""
    n, k = trees.operation.shape
    kinds, done = node_operation(trees), np.zeros(n, dtype=bool)
    for j in range(k):
        r = np.flatnonzero((kinds[:, j] == DIVIDE) & (trees.right[:, j] <= k) & ~done)
        numbers[r, trees.right[r, j]] = decimals[r, trees.right[r, j]] = 0
        done[r] = True
    return done


def too_large(rng, trees: Trees, numbers: np.ndarray, decimals: np.ndarray) -> np.ndarray:
    """Makes the first product of two bare numbers in each expression larger than float64 counts, in place; (n,) whether there is one
    and the answer is that large too."""
    n, k = trees.operation.shape
    kinds, done = node_operation(trees), np.zeros(n, dtype=bool)
    size = rng.uniform(*TOO_LARGE, n)
    left = size / 2 + rng.uniform(-2, 2, n)
    for j in range(k):
        r = np.flatnonzero((kinds[:, j] == MULTIPLY) & (trees.left[:, j] <= k) & (trees.right[:, j] <= k) & ~done)
        for leaf, digits in ((trees.left, left), (trees.right, size - left)):
            numbers[r, leaf[r, j]], decimals[r, leaf[r, j]] = np.floor(10.0 ** digits[r]).astype(np.int64), 0
        done[r] = True
    values, divided = node_values(trees, numbers / 10.0**decimals)
    return done & divided & (np.abs(values[:, -1]) > 10 ** TOO_LARGE[0])


# Questions without a number for an answer: each rewrites the numbers of drawn trees and says of which trees it could.
UNPRINTABLE = {"divide_by_zero": divide_by_zero, "too_large": too_large}


def full_brackets(trees: Trees):
    """Brackets that open before and close after each leaf, (n, K+1) each, with a pair around every operation."""
    n, k = trees.operation.shape
    opens, closes, rows = np.zeros((n, k + 1), dtype=np.int64), np.zeros((n, k + 1), dtype=np.int64), np.arange(n)
    for j in range(k):
        opens[rows, trees.first[:, j]] += 1
        closes[rows, trees.last[:, j]] += 1
    return opens, closes


def all_at_answer(n: int, k: int, spots: Spots):
    return np.tile(spots.answer[:, None], (1, k)), np.tile(np.arange(k), (n, 1))


def _steps(trees: Trees, closing: np.ndarray):
    """(step (n, K) of each node among those reduced by its token, with_parent (n, K): reduced together with its parent)."""
    n, k = trees.operation.shape
    first = np.arange(n) * k
    step, with_parent = np.zeros((n, k), dtype=np.int64), np.zeros((n, k), dtype=bool)
    for j in range(k):
        with_parent[:, j] = (closing[:, j] < 0) & trees.is_right[:, k + 1 + j]
        child = np.maximum(trees.right[:, j] - k - 1, 0)
        shares = (trees.right[:, j] > k) & with_parent.ravel().take(first + child)
        step[:, j] = np.where(shares, step.ravel().take(first + child) + 1, 0)
    return step, with_parent


def steps_at_a_token(trees: Trees, closing: np.ndarray) -> np.ndarray:
    """(n,) most operations that one token has to carry out in tape mode: two in infix, more where phrases end together."""
    return _steps(trees, closing)[0].max(axis=1, initial=-1) + 1


def triggers(trees: Trees, closing: np.ndarray, spots: Spots):
    """The token position (n, K) at which each node is reduced and its step (n, K) there. closing: see `forms.Forms`.

    A node with a closing sign is reduced by that sign; a left operand by the operator after it; a right operand together
    with its parent, just before it; the root by the answer token.
    """
    n, k = trees.operation.shape
    rows, (step, with_parent) = np.arange(n), _steps(trees, closing)
    where = np.empty((n, k), dtype=np.int64)
    for j in range(k - 1, -1, -1):  # parents first
        last, closed, above = trees.last[:, j], closing[:, j], trees.parent[:, k + 1 + j]
        sign = spots.close[rows, last, np.maximum(closed, 0)]
        alone = np.where(closed >= 0, sign, np.where(above < 0, spots.answer, spots.operator[rows, np.minimum(last, k - 1)]))
        where[:, j] = np.where(with_parent[:, j], where[rows, np.maximum(above - k - 1, 0)], alone)
    return where, step
