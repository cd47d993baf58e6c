"""Chains of let-statements: `Let x = 3. Let y = x * 4. Let b = 7 - 2. Let c = y - b. What is y?` in whole batches.

Each statement of the chain uses the one before it. Other statements stand between them: numbers, which may be taken by name;
expressions, which have nothing to do with the question; and forks, which begin at any value there is and lead nowhere. So what was
said last tells little, and a value must be found by its name. A statement is carried out by the first token behind it that may plan, since
only then its last number is known to be whole; there its names stand at fixed distances. An expression in the question (`What is y - 2?`)
is carried out by the end of the question. So the answer token never computes: it takes the value that has the name, or the last result.
"""

from dataclasses import dataclass

import numpy as np
import torch

from nanochat.dag.executor import ADD, DIVIDE, IDENTITY, MULTIPLY, NO_REFERENCE, NO_STEP, SUBTRACT, number_reference, tape_reference
from nanochat.dag.numbers import NumberTable, read_numbers
from nanochat.dag.surface import CHARACTERS, IN_WORDS, NO_LETTERS, Columns, Pieces, digits_of, table
from nanochat.dag.trees import DECIMALS, LARGEST_VALUE

NAMES = "abcdefghijklmnopqrstuvwxyz"
MOST_OTHERS = 5  # statements beside the chain
BY_NAME, FORKS, INLINE = 0.5, 0.8, 0.2  # shares: of numbers, if there is one to name; of expressions beside the chain; of questions
MANNERS = (  # (a statement up to its value, what ends it, the question, and where it asks for an expression what stands before and behind)
    ("Let {} =", ".", "What is {}?", ("What is", "?")),
    ("{} =", ".", "What is {}?", ("Calculate", ".")),
    ("{} =", ";", "{} = ?", ("what is", "?")),
    ("{} is", ".", "How much is {}?", ("How much is", "?")),
    ("Let {} be", ".", "Find {}.", ("Find", ".")),
)
FACTORS = np.array([2, 2, 3, 4, 5, 10, 12, 20])
DIVISORS = np.array([2, 4, 5, 10])
NONE = -1


@dataclass
class Chains:
    """n chains of M statements.

    used (n, M): in the chain; unary (n, M): only a number; operation (n, M), -1 where a shorter chain has no statement; swapped (n, M):
    what the chain was before stands right of the operator; side (n, M, 2): the statement whose name stands left and right, NONE where
    a number stands; numbers, decimals (n, M, 2): integer / 10^decimals left and right, also of a number that has a name; name (n, M):
    index into NAMES; inline (n,): the last statement is the question.
    """

    used: np.ndarray
    unary: np.ndarray
    operation: np.ndarray
    swapped: np.ndarray
    side: np.ndarray
    numbers: np.ndarray
    decimals: np.ndarray
    name: np.ndarray
    inline: np.ndarray

    def rows(self, keep) -> "Chains":
        """The chains `keep`."""
        return Chains(**{k: x[keep] for k, x in vars(self).items()})


def draw_chains(rng, n: int, k: int, max_digits: int, decimal_share: float) -> Chains:
    """n chains that carry out k operations one after the other."""
    if k + 1 > len(NAMES):
        raise ValueError(f"chains of {k} operations need more names than there are letters; use at most {len(NAMES) - 1}")
    most = min(MOST_OTHERS, len(NAMES) - k - 1)
    m = k + 1 + most
    first_is_number, others, inline = rng.random(n) < 0.5, rng.integers(0, most + 1, n), rng.random(n) < INLINE
    length = k + first_is_number
    inline &= length + others > 1  # something is said before the question
    at, count = np.arange(m), (length + others)[:, None]
    written = at < count
    order = np.where(written, rng.random((n, m)), 2.0)
    order[inline[:, None] & (at == count - 1)] = -1.0  # the last one is in the chain
    used = order.argsort(1).argsort(1) < length[:, None]
    first = used & (used.cumsum(1) == 1)
    unary = np.where(used, first & first_is_number[:, None], written & (rng.random((n, m)) < 0.5))
    operation = rng.choice(4, size=(n, m), p=[0.37, 0.37, 0.16, 0.1])
    numbers, decimals = _numbers(rng, operation, unary, max_digits, decimal_share)
    swapped = (rng.random((n, m)) < 0.25) & (operation != DIVIDE)
    side = _sides(rng, used, unary, np.where(written, operation, -1), swapped, k)
    named = side >= 0
    rows, of = np.arange(n)[:, None, None], np.maximum(side, 0)
    numbers, decimals = np.where(named, numbers[rows, of, 0], numbers), np.where(named, decimals[rows, of, 0], decimals)
    name = rng.random((n, len(NAMES))).argsort(1)[:, :m]
    return Chains(used, unary, np.where(written, operation, -1), swapped, side, numbers, decimals, name, inline)


