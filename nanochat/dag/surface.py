"""Expressions as text: the surface forms, their token ids, and where in the text each number, operator and bracket stands."""

from dataclasses import dataclass

import numpy as np

from nanochat.dag.executor import ADD, DIVIDE, MULTIPLY, SUBTRACT
from nanochat.dag.forms import BRACKET, NOTHING, PHRASE, Forms
from nanochat.dag.numerals import in_words
from nanochat.dag.trees import Spots, Trees, full_brackets

SYMBOLS = {ADD: ["+"], SUBTRACT: ["-", "−"], MULTIPLY: ["*", "×"], DIVIDE: ["/", "÷"]}
SPACED = {**SYMBOLS, MULTIPLY: ["*", "×", "x"]}
LATEX = {ADD: ["+"], SUBTRACT: ["-"], MULTIPLY: ["\\times", "\\cdot"], DIVIDE: ["\\div"]}
PHRASES = ("the sum of", "the difference of", "the product of", "the quotient of")
SIZED = PHRASE + len(PHRASES)  # the code of LaTeX's \left( and \right)
WORDS = {
    ADD: ["plus", "added to"],
    SUBTRACT: ["minus"],
    MULTIPLY: ["times", "multiplied by"],
    DIVIDE: ["divided by", "over"],
}
STYLES = ("symbols", "english", "latex", "prefix", "numerals", "let", "problems")
CHARACTERS = np.frombuffer(b"0123456789.\0", dtype=np.uint8)  # by face; -1, the last, is nothing
# How operators look. NO_LETTERS: spaced, without `x` for times; MIXED: in words or spaced, each by itself
TIGHT, SPACED_OUT, IN_WORDS, IN_LATEX, NO_LETTERS, MIXED = range(6)
QUESTIONS = [
    "What is {}?", "What is {}?", "What's {}?", "How much is {}?", "Calculate {}.", "Compute {}.", "Work out {}.", "Please calculate {}.",
    "Can you work out {}?", "What does {} make?", "{}", "{}?", "{} =", "{} = ?", "Tell me what {} is.", "What do you get for {}?",
    "Solve {}.", "What is the result of {}?", "Find {}.", "How much does {} make?",
]  # fmt: skip


def digits_of(numbers: np.ndarray, decimals: np.ndarray) -> np.ndarray:
    """(..., W) int8 characters of integer / 10^decimals as 0..9, 10 for the point, -1 for nothing, from the left."""
    most = int(decimals.max(initial=0))
    shown = numbers * 10 ** (most - decimals)  # all with as many decimals
    size = np.uint32 if shown.max(initial=0) < 2**32 else np.uint64  # small ones divide faster
    shown, ten = shown.astype(size), size(10)
    width = len(str(int(shown.max(initial=1)))) + 1 + (most > 0)
    faces = np.empty((*numbers.shape, max(width, most + 2)), dtype=np.int8)
    at = faces.shape[-1]
    for place in range(most):
        at -= 1
        rest = shown // ten
        faces[..., at] = np.where(most - place <= decimals, (shown - rest * ten).astype(np.int8), -1)
        shown = rest
    if most:
        at -= 1
        faces[..., at] = np.where(decimals > 0, 10, -1)
    for before in range(at - 1, -1, -1):
        rest = shown // ten
        faces[..., before] = np.where((shown > 0) | (before == at - 1), (shown - rest * ten).astype(np.int8), -1)
        shown = rest
    return faces


def canonical(trees: Trees, faces: np.ndarray) -> np.ndarray:
    """The canonical text of `data.split.held_out` as (n, L) uint8 with 0 where there is no character. faces: see `digits_of`."""
    n, k = trees.operation.shape
    opens, closes = full_brackets(trees)
    faces = np.take(CHARACTERS, faces)
    symbols = np.frombuffer(b"+-*/", dtype=np.uint8)[trees.operation]
    columns = []
    for i in range(k + 1):
        columns += [(opens[:, i, None] > np.arange(k - i)) * np.uint8(ord("(")), faces[:, i]]
        columns += [(closes[:, i, None] > np.arange(i)) * np.uint8(ord(")"))]
        columns += [symbols[:, i, None]] if i < k else []
    return np.concatenate(columns, axis=1)


@dataclass
class Wording:
    """What stands around n expressions: before, after (n, L) token ids, -1 for nothing; gap (n,): a space stands before the expression."""

    before: np.ndarray
    gap: np.ndarray
    after: np.ndarray


