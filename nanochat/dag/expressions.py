"""Arithmetic expressions with their text, values and plan labels, generated in whole batches with numpy.

One random tree per example is drawn as an order of merging neighbours; its values are computed by the operations the executor
uses; its text is assembled from tables of token ids, and the labels say which token performs which operation. In the `tape`
form a token reduces what is complete when it arrives, as a shift-reduce parser does: at most two operations per token at any
nesting depth. In the `isolated` form the answer token performs everything.

    stream = ExpressionStream(tokenizer, ExpressionSettings(), split="train", seed=1)
    batch = stream.batch(1024)          # Batch of padded token ids, labels and values
    stream.state_dict()                 # the stream continues exactly from here
"""

import json
from dataclasses import dataclass, field

import numpy as np

from nanochat.dag.executor import (
    ADD,
    DIVIDE,
    IDENTITY,
    MULTIPLY,
    NO_REFERENCE,
    NO_STEP,
    SUBTRACT,
    constant_reference,
    number_reference,
    tape_reference,
)
from nanochat.data.split import held_out_rows

SYMBOLS = {ADD: ["+"], SUBTRACT: ["-", "−"], MULTIPLY: ["*", "×"], DIVIDE: ["/", "÷"]}
WORDS = {
    ADD: ["plus", "added to"],
    SUBTRACT: ["minus"],
    MULTIPLY: ["times", "multiplied by"],
    DIVIDE: ["divided by", "over"],
}
QUESTIONS = [
    "What is {}?", "What is {}?", "What's {}?", "How much is {}?", "Calculate {}.", "Compute {}.", "Work out {}.", "Please calculate {}.",
    "Can you work out {}?", "What does {} make?", "{}", "{}?", "{} =", "{} = ?", "Tell me what {} is.", "What do you get for {}?", "Solve {}.",
    "What is the result of {}?", "Find {}.", "How much does {} make?",
]  # fmt: skip
LARGEST_VALUE = 1e9
DECIMALS = 4  # answers and intermediate values have at most so many
FRIENDLY_DIVISORS = np.array([2, 4, 5, 8, 10, 20, 25, 50, 100])
LOW, HIGH = 1, 2  # precedence of + - and of * /
_PRECEDENCE = np.array([LOW, LOW, HIGH, HIGH])


@dataclass
class ExpressionSettings:
    """What is generated: `operations` (min, max) per example, digits of the integers, share of decimals, plan form and steps."""

    operations: tuple[int, int] = (1, 6)
    max_digits: int = 4
    decimal_share: float = 0.1
    mode: str = "tape"  # or "isolated"
    steps: int = 2  # plan steps per token
    chat_share: float = 0.9  # the rest is bare text that ends in "="


@dataclass
class Batch:
    """n examples. Positions count tokens of the example; references are those of `executor` (NO_STEP / NO_REFERENCE: no label).

    ids        (n, T) int64, 0 beyond `length`
    length     (n,)   tokens, the last is the answer token: the one after which the answer is printed
    operation  (n, T, D) int64, operand1 (n, T, D) int64, operand2 (n, T, D) int64
    value      (n,)   float64, the answer
    operations (n,)   number of operations
    """

    ids: np.ndarray
    length: np.ndarray
    operation: np.ndarray
    operand1: np.ndarray
    operand2: np.ndarray
    value: np.ndarray
    operations: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows) -> "Batch":
        """The examples `rows` (an index array or mask), cut to their longest."""
        longest = int(self.length[rows].max(initial=1))
        cut = {k: getattr(self, k)[rows, :longest] for k in ("ids", "operation", "operand1", "operand2")}
        return Batch(length=self.length[rows], value=self.value[rows], operations=self.operations[rows], **cut)


@dataclass
class Trees:
    """n expression trees of K operations. Node ids: leaves 0..K in text order, then K+1+j for the j-th merge, children first.

    operation (n, K) by position in the text; place (n, K): the position whose operator merge j is; left, right (n, K): child ids;
    first, last (n, K): leaves the node spans; parent (n, 2K+1), -1 at the root; is_right (n, 2K+1); wrapped (n, 2K+1): in brackets.
    """

    operation: np.ndarray
    place: np.ndarray
    left: np.ndarray
    right: np.ndarray
    first: np.ndarray
    last: np.ndarray
    parent: np.ndarray
    is_right: np.ndarray
    wrapped: np.ndarray = field(default=None)