def _numbers(rng, operation, unary, max_digits: int, decimal_share: float):
    """Integers and decimals (n, M, 2): of at most `max_digits` digits where they are added, small ones where they scale."""
    shape = (*operation.shape, 2)
    digits = np.minimum(rng.integers(1, max_digits + 1, shape), rng.integers(1, max_digits + 1, shape))
    numbers = np.floor(10.0 ** (digits - rng.random(shape))).astype(np.int64)
    decimals = np.where(rng.random(shape) < decimal_share, rng.integers(1, 3, shape), 0)
    scales = ((operation >= MULTIPLY) & ~unary)[:, :, None]
    small = np.where((operation == DIVIDE)[:, :, None], rng.choice(DIVISORS, shape), rng.choice(FACTORS, shape))
    numbers, decimals = np.where(scales, small, numbers), np.where(scales, 0, decimals)
    decimals[numbers % 10 == 0] = 0
    return numbers, decimals


def _sides(rng, used, unary, operation, swapped, k: int) -> np.ndarray:
    """`Chains.side`: the links of the chain, its numbers that are called by their names, and forks."""
    n, m = used.shape
    binary = ~unary & (operation >= 0)
    nameable = (operation == ADD) | (operation == SUBTRACT)
    if k <= 3:  # products of large numbers leave the range soon
        nameable |= operation == MULTIPLY
    calls = (nameable & binary)[:, :, None] & (rng.random((n, m, 2)) < BY_NAME)
    forks, which = rng.random((n, m)) < FORKS, rng.random((n, m, 2))
    count = np.cumsum(~used & unary & (operation >= 0), axis=1)
    side, before, column = np.full((n, m, 2), NONE), np.where(used[:, 0], 0, NONE), swapped.astype(np.int64)
    for s in range(1, m):
        there = count[:, s - 1, None]
        chosen = (which[:, s] * there).astype(np.int64) + 1
        place = (count[:, None] == chosen[:, :, None]).argmax(2)
        side[:, s] = np.where(calls[:, s] & (there > 0), place, NONE)
        link = np.where(used[:, s], before, np.where(forks[:, s], (which[:, s, 0] * s).astype(np.int64), NONE))
        linked = np.flatnonzero(binary[:, s] & (link >= 0))
        side[linked, s, column[linked, s]] = link[linked]
        before = np.where(used[:, s], s, before)
    return side


def evaluate_chains(chains: Chains):
    """Values (n, M) of the statements, of the asked one (n,), and whether an example may be used (n,)."""
    n, m = chains.used.shape
    numbers = chains.numbers / 10.0**chains.decimals
    rows, values, last, good = np.arange(n), np.zeros((n, m)), np.zeros(n), np.ones(n, dtype=bool)
    for s in range(m):
        here = chains.operation[:, s]
        side = chains.side[:, s]
        left, right = (np.where(side[:, i] >= 0, values[rows, side[:, i]], numbers[:, s, i]) for i in (0, 1))
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
    begins, front, back = chains.used & (chains.used.cumsum(1) == 1), [], []
    for s in range(chains.used.shape[1]):
        used, binary = chains.used[:, s, None], (chains.used[:, s] & ~chains.unary[:, s])[:, None]
        first = begins[:, s, None]
        swapped = chains.swapped[:, s, None]
        symbol = symbols[:, s, None]
        bracket = [binary * np.uint8(ord(sign)) for sign in "()"]
        in_front = binary & ~first & swapped
        front = [bracket[0], faces[:, s, 0] * in_front, symbol * in_front, *front]
        behind = binary & (first | ~swapped)
        back += [faces[:, s, 0] * (used & first), symbol * behind, faces[:, s, 1] * behind, bracket[1]]
    return np.concatenate([*front, *back], axis=1)


