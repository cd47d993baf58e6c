"""Chains of let-statements: `Let x = 3. Let y = x * 4. Let b = 7 - 2. What is y?` in whole batches.

Each statement of the chain uses the one before it; statements about other names stand between them and have nothing to do with
the question. A statement is carried out by the `=` of the one after it, since only then its last number is known to be whole and
a letter in between may still become a word; the last one by the end of the question, or by the `=` of one that begins as a statement.
So the answer token never computes: it takes the value that has the name.
"""

from dataclasses import dataclass

import numpy as np

from nanochat.dag.executor import ADD, DIVIDE, IDENTITY, MULTIPLY, NO_REFERENCE, NO_STEP, SUBTRACT, number_reference, tape_reference
from nanochat.dag.surface import CHARACTERS, IN_WORDS, NO_LETTERS, Columns, Pieces, digits_of, table
from nanochat.dag.trees import DECIMALS, LARGEST_VALUE

NAMES = "abcdefghijklmnopqrstuvwxyz"
MOST_OTHERS = 2  # statements that have nothing to do with the question
MANNERS = (  # (a statement up to its value, what ends it, the question up to what may be taken for a statement, its rest)
    ("Let {} =", ".", "", "What is {}?"),
    ("{} =", ".", "", "What is {}?"),
    ("{} =", ";", "{} =", "?"),
    ("{} is", ".", "", "How much is {}?"),
    ("Let {} be", ".", "", "Find {}."),
)
FACTORS = np.array([2, 2, 3, 4, 5, 10, 12, 20])
DIVISORS = np.array([2, 4, 5, 10])


@dataclass
class Chains:
    """n chains of M statements.

    used (n, M): in the chain; unary (n, M): only a number; operation (n, M), -1 where a shorter chain has no statement; swapped (n, M):
    the name stands right of the operator; numbers, decimals (n, M, 2): integer / 10^decimals left and right, where one stands;
    name (n, M): index into NAMES.
    """

    used: np.ndarray
    unary: np.ndarray
    operation: np.ndarray
    swapped: np.ndarray
    numbers: np.ndarray
    decimals: np.ndarray
    name: np.ndarray

    def rows(self, keep) -> "Chains":
        """The chains `keep`."""
        return Chains(**{k: x[keep] for k, x in vars(self).items()})


def draw_chains(rng, n: int, k: int, max_digits: int, decimal_share: float) -> Chains:
    """n chains that carry out k operations one after the other."""
    m = k + 1 + MOST_OTHERS
    if m > len(NAMES):
        raise ValueError(f"chains of {k} operations need more names than there are letters; use at most {len(NAMES) - 1 - MOST_OTHERS}")
    first_is_number, others = rng.random(n) < 0.5, rng.integers(0, MOST_OTHERS + 1, n)
    length = k + first_is_number
    written = np.arange(m) < (length + others)[:, None]
    rank = np.where(written, rng.random((n, m)), 2.0).argsort(1).argsort(1)
    used = rank < length[:, None]
    place = used.cumsum(1) - 1
    unary = np.where(used, (place == 0) & first_is_number[:, None], written & (rng.random((n, m)) < 0.4))
    operation = rng.choice(4, size=(n, m), p=[0.37, 0.37, 0.16, 0.1])
    digits = np.minimum(rng.integers(1, max_digits + 1, (n, m, 2)), rng.integers(1, max_digits + 1, (n, m, 2)))
    numbers = np.floor(10.0 ** (digits - rng.random((n, m, 2)))).astype(np.int64)
    decimals = np.where(rng.random((n, m, 2)) < decimal_share, rng.integers(1, 3, (n, m, 2)), 0)
    scales = (operation >= MULTIPLY)[:, :, None]
    small = np.where((operation == DIVIDE)[:, :, None], rng.choice(DIVISORS, (n, m, 2)), rng.choice(FACTORS, (n, m, 2)))
    numbers, decimals = np.where(scales, small, numbers), np.where(scales, 0, decimals)
    decimals[numbers % 10 == 0] = 0
    swapped = (rng.random((n, m)) < 0.25) & (operation != DIVIDE)
    name = rng.random((n, len(NAMES))).argsort(1)[:, :m]
    return Chains(used, unary, np.where(written, operation, -1), swapped, numbers, decimals, name)