class ExpressionStream:
    """An infinite, seeded, resumable stream of batches from one side of the held-out split."""

    def __init__(self, tokenizer, settings: ExpressionSettings, split: str = "train", seed: int = 0):
        if settings.mode not in ("tape", "isolated"):
            raise ValueError(f"mode must be 'tape' or 'isolated', not {settings.mode!r}")
        self.settings, self.split = settings, split
        self.rng = np.random.default_rng(seed)
        self.pieces = _Pieces(tokenizer)

    def state_dict(self) -> dict:
        """JSON text of the generator's state."""
        return {"rng": json.dumps(self.rng.bit_generator.state)}

    def load_state_dict(self, state: dict) -> None:
        self.rng.bit_generator.state = json.loads(state["rng"])

    def batch(self, n: int, operations: int | None = None) -> Batch:
        """n examples, shuffled; the number of operations uniform over the settings' range, or exactly `operations`."""
        low, high = self.settings.operations if operations is None else (operations, operations)
        counts = np.bincount(self.rng.integers(low, high + 1, n), minlength=high + 1)
        parts = [self._exactly(int(count), k) for k, count in enumerate(counts) if count]
        joined = _join(parts)
        return joined.select(self.rng.permutation(n)) if len(parts) > 1 else joined

    def _exactly(self, n: int, k: int) -> Batch:
        parts, have = [], 0
        while have < n:
            part = self._attempt(int((n - have) * (1.6 if self.split == "train" else 14)) + 16, k)
            parts.append(part)
            have += len(part)
        return _join(parts).select(np.arange(n))

    def _attempt(self, n: int, k: int) -> Batch:
        rng, settings = self.rng, self.settings
        trees = draw_trees(rng, n, k)
        numbers, decimals = _draw_numbers(rng, trees, settings)
        values, good = evaluate(trees, numbers / 10.0**decimals)
        _set_brackets(rng, trees)
        good &= held_out_rows(_canonical(trees, numbers, decimals)) == (self.split != "train")
        keep = np.flatnonzero(good)
        trees = Trees(**{name: getattr(trees, name)[keep] for name in trees.__dataclass_fields__})
        ids, length, spots = self.pieces.text(rng, trees, numbers[keep], decimals[keep], settings.chat_share)
        operation, operand1, operand2 = _labels(trees, ids.shape[1], spots, settings)
        return Batch(ids, length, operation, operand1, operand2, values[keep, -1], np.full(len(keep), k))


def _join(parts: list[Batch]) -> Batch:
    width = max(p.ids.shape[1] for p in parts)

    def pad(x, fill):
        return np.pad(x, [(0, 0), (0, width - x.shape[1])] + [(0, 0)] * (x.ndim - 2), constant_values=fill)

    fills = {"ids": 0, "operation": NO_STEP, "operand1": NO_REFERENCE, "operand2": NO_REFERENCE}
    padded = {k: np.concatenate([pad(getattr(p, k), fill) for p in parts]) for k, fill in fills.items()}
    return Batch(**padded, **{k: np.concatenate([getattr(p, k) for p in parts]) for k in ("length", "value", "operations")})


# ---------------------------------------------------------------------------------------------------------------------
# Trees and values


def draw_trees(rng: np.random.Generator, n: int, k: int) -> Trees:
    """n random trees of k operations: some follow precedence without brackets, some are arbitrary, most lie between."""
    operation = rng.choice(4, size=(n, k), p=[0.3, 0.3, 0.25, 0.15])
    natural = np.arange(k) + np.where(operation <= SUBTRACT, k, 0)
    freedom = rng.choice([0.0, 0.3, 1.0], size=(n, 1), p=[0.35, 0.4, 0.25])
    keys = np.where(rng.random((n, k)) < freedom, rng.random((n, k)) * 2 * k, natural)
    return _merge(operation, np.argsort(keys, axis=1, kind="stable"))