class ChainPieces:
    """Token ids of names, statements and questions; numbers and operators come from the tables of `surface.Pieces`."""

    def __init__(self, tokenizer, pieces: Pieces):
        encode, special = tokenizer.encode, tokenizer.special
        self.pieces = pieces
        self.start = table([[special("<|bos|>"), special("<|user_start|>")]])
        tail = [special("<|user_end|>"), special("<|assistant_start|>")]
        self.name = table([encode(" " + name) for name in NAMES])
        later = [[form for form, *_ in MANNERS], [ask for *_, (ask, _) in MANNERS], [ask for _, _, ask, _ in MANNERS]]
        pieces = [[encode(" " + form.format(name)) for form in forms for name in NAMES] for forms in later]
        pieces[2] = [ids + tail for ids in pieces[2]]
        stops = [encode(stop) for _, stop, *_ in MANNERS]
        # (later statement, question that is an expression, question; manner, name, L)
        self.piece = table(pieces).reshape(3, len(MANNERS), len(NAMES), -1)
        self.first = table([encode(form.format(name)) for form, *_ in MANNERS for name in NAMES]).reshape(len(MANNERS), len(NAMES), -1)
        self.stop = table([stops, [encode(stop) + tail for *_, (_, stop) in MANNERS]])
        rows = [(encode(" 3") + stops[i // len(NAMES) % len(MANNERS)], ids) for i, ids in enumerate(sum(pieces, []))]
        self.carries_out = _first_anchor(tokenizer, rows).reshape(self.piece.shape[:3])

    def text(self, rng, chains: Chains):
        """Token ids (n, T) int32, lengths (n,), and positions: number (n, M, 2), trigger (n, M) and answer (n,)."""
        n, m = chains.used.shape
        pieces, out, rows = self.pieces, Columns(n), np.arange(n)
        faces, written = digits_of(chains.numbers, chains.decimals), chains.operation >= 0
        manner, look = rng.integers(len(MANNERS), size=n), np.where(rng.random(n) < 0.35, IN_WORDS, NO_LETTERS)
        infix = np.zeros(n, dtype=np.int64)
        asks = written & chains.inline[:, None]  # the last statement of a row that is its question
        asks[:, :-1] &= ~written[:, 1:]
        number_spot, before_spot, offset = [], [], []
        out.add(self.start.repeat(n, 0))
        for s in range(m):
            here, name, kind = written[:, s], chains.name[:, s], asks[:, s].astype(np.int64)
            binary = here & ~chains.unary[:, s]
            before_spot.append(out.last)
            offset.append(self.carries_out[kind, manner, name])
            out.add(np.where(here[:, None], self.piece[kind, manner, name] if s else self.first[manner, name], -1))
            for i in (0, 1):
                there, of = binary | (here & (i == 0)), chains.side[:, s, i]
                digits = (there & (of < 0))[:, None]
                out.add(np.where((there & (of >= 0))[:, None], self.name[chains.name[rows, of]], -1))
                out.add(np.where(digits, pieces.space, -1))
                out.add(np.take(pieces.digit, np.where(digits, faces[:, s, i], -1)))
                number_spot.append(out.last)
                if i == 0:
                    operator = pieces.operator(rng, chains.operation[:, s].clip(0), look, infix)
                    out.add(np.where(binary[:, None], operator, -1))
            out.add(np.where(here[:, None], self.stop[kind, manner], -1))
        asked = chains.name[rows, m - 1 - chains.used[:, ::-1].argmax(1)]
        before_spot.append(out.last)
        offset.append(self.carries_out[2, manner, asked])
        out.add(np.where(chains.inline[:, None], -1, self.piece[2, manner, asked]))
        ids, length, spots = out.finish([number_spot, before_spot, [out.last]])
        answer, behind = spots[2][0], np.stack(spots[1], 1) + np.stack(offset, 1)
        followed = np.zeros_like(written)
        followed[:, :-1] = written[:, 1:]
        trigger = np.where(followed, behind[:, 1:], np.where(asks, answer[:, None] - 1, behind[:, m:]))
        return ids, length, np.stack(spots[0], 1).reshape(n, m, 2), trigger, answer


def _first_anchor(tokenizer, rows: list[tuple[list[int], list[int]]]) -> np.ndarray:
    """Of texts of two parts: the first token that may plan, from the last token of the first part on, counted from there."""
    idx = torch.nn.utils.rnn.pad_sequence([torch.tensor([tokenizer.bos_id, *a, *b]) for a, b in rows], batch_first=True)
    anchor = read_numbers(idx, NumberTable(tokenizer), torch.zeros_like(idx)).anchor.numpy()
    end = np.array([len(a) for a, _ in rows])
    return (anchor & (np.arange(idx.shape[1]) >= end[:, None])).argmax(1) - end


def chain_labels(chains: Chains, width: int, number, trigger, answer, steps: int, mode: str):
    """Plan labels as `expressions._labels` gives them: (n, width, D) operation (int8), operand1, operand2 (int32)."""
    n, m = chains.used.shape
    rows = np.arange(n)
    operation = np.full((n, width, steps), NO_STEP, dtype=np.int8)
    operand1, operand2 = (np.full((n, width, steps), NO_REFERENCE, dtype=np.int32) for _ in range(2))
    operation[:, :, 0] = IDENTITY
    result, asked = np.zeros((n, m), dtype=np.int64), np.zeros(n, dtype=np.int64)
    last, done = np.full(n, -1), np.zeros(n, dtype=np.int64)  # where the last step was carried out, and how many there
    for s in range(m):
        used, side = chains.used[:, s], chains.side[:, s]
        number_of = [number_reference(number[:, s, i], steps) for i in (0, 1)]
        at = trigger[:, s] if mode == "tape" else answer
        binary = (chains.operation[:, s] >= 0) & ~chains.unary[:, s] & (used | (at != answer))
        step = np.where(at == last, done, 0)
        r = np.flatnonzero(binary)
        operation[r, at[r], step[r]] = chains.operation[r, s]
        for operand, i in ((operand1, 0), (operand2, 1)):
            operand[r, at[r], step[r]] = np.where(side[:, i] >= 0, result[rows, side[:, i]], number_of[i])[r]
        more = r[step[r] + 1 < steps]
        operation[more, at[more], step[more] + 1] = IDENTITY
        result[:, s] = np.where(binary, tape_reference(at, step, steps), number_of[0])
        last, done = np.where(binary, at, last), np.where(binary, step + 1, done)
        asked = np.where(used, result[:, s], asked)
    rest = np.flatnonzero(operation[rows, answer, 0] == IDENTITY)
    operand1[rest, answer[rest], 0] = asked[rest]
    return operation, operand1, operand2
