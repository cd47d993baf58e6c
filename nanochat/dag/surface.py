"""Expressions as text: the surface forms, their token ids, and where in the text each number, operator and bracket stands."""

import numpy as np

from nanochat.dag.executor import ADD, DIVIDE, MULTIPLY, SUBTRACT
from nanochat.dag.trees import Spots, Trees, bracket_counts

SYMBOLS = {ADD: ["+"], SUBTRACT: ["-", "−"], MULTIPLY: ["*", "×"], DIVIDE: ["/", "÷"]}
WORDS = {
    ADD: ["plus", "added to"],
    SUBTRACT: ["minus"],
    MULTIPLY: ["times", "multiplied by"],
    DIVIDE: ["divided by", "over"],
}
QUESTIONS = [
    "What is {}?", "What is {}?", "What's {}?", "How much is {}?", "Calculate {}.", "Compute {}.", "Work out {}.", "Please calculate {}.",
    "Can you work out {}?", "What does {} make?", "{}", "{}?", "{} =", "{} = ?", "Tell me what {} is.", "What do you get for {}?",
    "Solve {}.", "What is the result of {}?", "Find {}.", "How much does {} make?",
]  # fmt: skip


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


def canonical(trees: Trees, numbers: np.ndarray, decimals: np.ndarray) -> np.ndarray:
    """The canonical text of `data.split.held_out` as (n, L) uint8 with 0 where there is no character."""
    n, k = trees.operation.shape
    opens, closes = bracket_counts(trees, np.ones((n, 2 * k + 1), dtype=bool))
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


class Pieces:
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
        opens, closes = bracket_counts(trees, trees.wrapped)
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