def _merge(operation: np.ndarray, place: np.ndarray) -> Trees:
    """The trees in which merge j joins what stands left and right of the operator at `place[:, j]`."""
    n, k = operation.shape
    rows = np.arange(n)
    start = np.tile(np.arange(k + 1), (n, 1))  # valid at a span's last leaf
    end, root = start.copy(), start.copy()  # valid at a span's first leaf
    shape = (n, k)
    left, right, first, last = (np.empty(shape, dtype=np.int64) for _ in range(4))
    parent, is_right = np.full((n, 2 * k + 1), -1), np.zeros((n, 2 * k + 1), dtype=bool)
    for j in range(k):
        at = place[:, j]
        a, b = start[rows, at], end[rows, at + 1]
        left[:, j], right[:, j], first[:, j], last[:, j] = root[rows, a], root[rows, at + 1], a, b
        parent[rows, left[:, j]] = parent[rows, right[:, j]] = k + 1 + j
        is_right[rows, right[:, j]] = True
        start[rows, b], end[rows, a], root[rows, a] = a, b, k + 1 + j
    return Trees(operation, place, left, right, first, last, parent, is_right)


def _node_operation(trees: Trees) -> np.ndarray:
    """(n, K) operation of merge j."""
    return np.take_along_axis(trees.operation, trees.place, axis=1)


def _draw_numbers(rng, trees: Trees, settings: ExpressionSettings):
    """Integers (n, K+1) and decimals (n, K+1): the numbers are integer / 10^decimals. Divisors are chosen so that most quotients end."""
    n, k = trees.operation.shape
    digits = rng.integers(1, settings.max_digits + 1, (n, k + 1))
    digits = np.minimum(digits, rng.integers(1, settings.max_digits + 1, (n, k + 1)))
    numbers = np.floor(10.0 ** (digits - rng.random((n, k + 1)))).astype(np.int64)
    numbers[rng.random((n, k + 1)) < 0.01] = 0
    decimals = np.where(rng.random((n, k + 1)) < settings.decimal_share, rng.integers(1, 3, (n, k + 1)), 0)
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
        numbers[r, trees.left[r, j]] = numbers[r, trees.right[r, j]] * np.floor(10.0 ** (rng.random(len(r)) * 2.5)).astype(np.int64)
    decimals[numbers % 10 == 0] = 0  # 2.50 is written 2.5
    return numbers, decimals


def evaluate(trees: Trees, leaves: np.ndarray):
    """Values (n, 2K+1) of all nodes and whether an example may be used: every value ends within DECIMALS and stays in bounds."""
    n, k = trees.operation.shape
    values = np.concatenate([leaves, np.zeros((n, k))], axis=1)
    rows, operations, good = np.arange(n), _node_operation(trees), np.ones(n, dtype=bool)
    for j in range(k):
        x, y, o = values[rows, trees.left[:, j]], values[rows, trees.right[:, j]], operations[:, j]
        good &= (o != DIVIDE) | (y != 0)
        result = np.select([o == ADD, o == SUBTRACT, o == MULTIPLY], [x + y, x - y, x * y], x / np.where(y == 0, 1.0, y))
        scaled = result * 10.0**DECIMALS
        rounding = 1e-9 + np.abs(scaled) * 1e-14  # what float64 itself may have added
        good &= (np.abs(result) < LARGEST_VALUE) & (np.abs(scaled - np.rint(scaled)) < rounding)
        values[:, k + 1 + j] = result
    return values, good


def _set_brackets(rng, trees: Trees) -> None:
    """Brackets where precedence or order needs them, and a few that do not matter."""
    n, k = trees.operation.shape
    precedence = _PRECEDENCE[_node_operation(trees)]
    trees.wrapped = np.zeros((n, 2 * k + 1), dtype=bool)
    for j in range(k):
        above = trees.parent[:, k + 1 + j]
        outer = precedence[np.arange(n), np.maximum(above - k - 1, 0)]
        needed = np.where(trees.is_right[:, k + 1 + j], precedence[:, j] <= outer, precedence[:, j] < outer) & (above >= 0)
        trees.wrapped[:, k + 1 + j] = needed | (rng.random(n) < 0.04)