def opens_chain(chains: Chains) -> np.ndarray:
    """(n, M): the statement does not use another one: it is the chain's first, or none of it."""
    return ~chains.used | (chains.used.cumsum(1) == 1)


def evaluate_chains(chains: Chains):
    """Values (n, M) of the statements, of the asked one (n,), and whether an example may be used (n,)."""
    n, m = chains.used.shape
    numbers = chains.numbers / 10.0**chains.decimals
    values, last, good, alone = np.zeros((n, m)), np.zeros(n), np.ones(n, dtype=bool), opens_chain(chains)
    for s in range(m):
        here, swapped = chains.operation[:, s], chains.swapped[:, s]
        left = np.where(alone[:, s] | swapped, numbers[:, s, 0], last)
        right = np.where(alone[:, s] | ~swapped, numbers[:, s, 1], last)
        result = np.select(
            [here == ADD, here == SUBTRACT, here == MULTIPLY], [left + right, left - right, left * right], left / right.clip(1e-9)
        )
        result = np.where(chains.unary[:, s], numbers[:, s, 0], result)
        scaled = result * 10.0**DECIMALS
        whole = np.abs(scaled - np.rint(scaled)) < 1e-9 + np.abs(scaled) * 1e-14
        good &= (here < 0) | (whole & (np.abs(result) < LARGEST_VALUE))
        values[:, s] = result
        last = np.where(chains.used[:, s], result, last)
    return values, last, good


def canonical_chain(chains: Chains) -> np.ndarray:
    """The canonical text of `data.split.held_out` of what is asked: the whole chain as one bracketed expression, (n, L) uint8."""
    faces = np.take(CHARACTERS, digits_of(chains.numbers, chains.decimals))
    symbols = np.frombuffer(b"+-*/\0", dtype=np.uint8)[chains.operation]
    alone, front, back = opens_chain(chains), [], []
    for s in range(chains.used.shape[1]):
        used, binary = chains.used[:, s, None], (chains.used[:, s] & ~chains.unary[:, s])[:, None]
        first = used & alone[:, s, None]
        swapped = chains.swapped[:, s, None]
        symbol = symbols[:, s, None]
        bracket = [binary * np.uint8(ord(sign)) for sign in "()"]
        in_front = binary & ~first & swapped
        front = [bracket[0], faces[:, s, 0] * in_front, symbol * in_front, *front]
        behind = binary & (first | ~swapped)
        back += [faces[:, s, 0] * first, symbol * behind, faces[:, s, 1] * behind, bracket[1]]
    return np.concatenate([*front, *back], axis=1)