class Pieces:
    """Tables of token ids from which texts are assembled, -1 for nothing. Cuts lie where the tokenizer cuts too, so the joined pieces
    are the encoding of the joined text (tested)."""

    def __init__(self, tokenizer):
        encode, special = tokenizer.encode, tokenizer.special
        self.digit = np.array([*(_single(encode(c)) for c in "0123456789."), -1], dtype=np.int32)  # by face; -1, the last, is nothing
        # Operators by look; (looks, 4, forms, L), and how many forms there are
        looks = (("", SYMBOLS), (" ", SPACED), (" ", WORDS), (" ", LATEX), (" ", SYMBOLS))
        written = [[[before + w for w in words[o]] for o in SYMBOLS] for before, words in looks]
        self.forms = np.array([[len(forms) for forms in style] for style in written])
        most = self.forms.max()
        forms = table([encode(form) for style in written for forms in style for form in forms + forms[:1] * (most - len(forms))])
        self.operators = forms.reshape(*self.forms.shape, most, -1)
        # What opens, closes and joins by code (forms.py, and SIZED for LaTeX): opening (2, codes, L) without and with a space before
        opening = ["", "(", "\\frac{", *PHRASES, "\\left("]
        self.opening = table([[encode(before + o if o else "") for o in opening] for before in ("", " ")])
        self.brackets = self.opening[:, : BRACKET + 1, : len(encode(" ("))]
        self.closing = table([encode(c) for c in ("", ")", "}", "", "", "", "", "\\right)")])
        self.joining = table([encode(j) for j in ("", "", "}{", " and")])
        self.space = table([encode(" ")])
        bos, user, end, assistant = (special(f"<|{name}|>") for name in ("bos", "user_start", "user_end", "assistant_start"))
        halves = [q.split("{}") for q in QUESTIONS]
        before, self.gap = [[bos, user, *encode(a.rstrip(" "))] for a, _ in halves], np.array([a.endswith(" ") for a, _ in halves])
        after, bare = [[*encode(b), end, assistant] for _, b in halves], [encode("="), encode(" =")] * (len(QUESTIONS) // 2)
        self.before = table([before, [[bos]] * len(QUESTIONS)])  # (2, questions, L): as chat, bare
        self.after = table([after, bare])

    def text(self, rng, trees: Trees, forms: Forms, faces, look, chat_share: float, spoken: "Spoken | None" = None, wording=None):
        """Token ids (n, T) int32, lengths (n,) and the Spots of the operands and operators in them. faces: see `digits_of`; look (n,):
        TIGHT, SPACED_OUT, ...; spoken: which numbers are words; wording (a Wording) of the questions if they are not of the usual ones."""
        n, k = trees.operation.shape
        sized = ((look == IN_LATEX) & (rng.random(n) < 0.3))[:, None, None]
        worded = (look == IN_WORDS)[:, None] | ((look == MIXED)[:, None] & (rng.random((n, k)) < 0.5))
        look = np.where(worded, IN_WORDS, np.where(look == MIXED, SPACED_OUT, look)[:, None])  # (n, k)
        wording = wording or self.wording(rng, n, chat_share)
        opens, closes = forms.opens, forms.closes
        opens, closes = (np.where(sized & (x == BRACKET), SIZED, x) for x in (opens, closes))
        opening = self.opening if opens.max(initial=0) > BRACKET else self.brackets  # most texts have brackets only
        operator_form = np.zeros((n, k), dtype=np.int64)
        np.put_along_axis(operator_form, trees.place, np.minimum(forms.written, PHRASE), axis=1)
        gap, out = wording.gap.astype(np.int64), Columns(n)
        out.add(wording.before)
        number_spot, operator_spot, close_spot = [], [], []
        opened, closed = opens.any(axis=0), closes.any(axis=0)
        codes, opening = opening.shape[1], opening.reshape(-1, opening.shape[2])
        for i in range(k + 1):
            for r in np.flatnonzero(opened[i]):
                code = opens[:, i, r]
                out.add(opening.take(codes * gap + code, axis=0))
                gap = np.where(code == NOTHING, gap, (code >= PHRASE) & (code != SIZED))
            face, spaced = faces[:, i], gap == 1
            if spoken is not None:
                spoken.add(out, i, gap)
                face, spaced = np.where(spoken.where[:, i, None], -1, face), spaced & ~spoken.where[:, i]
            out.add(np.where(spaced[:, None], self.space, -1))
            out.add(np.take(self.digit, face))
            number_spot.append(out.last)
            for c in range(closes.shape[2]):
                if closed[i, c]:
                    out.add(np.take(self.closing, closes[:, i, c], axis=0))
                close_spot.append(out.last)
            if i < k:
                joined = operator_form[:, i]
                out.add(self.operator(rng, trees.operation[:, i], look[:, i], joined))
                operator_spot.append(out.last)
                gap = np.where(joined == NOTHING, look[:, i] != TIGHT, joined == PHRASE).astype(np.int64)
        out.add(wording.after)
        spots = (number_spot, operator_spot, close_spot, [out.last])
        ids, length, spots = out.finish(spots)
        close = np.stack(spots[2], 1).reshape(n, k + 1, closes.shape[2]) if spots[2] else np.zeros((n, k + 1, 1), dtype=np.int64)
        return ids, length, Spots(np.stack(spots[0], 1), np.stack(spots[1], 1), close, spots[3][0])

    def wording(self, rng, n: int, chat_share: float) -> Wording:
        """The usual questions, and for 1 - `chat_share` of them a bare text that ends in "="."""
        bare, question = (rng.random(n) >= chat_share).astype(np.int64), rng.integers(len(QUESTIONS), size=n)
        return Wording(self.before[bare, question], self.gap[question] & (bare == 0), self.after[bare, question])

    def operator(self, rng, operation, look, joined):
        """Token ids (n, L) of what stands between two operands: an operator, of which the first form is the common one, or a joint."""
        pick = rng.random(len(operation))
        kind = 4 * look + operation
        form = np.where(pick < 0.75, 0, (pick * 1000).astype(np.int64) % self.forms.ravel().take(kind))
        most, width = self.operators.shape[2:]
        written = self.operators.reshape(-1, width).take(most * kind + form, axis=0)
        if not joined.any():
            return written
        written, joint = _same_width(written, self.joining[joined])
        return np.where((joined == NOTHING)[:, None], written, joint)


class NumeralPieces:
    """Token ids of numbers in words, from sections of three digits."""

    def __init__(self, tokenizer):
        def rows(british: bool, space: str) -> list[list[int]]:
            return [[], *(tokenizer.encode(space + in_words(i, british)) for i in range(1, 1000))]

        sections = table([rows(british, space) for british in (False, True) for space in ("", " ")])
        self.section = sections.reshape(-1, sections.shape[-1])  # (1000 * (2 * british + spaced) + section, L); nothing for 0
        self.zero = table([tokenizer.encode("zero"), tokenizer.encode(" zero")])
        self.thousand, self.link, self.point = (table([tokenizer.encode(word)]) for word in (" thousand", " and", " point"))
        self.digit = table([tokenizer.encode(" " + in_words(i)) for i in range(10)])


@dataclass
class Spoken:
    """Which numbers are in words: `where` (n, K+1); integer / 10^decimals as numbers, decimals (n, K+1); british (n,), with "and"."""

    pieces: NumeralPieces
    where: np.ndarray
    numbers: np.ndarray
    decimals: np.ndarray
    british: np.ndarray

    def add(self, out: "Columns", i: int, gap: np.ndarray) -> None:
        """Writes leaf i of each example that has it in words, with a space before it where `gap` (n,) is 1."""
        p, here, decimals = self.pieces, self.where[:, i], self.decimals[:, i]
        whole, part = np.divmod(np.where(here, self.numbers[:, i], 0), 10**decimals)
        thousands, rest = np.divmod(whole, 1000)
        many, kind = here & (thousands > 0), 2 * self.british
        out.add(np.take(p.section, 1000 * (kind + gap) + thousands, axis=0))
        out.add(np.where(many[:, None], p.thousand, -1))
        out.add(np.where((many & (self.british == 1) & (rest > 0) & (rest < 100))[:, None], p.link, -1))
        out.add(np.take(p.section, 1000 * (kind + np.maximum(gap, many)) + rest, axis=0))
        out.add(np.where((here & (whole == 0))[:, None], p.zero[gap], -1))
        out.add(np.where((here & (decimals > 0))[:, None], p.point, -1))
        for place in range(int(decimals.max(initial=0))):
            digit = part // 10 ** np.maximum(decimals - 1 - place, 0) % 10
            out.add(np.where((here & (decimals > place))[:, None], p.digit[digit], -1))


class Columns:
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
        wide = np.concatenate(self.parts, axis=1).ravel()  # numpy is several times faster in one dimension
        present = wide >= 0
        count = np.cumsum(present, dtype=np.int32).reshape(self.n, self.width)  # from the first row on
        end = count[:, -1].astype(np.int64)
        begin = np.concatenate([[0], end[:-1]])[: self.n]
        length = end - begin
        ids = np.zeros((self.n, int(length.max(initial=1))), dtype=np.int32)
        ids[np.arange(ids.shape[1]) < length[:, None]] = wide.take(np.flatnonzero(present))  # both in reading order
        return ids, length, [[count[:, c - 1] - begin - 1 for c in group] for group in spots]


def _single(ids: list[int]) -> int:
    if len(ids) != 1:
        raise ValueError("this tokenizer does not give every digit a token of its own")
    return ids[0]


def table(rows: list) -> np.ndarray:
    """Lists of token ids as an array, -1 behind the shorter ones; lists of such lists get a dimension more."""
    if rows and rows[0] and isinstance(rows[0][0], list):
        width = max(len(row) for part in rows for row in part)
        return np.stack([_filled(part, width) for part in rows])
    return _filled(rows, max(map(len, rows)))


def _filled(rows: list[list[int]], width: int) -> np.ndarray:
    return np.array([row + [-1] * (width - len(row)) for row in rows], dtype=np.int32)


def _same_width(a: np.ndarray, b: np.ndarray):
    width = max(a.shape[1], b.shape[1])
    return [np.pad(x, [(0, 0), (0, width - x.shape[1])], constant_values=-1) for x in (a, b)]