# ---------------------------------------------------------------------------------------------------------------------
# Text


def _digits(numbers: np.ndarray, decimals: np.ndarray, width: int) -> np.ndarray:
    """(..., width) characters of integer / 10^decimals as 0..9, 10 for the point, -1 for nothing, from the left."""
    whole, part = numbers // 10**decimals, numbers % 10**decimals
    columns = []
    for place in range(width - 4, -1, -1):
        face = whole // 10**place % 10
        columns.append(np.where((whole >= 10**place) | (place == 0), face, -1))
    columns.append(np.where(decimals > 0, 10, -1))
    for i in range(1, 4):
        columns.append(np.where(decimals >= i, part // 10 ** np.maximum(decimals - i, 0) % 10, -1))
    return np.stack(columns, axis=-1)


def _width(numbers: np.ndarray) -> int:
    return len(str(int(numbers.max(initial=1)))) + 4


def _bracket_counts(trees: Trees, wrapped: np.ndarray):
    """Brackets that open before and close after each leaf, (n, K+1) each, counting the nodes in `wrapped` (n, 2K+1)."""
    n, k = trees.operation.shape
    opens, closes, rows = np.zeros((n, k + 1), dtype=np.int64), np.zeros((n, k + 1), dtype=np.int64), np.arange(n)
    for j in range(k):
        opens[rows, trees.first[:, j]] += wrapped[:, k + 1 + j]
        closes[rows, trees.last[:, j]] += wrapped[:, k + 1 + j]
    return opens, closes


def _canonical(trees: Trees, numbers: np.ndarray, decimals: np.ndarray) -> np.ndarray:
    """The canonical text of `data.split.held_out` as (n, L) uint8 with 0 where there is no character."""
    n, k = trees.operation.shape
    opens, closes = _bracket_counts(trees, np.ones((n, 2 * k + 1), dtype=bool))
    characters = np.frombuffer(b"0123456789.", dtype=np.uint8)
    faces = _digits(numbers, decimals, _width(numbers))
    faces = np.where(faces >= 0, characters[faces], 0)
    symbols = np.frombuffer(b"+-*/", dtype=np.uint8)[trees.operation]
    columns = []
    for i in range(k + 1):
        columns += [np.where(opens[:, i] > b, ord("("), 0)[:, None] for b in range(k)] + [faces[:, i]]
        columns += [np.where(closes[:, i] > b, ord(")"), 0)[:, None] for b in range(k)]
        columns += [symbols[:, i, None]] if i < k else []
    return np.concatenate(columns, axis=1).astype(np.uint8)


@dataclass
class Spots:
    """Token positions in the text: number (n, K+1) last digit; operator (n, K) last token of the operator; close (n, K+1, K) the
    brackets after a leaf in order; answer (n,) the last token."""

    number: np.ndarray
    operator: np.ndarray
    close: np.ndarray
    answer: np.ndarray


class _Pieces:
    """Tables of token ids from which texts are assembled. Cuts lie where the tokenizer cuts too, so the joined pieces are the
    encoding of the joined text (tested)."""

    def __init__(self, tokenizer):
        encode, special = tokenizer.encode, tokenizer.special
        self.digit = np.array([_single(encode(c)) for c in "0123456789."])
        self.operators = {}  # (spaced, operation) -> (forms, L) token ids, -1 for nothing
        for operation in SYMBOLS:
            symbols = SYMBOLS[operation]
            self.operators["tight", operation] = _table([encode(s) for s in symbols])
            self.operators["spaced", operation] = _table([encode(" " + s) for s in symbols])
            self.operators["words", operation] = _table([encode(" " + w) for w in WORDS[operation]])
        self.open, self.open_spaced = _table([encode("(")]), _table([encode(" (")])
        self.close, self.space = _table([encode(")")]), _table([encode(" ")])
        bos, user, end, assistant = (special(f"<|{name}|>") for name in ("bos", "user_start", "user_end", "assistant_start"))
        halves = [q.split("{}") for q in QUESTIONS]
        self.before = _table([[bos, user, *encode(a.rstrip(" "))] for a, _ in halves])
        self.gap = np.array([a.endswith(" ") for a, _ in halves])
        self.after = _table([[*encode(b), end, assistant] for _, b in halves])
        self.bare_before, self.bare_after = _table([[bos], [bos]]), _table([encode("="), encode(" =")])

    def text(self, rng, trees: Trees, numbers, decimals, chat_share: float):
        """Token ids (n, T) int64, lengths (n,) and the Spots of the operands and operators in them."""
        n, k = trees.operation.shape
        style = rng.choice(4, size=n, p=[0.15, 0.35, 0.3, 0.2])  # tight, spaced, words, mixed per operator
        worded = (style[:, None] == 2) | ((style[:, None] == 3) & (rng.random((n, k)) < 0.5))
        tight = (style == 0)[:, None] & np.ones((n, k), dtype=bool)
        chat, question = rng.random(n) < chat_share, rng.integers(len(QUESTIONS), size=n)
        out = _Columns(n)
        out.add(np.where(chat[:, None], *_same_width(self.before[question], self.bare_before[np.zeros(n, int)])))
        opens, closes = _bracket_counts(trees, trees.wrapped)
        deepest_open, deepest_close = int(opens.max()), int(closes.max())
        faces = _digits(numbers, decimals, _width(numbers))
        gap = chat & self.gap[question]
        number_spot, operator_spot, close_spot = [], [], []
        for i in range(k + 1):
            bracketed = opens[:, i] > 0
            for b in range(deepest_open):
                first = self.open_spaced if b == 0 else self.open
                here = np.where((gap & (b == 0))[:, None], *_same_width(first.repeat(n, 0), self.open.repeat(n, 0)))
                out.add(np.where((opens[:, i] > b)[:, None], here, -1))
            out.add(np.where((gap & ~bracketed)[:, None], self.space.repeat(n, 0), -1))
            out.add(np.where(faces[:, i] >= 0, self.digit[faces[:, i]], -1))
            number_spot.append(out.last)
            for b in range(deepest_close):
                out.add(np.where((closes[:, i] > b)[:, None], self.close.repeat(n, 0), -1))
                close_spot.append(out.last)
            if i < k:
                out.add(self._operator(rng, trees.operation[:, i], worded[:, i], tight[:, i]))
                operator_spot.append(out.last)
                gap = ~tight[:, i] | worded[:, i]
        tail = rng.integers(2, size=n)
        out.add(np.where(chat[:, None], *_same_width(self.after[question], self.bare_after[tail])))
        spots = (number_spot, operator_spot, close_spot, [out.last])
        ids, length, spots = out.finish(spots)
        close = np.stack(spots[2], 1).reshape(n, k + 1, -1) if spots[2] else np.zeros((n, k + 1, 1), dtype=np.int64)
        return ids, length, Spots(np.stack(spots[0], 1), np.stack(spots[1], 1), close, spots[3][0])

    def _operator(self, rng, operation, worded, tight):
        tables = {key: t for key, t in self.operators.items()}
        width = max(t.shape[1] for t in tables.values())
        result = np.full((len(operation), width), -1)
        pick = rng.random(len(operation))
        for name, which in (("words", worded), ("tight", tight & ~worded), ("spaced", ~tight & ~worded)):
            for o in SYMBOLS:
                table, rows = tables[name, o], np.flatnonzero(which & (operation == o))
                # the first form of each table is the common one
                form = np.where(pick[rows] < 0.75, 0, (pick[rows] * 1000).astype(int) % len(table))
                result[rows, : table.shape[1]] = table[form]
        return result


class _Columns:
    """Token ids collected column by column, -1 for nothing; positions become known when the gaps are closed."""

    def __init__(self, n: int):
        self.parts, self.width, self.n = [], 0, n

    def add(self, block: np.ndarray) -> None:
        self.parts.append(block)
        self.width += block.shape[1]

    @property
    def last(self) -> int:
        """Columns so far: the last token at or before this point is a spot."""
        return self.width

    def finish(self, spots):
        """Closes the gaps: ids (n, T), lengths (n,) and for each noted column the position (n,) of the last token before it."""
        wide = np.concatenate(self.parts, axis=1)
        present = wide >= 0
        count = np.concatenate([np.zeros((self.n, 1), dtype=np.int64), present.cumsum(1)], axis=1)
        length = count[:, -1]
        ids = np.zeros((self.n, int(length.max(initial=1))), dtype=np.int64)
        rows, columns = np.nonzero(present)
        ids[rows, count[rows, columns]] = wide[rows, columns]
        return ids, length, [[count[:, c] - 1 for c in group] for group in spots]


def _single(ids: list[int]) -> int:
    if len(ids) != 1:
        raise ValueError("this tokenizer does not give every digit a token of its own")
    return ids[0]


def _table(rows: list[list[int]]) -> np.ndarray:
    width = max(map(len, rows))
    return np.array([row + [-1] * (width - len(row)) for row in rows])


def _same_width(a: np.ndarray, b: np.ndarray):
    width = max(a.shape[1], b.shape[1])
    return [np.pad(x, [(0, 0), (0, width - x.shape[1])], constant_values=-1) for x in (a, b)]


# ---------------------------------------------------------------------------------------------------------------------
# Labels


def _labels(trees: Trees, width: int, spots: Spots, settings: ExpressionSettings):
    """Plan labels (n, width, D): operation (NO_STEP where nothing is known), operand1 and operand2 references.

    At every token after which nothing is reduced the first step is labelled identity without operands; the reader decides
    which tokens may plan at all. After the last reduction of a token comes one identity, which says "done".
    """
    n, k = trees.operation.shape
    steps = settings.steps
    where, step = _triggers(trees, spots) if settings.mode == "tape" else _all_at_answer(n, k, spots)
    assert k == 0 or int(step.max()) < steps, f"{int(step.max()) + 1} steps at one token, but the plan has {steps}"
    operation = np.full((n, width, steps), NO_STEP)
    operand1, operand2 = np.full((n, width, steps), NO_REFERENCE), np.full((n, width, steps), NO_REFERENCE)
    operation[:, :, 0] = IDENTITY
    rows = np.arange(n)
    reference = np.concatenate([number_reference(spots.number, steps), np.zeros((n, k), dtype=np.int64)], axis=1)
    kinds = _node_operation(trees)
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


def _all_at_answer(n: int, k: int, spots: Spots):
    return np.tile(spots.answer[:, None], (1, k)), np.tile(np.arange(k), (n, 1))


def _triggers(trees: Trees, spots: Spots):
    """The token position (n, K) at which each node is reduced and its step (n, K) there.

    A node in brackets is reduced by its closing bracket; a left operand by the operator after it; a right operand together
    with its parent, just before it; the root by the answer token.
    """
    n, k = trees.operation.shape
    rows = np.arange(n)
    inner = np.zeros((n, k + 1), dtype=np.int64)  # brackets already closed after each leaf, children first
    where, step = np.empty((n, k), dtype=np.int64), np.zeros((n, k), dtype=np.int64)
    with_parent = np.zeros((n, k), dtype=bool)
    for j in range(k):
        node, last = k + 1 + j, trees.last[:, j]
        wrapped, above = trees.wrapped[:, node], trees.parent[:, node]
        bracket = spots.close[rows, last, np.minimum(inner[rows, last], spots.close.shape[2] - 1)]
        operator = spots.operator[rows, np.minimum(last, k - 1)]
        where[:, j] = np.where(wrapped, bracket, np.where(above < 0, spots.answer, operator))
        with_parent[:, j] = ~wrapped & trees.is_right[:, node]
        inner[rows, last] += wrapped
        child = trees.right[:, j] - k - 1
        shares = (child >= 0) & with_parent[rows, np.maximum(child, 0)]
        step[:, j] = np.where(shares, step[rows, np.maximum(child, 0)] + 1, 0)
    for j in range(k - 1, -1, -1):
        above = np.maximum(trees.parent[:, k + 1 + j] - k - 1, 0)
        where[:, j] = np.where(with_parent[:, j], where[rows, above], where[:, j])
    return where, step


__all__ = ["Batch", "ExpressionSettings", "ExpressionStream", "Trees", "constant_reference", "draw_trees", "evaluate"]