class ChainPieces:
    """Token ids of names, statements and questions; numbers and operators come from the tables of `surface.Pieces`."""

    def __init__(self, tokenizer, pieces: Pieces):
        encode, special = tokenizer.encode, tokenizer.special
        self.pieces = pieces
        self.start = table([[special("<|bos|>"), special("<|user_start|>")]])
        tail = [special("<|user_end|>"), special("<|assistant_start|>")]
        self.name = table([encode(" " + name) for name in NAMES])
        # (first or later, manner, name, L)
        begun = [[encode(space + form.format(name)) for form, *_ in MANNERS for name in NAMES] for space in ("", " ")]
        self.statement = table(begun).reshape(2, len(MANNERS), len(NAMES), -1)
        self.stop = table([encode(stop) for _, stop, *_ in MANNERS])
        self.as_statement = np.array([bool(head) for _, _, head, _ in MANNERS])
        heads = [encode(" " + head.format(name)) if head else [] for _, _, head, _ in MANNERS for name in NAMES]
        rests = [encode(" " + rest.format(name)) + tail for *_, rest in MANNERS for name in NAMES]
        self.head, self.rest = (table(rows).reshape(len(MANNERS), len(NAMES), -1) for rows in (heads, rests))

    def text(self, rng, chains: Chains):
        """Token ids (n, T) int32, lengths (n,), and positions: number (n, M, 2), trigger (n, M) and answer (n,)."""
        n, m = chains.used.shape
        pieces, out = self.pieces, Columns(n)
        faces, alone = digits_of(chains.numbers, chains.decimals), opens_chain(chains)
        manner, look = rng.integers(len(MANNERS), size=n), np.where(rng.random(n) < 0.35, IN_WORDS, NO_LETTERS)
        previous, begun, infix = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        number_spot, equals_spot = [], []
        out.add(self.start.repeat(n, 0))
        for s in range(m):
            written, name, swapped = chains.operation[:, s] >= 0, chains.name[:, s], chains.swapped[:, s]
            binary = written & ~chains.unary[:, s]
            out.add(np.where(written[:, None], self.statement[begun, manner, name], -1))
            equals_spot.append(out.last)
            begun = np.maximum(begun, written)
            for side in (0, 1):
                there = binary | (written & (side == 0))
                named = there & binary & ~alone[:, s] & (swapped == (side == 1))
                digits = (there & ~named)[:, None]
                out.add(np.where(named[:, None], self.name[previous], -1))
                out.add(np.where(digits, pieces.space, -1))
                out.add(np.take(pieces.digit, np.where(digits, faces[:, s, side], -1)))
                number_spot.append(out.last)
                if side == 0:
                    operator = pieces.operator(rng, chains.operation[:, s].clip(0), look, infix)
                    out.add(np.where(binary[:, None], operator, -1))
            out.add(np.where(written[:, None], self.stop[manner], -1))
            previous = np.where(chains.used[:, s], name, previous)
        out.add(self.head[manner, previous])
        equals_spot.append(out.last)
        out.add(self.rest[manner, previous])
        ids, length, spots = out.finish([number_spot, equals_spot, [out.last]])
        answer = spots[2][0]
        asked = np.where(self.as_statement[manner], spots[1][m], answer - 1)
        trigger = np.repeat(asked[:, None], m, axis=1)
        trigger[:, :-1] = np.where(chains.operation[:, 1:] >= 0, np.stack(spots[1][1:m], 1), trigger[:, :-1])
        return ids, length, np.stack(spots[0], 1).reshape(n, m, 2), trigger, answer


def chain_labels(chains: Chains, width: int, number, trigger, answer, steps: int, mode: str):
    """Plan labels as `expressions._labels` gives them: (n, width, D) operation (int8), operand1, operand2 (int32)."""
    n, m = chains.used.shape
    rows, alone = np.arange(n), opens_chain(chains)
    operation = np.full((n, width, steps), NO_STEP, dtype=np.int8)
    operand1, operand2 = (np.full((n, width, steps), NO_REFERENCE, dtype=np.int32) for _ in range(2))
    operation[:, :, 0] = IDENTITY
    previous, done = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    for s in range(m):
        used, swapped = chains.used[:, s], chains.swapped[:, s]
        numbers = [number_reference(number[:, s, side], steps) for side in (0, 1)]
        at, step = (trigger[:, s], np.zeros(n, dtype=np.int64)) if mode == "tape" else (answer, done)
        binary = (chains.operation[:, s] >= 0) & ~chains.unary[:, s] & (used | (at != answer))
        r = np.flatnonzero(binary)
        operation[r, at[r], step[r]] = chains.operation[r, s]
        operand1[r, at[r], step[r]] = np.where(alone[:, s] | swapped, numbers[0], previous)[r]
        operand2[r, at[r], step[r]] = np.where(alone[:, s] | ~swapped, numbers[1], previous)[r]
        more = r[step[r] + 1 < steps]
        operation[more, at[more], step[more] + 1] = IDENTITY
        result = np.where(binary, tape_reference(at, step, steps), numbers[0])
        previous, done = np.where(used, result, previous), done + (binary & used)
    rest = np.flatnonzero(operation[rows, answer, 0] == IDENTITY)
    operand1[rest, answer[rest], 0] = previous[rest]
    return operation, operand1, operand2
