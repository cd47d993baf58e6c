"""Word problems in whole batches: templates become tables of token ids with holes, and numpy fills the holes.

For every batch a pool of texts with open numbers is composed (`data/corpus_problems.py`) and encoded; every example takes one of them
and draws numbers of its own, which are accepted by the same rules as there.
"""

import random
import re
from dataclasses import dataclass

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
    tape_reference,
)
from nanochat.dag.numbers import NumberTable, read_numbers
from nanochat.dag.surface import Columns, NumeralPieces, digits_of, table
from nanochat.data.corpus_problems import HOLE, LARGEST, PERCENTAGES, Wording, draw_problem, wording
from nanochat.data.corpus_problems import OPERATIONS as SIGNS
from nanochat.data.problem_story import SOME_WORDS
from nanochat.data.split import held_out_rows

LEAST_POOL, MOST_POOL = 64, 4096  # texts; so many take a second
USES = 6  # how often each of them is used on average: to the tower, texts that differ in numbers only are the same
MOST_STEPS = 3
MOST_HOLES = 7
IN_WORDS = 0.12  # share of the examples whose numbers are English numerals
WORD = re.compile(r" ?[^ ]+| ")
TRIES = 8  # draws of numbers before an example is given up
MARKS = {"": 1, "~": 2, "$": 3, "%": 4, "@": 5}  # 0: no hole; FIXED: a word that is a number
FIXED = 6
PLAIN, SMALL, MONEY, PERCENT, AGE = MARKS.values()


@dataclass
class Pool:
    """P texts of up to H holes and S steps.

    text (P, H+1, L) token ids between the holes, -1 for nothing; word (P, H, L') those of holes that are words; mark (P, H) codes as in
    MARKS; spaced (P, H): a space stands before the hole; inside (P, H): no sentence begins with it; fixed (P, H) the hundredths of words.
    operation (P, S), -1 for none; left, right (P, S) index the values [holes | CONSTANTS | results]; steps (P,). canonical (P, C) int16:
    characters, -1 - h for hole h, 0 for nothing. hundredths (P,): numbers may have two decimals. trigger (P, S, 2): the token that
    carries a step out as part of the text and token within it, (-1, 0) for the answer token: what a sentence settles is reduced where the
    next one begins.
    """

    text: np.ndarray
    word: np.ndarray
    mark: np.ndarray
    spaced: np.ndarray
    inside: np.ndarray
    fixed: np.ndarray
    operation: np.ndarray
    left: np.ndarray
    right: np.ndarray
    steps: np.ndarray
    canonical: np.ndarray
    hundredths: np.ndarray
    trigger: np.ndarray


