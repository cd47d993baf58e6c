"""Arithmetic expressions with their text, values and plan labels, generated in whole batches with numpy.

One random tree per example is drawn as an order of merging neighbours (trees.py); its values are computed by the operations the
executor uses; its text is assembled from tables of token ids (surface.py), and the labels say which token performs which
operation. In the `tape` form a token reduces what is complete when it arrives, as a shift-reduce parser does: at most two
operations per token at any nesting depth. In the `isolated` form the answer token performs everything.

    stream = ExpressionStream(tokenizer, ExpressionSettings(), split="train", seed=1)
    batch = stream.batch(1024)          # Batch of padded token ids, labels and values
    stream.state_dict()                 # the stream continues exactly from here
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nanochat.common import UserError
from nanochat.dag.executor import IDENTITY, NO_REFERENCE, NO_STEP, number_reference, tape_reference
from nanochat.dag.forms import Forms, set_forms
from nanochat.dag.numbers import PRINTED_DECIMALS
from nanochat.dag.problems import MOST_STEPS, Pool, ProblemPieces, make_problems
from nanochat.dag.rounding import RoundingPieces, is_rounded, unfriendly_divisors
from nanochat.dag.statements import ChainPieces, canonical_chain, chain_labels, draw_chains, evaluate_chains
from nanochat.dag.surface import STYLES, NumeralPieces, Pieces, Spoken, canonical, digits_of
from nanochat.dag.trees import (
    UNPRINTABLE,
    Spots,
    Trees,
    all_at_answer,
    draw_numbers,
    draw_trees,
    drawn,
    evaluate,
    lots,
    node_operation,
    node_values,
    steps_at_a_token,
    triggers,
)
from nanochat.data.split import HELD_OUT_SHARE, held_out_rows

# Shares of TIGHT, SPACED_OUT, IN_WORDS, IN_LATEX, NO_LETTERS, MIXED
ANY_LOOK, SYMBOLS_ONLY = lots(0.15, 0.35, 0.3, 0, 0, 0.2), lots(0.3, 0.7, 0, 0, 0, 0)
ENGLISH_ONLY, LATEX_ONLY, NUMERALS = lots(0, 0, 1, 0, 0, 0), lots(0.2, 0, 0, 0.8, 0, 0), lots(0, 0.2, 0.6, 0, 0, 0.2)

LOST = {"let": 0, "problems": 0.05, "prefix": 0.04}  # share of the drawn examples that is not used, for each operation; others: 0.025
MOST_OPERATIONS, MOST_DIGITS = 20, 9  # beyond them hardly an expression stays within float64


def check_styles(styles) -> None:
    """UserError if one of `styles` is none of STYLES, or there is none."""
    unknown = sorted(set(styles) - set(STYLES))
    if unknown or not styles:
        raise UserError(f"expressions are written in styles of {', '.join(STYLES)}, not {', '.join(unknown) or 'in none'}")


@dataclass
class ExpressionSettings:
    """What is generated: `operations` (min, max) per example, digits of the integers, share of decimals, plan form and steps.

    `styles` (of surface.STYLES, all equally frequent): symbols `3 * (4 + 5)`, english `3 times 4`, latex `\\frac{3}{4} \\times 5`, prefix
    `the sum of 3 and (4 times 5)`, numerals `three times twenty-five`, let `Let x = 3. Let y = x * 4. What is y?`, problems `Tom has 3
    apples. ...`, of 1 to MOST_STEPS operations. With symbols and english a text may mix both.
    """

    operations: tuple[int, int] = (1, 6)
    chain_operations: int = 0  # most operations in a chain of statements; 0: as in the others
    max_digits: int = 4
    decimal_share: float = 0.1
    mode: str = "tape"  # or "isolated"
    steps: int = 2  # plan steps per token
    chat_share: float = 0.9  # the rest is bare text that ends in "="
    styles: tuple[str, ...] = ("symbols", "english")


@dataclass
class Batch:
    """n examples. Positions count tokens of the example; references are those of `executor` (NO_STEP / NO_REFERENCE: no label).

    ids        (n, T) int32, 0 beyond `length`
    length     (n,)   tokens, the last is the answer token: the one after which the answer is printed
    operation  (n, T, D) int8, operand1 and operand2 (n, T, D) int32
    value      (n,)   float64, the answer
    decimals   (n,)   int64, to how many it is rounded when it is printed
    operations (n,)   number of operations
    canonical  (n, L) uint8, the text that decides the split (`data.split.held_out`), 0 where a row has no character
    """

    ids: np.ndarray
    length: np.ndarray
    operation: np.ndarray
    operand1: np.ndarray
    operand2: np.ndarray
    value: np.ndarray
    operations: np.ndarray
    canonical: np.ndarray
    decimals: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows) -> "Batch":
        """The examples `rows` (an index array or mask), cut to their longest."""
        longest = int(self.length[rows].max(initial=1))
        cut = ("ids", "operation", "operand1", "operand2")
        return Batch(**{k: x[rows, :longest] if k in cut else x[rows] for k, x in vars(self).items()})

    def expression(self, row: int) -> str:
        """The canonical text of an example: `(12+(30*2))`."""
        return self.canonical[row][self.canonical[row] > 0].tobytes().decode()

    def first(self, n: int) -> "Batch":
        """The first n examples, as views."""
        return Batch(**{k: x[:n] for k, x in vars(self).items()})


class ExpressionStream:
    """An infinite, seeded, resumable stream of batches from one side of the held-out split."""

    def __init__(self, tokenizer, settings: ExpressionSettings, split: str = "train", seed: int = 0):
        if settings.mode not in ("tape", "isolated"):
            raise ValueError(f"mode must be 'tape' or 'isolated', not {settings.mode!r}")
        self.settings, self.split = settings, split
        check_styles(settings.styles)
        self.rng = np.random.default_rng(seed)
        self.pieces, self.rounding_pieces = Pieces(tokenizer), RoundingPieces(tokenizer)
        self.numeral_pieces = NumeralPieces(tokenizer) if "numerals" in settings.styles else None
        self.chain_pieces = ChainPieces(tokenizer, self.pieces) if "let" in settings.styles else None
        self.problem_pieces = ProblemPieces(tokenizer) if "problems" in settings.styles else None
        plain = [style for style in ("symbols", "english") if style in settings.styles]
        # Examples of one family are made together: those with phrases or LaTeX need wider tables than infix does.
        family_of = ["infix" if style in plain else style for style in settings.styles]
        self.families = sorted(set(family_of), key=lambda family: (family != "infix", family_of.index(family)))
        self.shares = np.array([family_of.count(family) for family in self.families]) / len(family_of)
        infix = {("symbols",): SYMBOLS_ONLY, ("english",): ENGLISH_ONLY}.get(tuple(plain), ANY_LOOK)
        self.looks = {family: {"latex": LATEX_ONLY, "numerals": NUMERALS}.get(family, infix) for family in self.families}

    def state_dict(self) -> dict:
        """JSON text of the generator's state."""
        return {"rng": json.dumps(self.rng.bit_generator.state)}

    def load_state_dict(self, state: dict) -> None:
        self.rng.bit_generator.state = json.loads(state["rng"])

    def texts(self, rng, n: int) -> Pool | None:
        """Texts for the word problems among n examples of `parts`, drawn by `rng` alone; None where there are none."""
        if self.problem_pieces is None or self.settings.operations[0] > MOST_STEPS:
            return None
        return self.problem_pieces.pool(rng, int(n * self.shares[self.families.index("problems")]), self.settings.operations)

    def batch(self, n: int, operations: int | None = None, texts: Pool | None = None) -> Batch:
        """n examples, shuffled: those of `parts`."""
        parts = self.parts(n, operations, texts)
        return _joined(parts, self.rng.permutation(n))

    def parts(self, n: int, operations: int | None = None, texts: Pool | None = None) -> list[Batch]:
        """n examples by style; the number of operations uniform over the settings' range, or exactly `operations`.

        Word problems have within that range as many as they happen to have; beyond MOST_STEPS there are none. They take their words from
        `texts`, the method's, or else from new ones. ValueError if only they were asked for.
        """
        low, high = self.settings.operations if operations is None else (operations, operations)
        told = "problems" in self.families and low <= MOST_STEPS
        if not told and self.families == ["problems"]:
            raise ValueError(f"word problems have at most {MOST_STEPS} operations, not {low}")
        shares = self.shares * [told or family != "problems" for family in self.families]
        counts = self.rng.multinomial(n, np.repeat(shares / shares.sum(), high - low + 1) / (high - low + 1)).reshape(len(shares), -1)
        wanted = dict(zip(self.families, counts.tolist(), strict=True))
        problems, chains, parts = sum(wanted.pop("problems", ())), wanted.pop("let", ()), []
        longest = self.settings.chain_operations
        if chains and operations is None and longest > high:
            chains = self.rng.multinomial(sum(chains), np.full(longest - low + 1, 1 / (longest - low + 1))).tolist()
        for k in range(low, high + 1):
            here = {family: of[k - low] for family, of in wanted.items()}
            parts += self._exactly(here, lambda draws, k=k: self._expressions(draws, k), k)
        for k, count in enumerate(chains, low):
            parts += self._exactly({"let": count}, lambda draws, k=k: {"let": self._chains(draws["let"], k)}, k)
        if problems:
            texts = texts or self.problem_pieces.pool(self.rng, problems, (low, high))
            parts += self._exactly({"problems": problems}, lambda draws: {"problems": self._problems(draws["problems"], texts)}, 1)
        return parts

    def _exactly(self, wanted: dict[str, int], attempt: Callable[[dict[str, int]], dict[str, Batch]], k: int) -> list[Batch]:
        """So many examples of each family, of k operations: `attempt` draws some and gives those that may be used."""
        parts, of_split = [], 1.0 if self.split == "train" else 1 / (HELD_OUT_SHARE - 1)
        while wanted := {family: n for family, n in wanted.items() if n > 0}:
            usable = {family: max(0.3, 0.92 - LOST.get(family, 0.025) * k) * of_split for family in wanted}
            made = attempt({family: int(1.03 * n / usable[family]) + 16 for family, n in wanted.items()})
            made = {family: batch.first(wanted[family]) for family, batch in made.items()}
            parts += made.values()
            wanted = {family: n - len(made[family]) for family, n in wanted.items()}
        return parts

    def _problems(self, n: int, texts: Pool) -> Batch:
        settings = self.settings
        made = make_problems(self.problem_pieces, self.rng, n, self.split == "train", texts, settings.steps, settings.mode)
        return Batch(*made, np.full(len(made[0]), PRINTED_DECIMALS))

    def _chains(self, n: int, k: int) -> Batch:
        rng, settings = self.rng, self.settings
        chains = draw_chains(rng, n, k, settings.max_digits, settings.decimal_share)
        _, asked, good = evaluate_chains(chains)
        chains, asked = chains.rows(good), asked[good]
        text = canonical_chain(chains)
        good = held_out_rows(text) == (self.split != "train")
        chains, asked = chains.rows(good), asked[good]
        ids, length, number, trigger, answer = self.chain_pieces.text(rng, chains)
        labels = chain_labels(chains, ids.shape[1], number, trigger, answer, settings.steps, settings.mode)
        return Batch(ids, length, *labels, asked, np.full(len(asked), k), text[good], np.full(len(asked), PRINTED_DECIMALS))

    def unprintable(self, kind: str, n: int) -> Batch:
        """n questions of one kind of trees.UNPRINTABLE: their value is NaN."""
        parts, high, family = [], self.settings.operations[1], self.families[0]
        while n > 0:
            k = int(self.rng.integers(1, min(high, 3) + 1))
            parts.append(self._expressions({family: 4 * n + 16}, k, kind)[family].first(n))
            n -= len(parts[-1])
        return _joined(parts, self.rng.permutation(sum(map(len, parts))))

    def rounded(self, n: int, decimals: int | None = None) -> Batch:
        """n questions, most of them for a rounded number: the value has more decimals than are asked for, or than are printed at all.
        `decimals`: only those that are printed with so many."""
        parts, high, family = [], self.settings.operations[1], self.families[0]
        while n > 0:
            k = int(self.rng.integers(1, min(high, 3) + 1))
            part = self._expressions({family: 8 * n + 64}, k, to_round=True)[family]
            parts.append((part if decimals is None else part.select(part.decimals == decimals)).first(n))
            n -= len(parts[-1])
        return _joined(parts, self.rng.permutation(sum(map(len, parts))))

    def _expressions(self, draws: dict[str, int], k: int, unprintable: str = "", to_round: bool = False) -> dict[str, Batch]:
        """Draws so many expressions for each family together, and writes those that may be used in the family's way."""
        rng, settings, n = self.rng, self.settings, sum(draws.values())
        trees = draw_trees(rng, n, k)
        numbers, decimals = draw_numbers(rng, trees, settings.max_digits, settings.decimal_share)
        printed = np.full(n, PRINTED_DECIMALS)
        if unprintable:
            values, good = np.full((n, 2 * k + 1), np.nan), UNPRINTABLE[unprintable](rng, trees, numbers, decimals)
        elif to_round:
            printed = self.rounding_pieces.decimals_of(rng, n)
            divides = unfriendly_divisors(rng, trees, numbers, decimals)
            values, good = node_values(trees, numbers / 10.0**decimals)
            good &= divides & is_rounded(values[:, -1], printed)
        else:
            values, good = evaluate(trees, numbers / 10.0**decimals)
        keep = np.flatnonzero(good)
        made = Calculations(trees, numbers, decimals, values[:, -1], printed).rows(keep)
        faces = digits_of(made.numbers, made.decimals)
        text = canonical(made.trees, faces)
        good = held_out_rows(text) == (self.split != "train")
        shares = ([0.6 * (family == style) for family in draws] for style in ("prefix", "latex"))
        forms = set_forms(rng, made.trees, *(np.repeat(share, list(draws.values()))[keep] for share in shares))
        if settings.mode == "tape":
            good &= steps_at_a_token(made.trees, forms.closing) <= settings.steps
        written, ends = {}, np.searchsorted(keep, np.cumsum(list(draws.values())))
        for family, begin, end in zip(draws, [0, *ends], ends, strict=False):
            rows = begin + np.flatnonzero(good[begin:end])
            chat_share = 1.0 if unprintable else settings.chat_share
            written[family] = self._written(family, made.rows(rows), forms.rows(rows), faces[rows], text[rows], chat_share, to_round)
        return written

    def _written(self, family: str, made: "Calculations", forms: Forms, faces, text, chat_share: float, to_round: bool) -> Batch:
        """The examples in the family's way of writing, with their labels."""
        rng, (n, k), spoken = self.rng, made.trees.operation.shape, None
        wording = self.rounding_pieces.wording(rng, made.printed) if to_round else None
        look = drawn(rng, self.looks[family], n)
        if family == "numerals":
            words = (rng.random(made.numbers.shape) < 0.7) & (made.numbers // 10**made.decimals < 10**6)
            spoken = Spoken(self.numeral_pieces, words, made.numbers, made.decimals, rng.integers(2, size=n))
        ids, length, spots = self.pieces.text(rng, made.trees, forms, faces, look, chat_share, spoken, wording)
        labels = _labels(made.trees, forms, ids.shape[1], spots, self.settings)
        return Batch(ids, length, *labels, made.value, np.full(n, k), text, made.printed)


@dataclass
class Calculations:
    """n expressions before they are written: trees, integer / 10^decimals as their numbers (n, K+1), value and decimals printed (n,)."""

    trees: Trees
    numbers: np.ndarray
    decimals: np.ndarray
    value: np.ndarray
    printed: np.ndarray

    def rows(self, keep: np.ndarray) -> "Calculations":
        """The expressions `keep`."""
        numbers = (x[keep] for x in (self.numbers, self.decimals, self.value, self.printed))
        return Calculations(Trees(**{name: x[keep] for name, x in vars(self.trees).items()}), *numbers)


def _joined(parts: list[Batch], order: np.ndarray) -> Batch:
    """All examples of `parts` as one batch, in this order."""
    return Batch(**gathered(parts, order, list(vars(parts[0]))))


def gathered(parts: list[Batch], rows: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Fields of the examples `rows`, counted through all `parts`, in this order and cut to the longest of them."""
    fills = {"ids": 0, "operation": NO_STEP, "operand1": NO_REFERENCE, "operand2": NO_REFERENCE, "canonical": 0}
    ends = np.cumsum([len(p) for p in parts])
    part_of = np.searchsorted(ends, rows, side="right")
    found = [
        (p, to, rows[to] - end + len(p))
        for i, (p, end) in enumerate(zip(parts, ends, strict=True))
        if len(to := (part_of == i).nonzero()[0])
    ]
    longest = max([1, *(int(p.length[source].max()) for p, _, source in found)])
    widths = {"canonical": max([0, *(p.canonical.shape[1] for p, *_ in found)])}
    joined = {}
    for k in names:
        like = getattr(parts[0], k)
        shape = (len(rows), widths.get(k, longest), *like.shape[2:]) if k in fills else (len(rows),)
        joined[k] = np.full(shape, fills.get(k, 0), like.dtype)
        for part, to, source in found:
            x = getattr(part, k)
            if k in fills:
                x = x[:, : shape[1]]
                joined[k][to, : x.shape[1]] = x[source]
            else:
                joined[k][to] = x[source]
    return joined


def _labels(trees: Trees, forms: Forms, width: int, spots: Spots, settings: ExpressionSettings):
    """Plan labels (n, width, D): operation (int8, NO_STEP where nothing is known), operand1 and operand2 references (int32).

    At every token after which nothing is reduced the first step is labelled identity without operands; the reader decides
    which tokens may plan at all. After the last reduction of a token comes one identity, which says "done".
    """
    n, k = trees.operation.shape
    steps = settings.steps
    where, step = triggers(trees, forms.closing, spots) if settings.mode == "tape" else all_at_answer(n, k, spots)
    assert int(step.max(initial=-1)) < steps, f"{int(step.max(initial=-1)) + 1} steps at one token, but the plan has {steps}"
    operation = np.full((n, width, steps), NO_STEP, dtype=np.int8)
    operand1, operand2 = (np.full((n, width, steps), NO_REFERENCE, dtype=np.int32) for _ in range(2))
    operation[:, :, 0] = IDENTITY
    rows = np.arange(n)
    reference = np.concatenate([number_reference(spots.number, steps), np.zeros((n, k), dtype=np.int64)], axis=1)
    kinds = node_operation(trees)
    for j in range(k):
        t, s = where[:, j], step[:, j]
        operation[rows, t, s] = kinds[:, j]
        operand1[rows, t, s], operand2[rows, t, s] = reference[rows, trees.left[:, j]], reference[rows, trees.right[:, j]]
        reference[:, k + 1 + j] = tape_reference(t, s, steps)
        more = np.flatnonzero(s + 1 < steps)
        operation[more, t[more], s[more] + 1] = IDENTITY  # overwritten if another reduction follows
    unreduced = np.flatnonzero(operation[rows, spots.answer, 0] == IDENTITY)
    operand1[unreduced, spots.answer[unreduced], 0] = reference[unreduced, -1]
    return operation, operand1, operand2