class ProblemPieces:
    """Tables of token ids from which texts are assembled, and the making of pools."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        special = tokenizer.special
        self.start = table([[special("<|bos|>"), special("<|user_start|>")]])
        self.end = table([[special("<|user_end|>"), special("<|assistant_start|>")]])
        self.space = table([tokenizer.encode(" ")])
        self.digit = np.array([tokenizer.encode(c)[0] for c in "0123456789."], dtype=np.int32)
        self.numerals = NumeralPieces(tokenizer).section
        self.words: dict[str, list[int]] = {}  # of words met so far
        self.reader, self.stop = NumberTable(tokenizer), tokenizer.encode(".")[0]

    def pool(self, rng, n: int, steps: tuple[int, int]) -> Pool:
        """New texts of `steps` (min, max) operations, enough for n examples."""
        draw, wordings = random.Random(int(rng.integers(2**63))).random, []
        while len(wordings) < min(max(LEAST_POOL, n // USES), MOST_POOL):
            words = wording(draw, draw_problem(draw))
            if steps[0] <= len(words.steps) <= min(steps[1], MOST_STEPS) and len(words.kinds) <= MOST_HOLES:
                wordings.append(words)
        return self._compile(wordings)

    def _compile(self, wordings: list[Wording]) -> Pool:
        rows = [self._row(w) for w in wordings]
        texts, words, *rest, settled_by = zip(*rows, strict=True)
        trigger = self._triggers(texts, words, settled_by)
        holes = max(len(t) for t in texts) - 1
        text = table([[*t, *[[]] * (holes + 1 - len(t))] for t in texts])
        word = table([[*w, *[[]] * (holes - len(w))] for w in words])
        mark, spaced, inside, fixed, operation, left, right, canonical, hundredths = rest
        mark, spaced, inside, fixed = (_filled(x, holes, 0) for x in (mark, spaced, inside, fixed))
        steps = np.array([len(o) for o in operation])
        operation, left, right = (_filled(x, MOST_STEPS, fill) for x, fill in ((operation, -1), (left, 0), (right, 0)))
        # Holes come first among the values, and their number is known only now.
        left, right = (np.where(x >= MOST_HOLES, x - MOST_HOLES + holes, x) for x in (left, right))
        canonical = _filled(canonical, max(map(len, canonical)), 0)
        return Pool(
            text,
            word,
            mark,
            spaced.astype(bool),
            inside.astype(bool),
            fixed,
            operation,
            left,
            right,
            steps,
            canonical,
            np.array(hundredths),
            trigger,
        )

    def _triggers(self, texts, words, settled_by) -> np.ndarray:
        """`Pool.trigger`. settled_by: of each text, for every step the last hole it takes, -1 where only the question settles it."""
        samples, starts = [], []
        for text, word in zip(texts, words, strict=True):
            ids, begin = [int(self.start[0, 0]), int(self.start[0, 1])], []
            for h, part in enumerate(text):
                begin.append(len(ids))
                ids += [*part, *((word[h] or [self.space[0, 0], self.digit[5]]) if h < len(word) else [])]
            samples.append(torch.tensor(ids))
            starts.append(begin)
        idx = torch.nn.utils.rnn.pad_sequence(samples, batch_first=True, padding_value=int(self.start[0, 0]))
        anchor = read_numbers(idx, self.reader, torch.zeros_like(idx)).anchor.numpy()
        trigger = np.tile([-1, 0], (len(texts), MOST_STEPS, 1))
        for row, (text, holes) in enumerate(zip(texts, settled_by, strict=True)):
            for step, hole in enumerate(holes):
                if hole >= 0:
                    trigger[row, step] = self._after(text, hole, starts[row], anchor[row])
        return trigger

    def _after(self, text: list[list[int]], hole: int, starts: list[int], anchor: np.ndarray) -> tuple[int, int]:
        """The first planning token after the sentence in which `hole` stands; the answer token if the question follows it at once."""
        ended = False
        for part in range(hole + 1, len(text)):
            for at, token in enumerate(text[part]):
                if ended and anchor[starts[part] + at]:
                    return part, at
                ended |= token == self.stop
        return -1, 0

    def _row(self, w: Wording):
        """The parts of a Pool for one text."""
        parts = HOLE.split(w.text)  # text, letter, mark, text, ...
        texts, marks = parts[::3], parts[2::3]
        spaced = [before.endswith(" ") for before in texts[:-1]]
        inside = [s and not re.search(r"(^|[.?!]) $", before) for s, before in zip(spaced, texts[:-1], strict=True)]
        words = [self._word(m, s, i) for m, s, i in zip(marks, spaced, inside, strict=True)]
        ids = [self._encode(t[:-1] if s else t) for t, s in zip(texts, [*spaced, False], strict=True)]
        fixed = [round(100 * SOME_WORDS[m[1:]]) if m.startswith("=") else 0 for m in marks]
        order = {letter: i for i, letter in enumerate(w.kinds)}

        def value(operand: str) -> int:
            if operand in order:
                return order[operand]
            if operand.startswith("s"):
                return MOST_HOLES + len(CONSTANTS) + int(operand[1:])
            return MOST_HOLES + CONSTANTS.index(int(operand))

        operation = [OPERATIONS.index(SIGNS[sign]) for sign, *_ in w.steps]
        left, right = ([value(step[side]) for step in w.steps] for side in (1, 2))
        canonical = [-1 - order[c] if c in order else ord(c) for c in w.canonical]
        codes = [MARKS.get(m, FIXED) for m in marks]
        return ids, words, codes, spaced, inside, fixed, operation, left, right, canonical, w.in_hundredths, w.settled_by

    def _encode(self, text: str) -> list[int]:
        """The encoding of a text word by word: no token reaches over the beginning of one, and most words are known."""
        ids, known = [], self.words
        for word in WORD.findall(text):
            if word not in known:
                known[word] = self.tokenizer.encode(word)
            ids += known[word]
        return ids

    def _word(self, mark: str, spaced: bool, inside: bool) -> list[int]:
        if not mark.startswith("="):
            return []
        word = mark[1:] if inside else mark[1:].capitalize()
        return self.tokenizer.encode(" " * spaced + word)

    def text(self, rng, pool: Pool, chosen: np.ndarray, numbers: np.ndarray):
        """Token ids (n, T) int32, lengths (n,), the position of each hole's number (n, H), and of the first token of each part of the text
        (n, H+1). numbers (n, H) in hundredths."""
        n, holes = numbers.shape
        whole = numbers % 100 == 0
        decimals = np.where(whole, 0, np.where(numbers % 10 == 0, 1, 2))
        faces = digits_of(numbers // 10 ** (2 - decimals), decimals)
        mark, spaced = pool.mark[chosen], pool.spaced[chosen]
        kind = 2 * rng.integers(2, size=n) + 1  # British or American, with a space before
        worded = (rng.random(n) < IN_WORDS)[:, None] & pool.inside[chosen] & whole & (numbers < 100_000) & (mark < FIXED)
        out, spots, begins = Columns(n), [], []
        out.add(self.start.repeat(n, 0))
        for h in range(holes + 1):
            begins.append(out.last)
            out.add(pool.text[chosen, h])
            if h == holes:
                break
            there, said = (mark[:, h] > 0) & (mark[:, h] < FIXED), worded[:, h]
            digits = (there & ~said)[:, None]
            out.add(np.where(digits & spaced[:, h, None], self.space, -1))
            out.add(np.where(digits & (faces[:, h] >= 0), self.digit[faces[:, h]], -1))
            out.add(np.take(self.numerals, 1000 * kind + np.where(said & there, numbers[:, h] // 100, 0), axis=0))  # nothing for 0
            out.add(pool.word[chosen, h])
            spots.append(out.last)
        out.add(self.end.repeat(n, 0))
        ids, length, (spots, begins) = out.finish([spots, begins])
        return ids, length, np.stack(spots, 1), np.stack(begins, 1) + 1


def _filled(rows, width: int, fill: int) -> np.ndarray:
    return np.array([[*row, *[fill] * (width - len(row))] for row in rows])


def draw(rng, pool: Pool, chosen: np.ndarray, max_digits: int = 3):
    """Numbers (n, H) in hundredths for the texts `chosen` (n,), the value (n,) float64, and whether they make sense (n,)."""
    numbers, value = np.zeros((len(chosen), pool.mark.shape[1]), dtype=np.int64), np.zeros(len(chosen))
    open_ = np.arange(len(chosen))
    for _ in range(TRIES):
        drawn = _numbers(rng, pool, chosen[open_], max_digits)
        numbers[open_] = drawn
        value[open_], good = _evaluate(pool, chosen[open_], drawn)
        open_ = open_[~good]
    usable = np.ones(len(chosen), dtype=bool)
    usable[open_] = False
    return numbers, value, usable


def _numbers(rng, pool: Pool, chosen: np.ndarray, max_digits: int) -> np.ndarray:
    mark = pool.mark[chosen]
    shape = mark.shape
    least = 10 ** rng.integers(0, max_digits, shape)
    plain = 100 * np.maximum(2, (least * (1 + 9 * rng.random(shape))).astype(np.int64))
    cents = rng.choice([50, 50, 25, 75, 0], size=shape) + (rng.random(shape) < 0.2) * 10 * rng.integers(1, 10, shape)
    money = plain + (rng.random(shape) < 0.6) * (cents % 100)
    small = 100 * rng.integers(2, 13, shape)
    percent, age = 100 * rng.choice(PERCENTAGES, size=shape), 100 * rng.integers(4, 74, shape)
    drawn = np.choose(mark, [np.zeros_like(plain), plain, small, money, percent, age, pool.fixed[chosen]])
    # As `corpus_problems` does: most divisions come out even, percentages and halves are taken of round numbers.
    rows = np.arange(len(chosen))
    dividend, divisor = pool.left[chosen, 0], pool.right[chosen, 0]
    holes = shape[1]
    divides = (pool.operation[chosen, 0] == OPERATIONS.index("divide")) & (dividend < holes) & (divisor < holes)
    r = rows[divides & (rng.random(len(chosen)) < 0.8)]
    drawn[r, dividend[r]] = drawn[r, dividend[r]] * drawn[r, divisor[r]] // 100
    halved = ((mark == PERCENT) | ((mark == FIXED) & (pool.fixed[chosen] == 50))).any(1)
    return np.where(halved[:, None] & np.isin(mark, (PLAIN, MONEY, AGE)), 2000 * (1 + drawn // 2000), drawn)


def _evaluate(pool: Pool, chosen: np.ndarray, numbers: np.ndarray):
    """The value (n,) of each example, and whether all its results are positive, small and whole (or whole hundredths)."""
    n, rows = len(chosen), np.arange(len(chosen))
    values = np.concatenate([numbers / 100.0, np.tile(np.array(CONSTANTS, dtype=np.float64), (n, 1)), np.zeros((n, MOST_STEPS))], axis=1)
    first, result, good = values.shape[1] - MOST_STEPS, np.zeros(n), np.ones(n, dtype=bool)
    unit = np.where(pool.hundredths[chosen], 100.0, 1.0)
    for s in range(int(pool.steps[chosen].max(initial=1))):
        operation = pool.operation[chosen, s]
        x, y = values[rows, pool.left[chosen, s]], values[rows, pool.right[chosen, s]]
        there = operation >= 0
        r = np.choose(operation.clip(0), [x + y, x - y, x * y, x / np.where(y == 0, 1.0, y)])
        scaled = r * unit
        whole = np.abs(scaled - np.rint(scaled)) < 1e-9 * np.maximum(1.0, np.abs(scaled))
        good &= ~there | ((r > 0) & (r < LARGEST) & whole & (y != 0))
        values[:, first + s] = r
        result = np.where(there, r, result)
    return result, good


def canonical_problem(pool: Pool, chosen: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The canonical text of `data.split.held_out`, (n, L) uint8 with 0 where there is no character."""
    decimals = np.where(numbers % 100 == 0, 0, np.where(numbers % 10 == 0, 1, 2))
    faces = digits_of(numbers // 10 ** (2 - decimals), decimals)
    faces = np.where(faces >= 0, np.frombuffer(b"0123456789.", dtype=np.uint8)[faces], 0)
    codes, rows, columns = pool.canonical[chosen], np.arange(len(chosen)), []
    for column in codes.T:
        shown = np.where((column < 0)[:, None], faces[rows, np.maximum(-1 - column, 0)], 0)
        shown[:, 0] = np.where(column > 0, column, shown[:, 0])
        columns.append(shown)
    return np.concatenate(columns, axis=1).astype(np.uint8)


def problem_labels(pool: Pool, chosen: np.ndarray, spots, answer: np.ndarray, width: int, depth: int, mode: str):
    """Plan labels (n, width, depth) as `expressions` gives them, and which rows have so few steps at each token that they can be labelled.

    spots: positions of the numbers (n, H) and of the parts of the text (n, H+1). In tape mode a sentence's steps are carried out where
    the next one begins; the answer token carries out the last `depth` of the others, the token before it those before them.
    """
    n, rows, steps, (number, begins) = len(chosen), np.arange(len(chosen)), pool.steps[chosen], spots
    operation = np.full((n, width, depth), NO_STEP, dtype=np.int8)
    left, right = (np.full((n, width, depth), NO_REFERENCE, dtype=np.int32) for _ in range(2))
    operation[:, :, 0] = IDENTITY
    constants = np.tile([constant_reference(c) for c in range(len(CONSTANTS))], (n, 1))
    known = np.concatenate([number_reference(number, depth), constants, np.zeros((n, MOST_STEPS), dtype=np.int64)], axis=1)
    local = (pool.trigger[chosen, :, 0] >= 0) & (mode == "tape")
    there = np.arange(MOST_STEPS) < steps[:, None]
    early = np.maximum((there & ~local).sum(1) - depth, 0)  # steps of the token before the answer
    late, fits, last = np.zeros(n, dtype=np.int64), early <= (depth if mode == "tape" else 0), np.zeros(n, dtype=np.int64)
    taken = np.zeros((n, width), dtype=np.int64)
    for s in range(MOST_STEPS):
        part, offset = pool.trigger[chosen, s].T
        at = np.where(local[:, s], begins[rows, part] + offset, np.where(late < early, answer - 1, answer))
        step = taken[rows, at]
        fits &= ~there[:, s] | (step < depth)
        r = rows[there[:, s] & fits]
        operation[r, at[r], step[r]] = pool.operation[chosen[r], s]
        left[r, at[r], step[r]] = known[r, pool.left[chosen[r], s]]
        right[r, at[r], step[r]] = known[r, pool.right[chosen[r], s]]
        result = tape_reference(at, step, depth)
        known[:, known.shape[1] - MOST_STEPS + s] = result
        last = np.where(there[:, s], result, last)
        more = r[step[r] + 1 < depth]
        operation[more, at[more], step[more] + 1] = IDENTITY  # overwritten if another step follows
        taken[r, at[r]] += 1
        late += there[:, s] & ~local[:, s]
    rest = np.flatnonzero(taken[rows, answer] == 0)
    left[rest, answer[rest], 0] = last[rest]
    return (operation, left, right), fits


def make_problems(pieces: ProblemPieces, rng, n: int, training: bool, pool: Pool, depth: int, mode: str) -> tuple:
    """About n examples with texts of `pool` that may be used: the fields of `expressions.Batch` in their order, without the last."""
    chosen = rng.integers(len(pool.steps), size=n)
    numbers, value, good = draw(rng, pool, chosen)
    text = canonical_problem(pool, chosen, numbers)
    good &= held_out_rows(text) != training
    chosen, numbers, value, text = chosen[good], numbers[good], value[good], text[good]
    ids, length, *spots = pieces.text(rng, pool, chosen, numbers)
    labels, fits = problem_labels(pool, chosen, spots, length - 1, ids.shape[1], depth, mode)
    return tuple(x[fits] for x in (ids, length, *labels, value, pool.steps[chosen], text))
