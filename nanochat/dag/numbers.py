"""Reading numbers from token ids, and printing them.

Reading is deterministic, causal and without look-ahead: at every token the numbers are those of the text so far, an open
number has the value of its prefix, and only a later token may extend it. It is done for all tokens at once with cumulative
sums and a parallel prefix scan (Hillis and Steele, 1986), so it runs inside the forward pass.

What is a number: digits, one decimal point between digits or before the first (where nothing touches it that could end a sentence),
and a minus sign in front of that where no left operand can be: at the start, after an opening bracket, an operator or a word;
`numerals.py` adds English words. An ordinal is none: the ending takes the digits of "21st" back.

A comma between digits makes thousands only with exactly three digits behind it, which is known when the third arrives: up to then
they are a number of their own ("1,2" is 1 and 2, "1,23" is 1 and 23), and the third takes in what stands before the comma (1,234 is
one number). Before the first comma stand one to three digits, the first not 0, and no point. A fourth digit makes it a thing that
cannot be read: its value is infinite, which nothing computes with. Other commas separate numbers. LaTeX's {,} is such a comma.
"""

import math
from dataclasses import dataclass

import torch

from nanochat.dag.numerals import (
    LARGEST,
    MOST_DIGITS,
    MOST_WORDS,
    NONE,
    Digits,
    NumeralTable,
    ahead,
    find_words,
    last_where,
    read_numerals,
    shift,
    take,
)

KINDS = 14
OTHER, DIGIT, DOT, COMMA, SPACE, MINUS, OPERATOR, OPEN, CLOSE, SPECIAL, PERCENT, CURRENCY, BRACE, UNBRACE = range(KINDS)
_KINDS = {".": DOT, ",": COMMA, "-": MINUS, "−": MINUS, "%": PERCENT} | dict.fromkeys("+*/=×÷", OPERATOR) | dict.fromkeys("$€£", CURRENCY)
OPENING, CLOSING = "({", ")}"  # braces are the brackets of LaTeX
BEFORE_POINT = (SPACE, MINUS, OPERATOR, OPEN, BRACE, SPECIAL, CURRENCY)  # what a point may follow that begins a number
ORDINAL_ENDINGS = ("st", "nd", "rd", "th")
WHOLE = 1 << len(ORDINAL_ENDINGS)  # an ending that is one token
SCAN_ROUNDS = 5  # the scan covers spans of 2^5 tokens: 15 digits, a point, and {,} four times are 28
PRINTED_DECIMALS = 6
DECIMALS = (PRINTED_DECIMALS, 0, 1, 2, 3, 4)  # how a number may be printed: as it is, or rounded


class NumberTable(torch.nn.Module):
    """What each token id means to the reader: buffers `kind`, `digit`, `spaced`, `step`, `ending` (V,), rebuilt from the tokenizer.

    `step` is how many brackets a token opens less those it closes. `ending` (2, V) tells endings of ordinals: bits of those a token is
    or begins, and of those it ends, ORDINAL_ENDINGS by place and then WHOLE. `window` is how many tokens back a number can depend on.
    """

    def __init__(self, tokenizer):
        super().__init__()
        size = tokenizer.vocab_size
        kind, digit, spaced = torch.zeros(size, dtype=torch.int8), torch.zeros(size), torch.zeros(size, dtype=torch.bool)
        step, ending = torch.zeros(size, dtype=torch.long), torch.zeros(2, size, dtype=torch.int8)
        for i in range(size):
            try:
                text = tokenizer.decode_bytes([i]).decode()
            except UnicodeDecodeError:
                continue
            bare = text.strip(" ")
            spaced[i] = text.startswith(" ")
            ending[:, i] = torch.tensor([sum((e[n] == text) << bit for bit, e in enumerate(ORDINAL_ENDINGS)) for n in (0, 1)])
            ending[:, i] += WHOLE * (text in ORDINAL_ENDINGS)
            if not text or tokenizer.token_bytes[i] == 0:
                kind[i] = SPECIAL
                continue
            step[i] = sum((c in OPENING) - (c in CLOSING) for c in text)
            if text.isspace():
                kind[i] = SPACE
            elif text.isascii() and text.isdigit() and len(text) == 1:
                kind[i], digit[i] = DIGIT, int(text)
            elif bare in _KINDS and (text == bare or bare not in ".,"):
                kind[i] = _KINDS[bare]
            elif text in "{}":
                kind[i] = BRACE if text == "{" else UNBRACE
            elif bare[-1] in OPENING + CLOSING:
                kind[i] = OPEN if bare[-1] in OPENING else CLOSE
        self.register_buffer("kind", kind, persistent=False)
        self.register_buffer("digit", digit.double(), persistent=False)
        self.register_buffer("spaced", spaced, persistent=False)
        self.register_buffer("step", step, persistent=False)
        self.register_buffer("ending", ending, persistent=False)
        self.register_buffer("before_point", torch.tensor([k in BEFORE_POINT for k in range(KINDS)]), persistent=False)
        self.numerals = NumeralTable(tokenizer)
        self.window = MOST_WORDS * self.numerals.longest


@dataclass
class Reading:
    """What the reader found; all (B, T).

    value     float64: the value of the number prefix that ends here; 0 where none does
    number    bool: a digit or the last token of a numeral word stands here
    absorbs   int64: how many earlier words this token takes into itself (the digits, words, sign or space before it)
    reach     int64: how many tokens back the first of those begins
    absorbed  bool: some later token of this sequence has taken this one in
    space     bool: white space
    anchor    bool: a token that may plan: not part of a number, nor a space, point, sign or part of a word that may become one
    depth     int64: brackets opened less brackets closed in the document so far
    """

    value: torch.Tensor
    number: torch.Tensor
    absorbs: torch.Tensor
    reach: torch.Tensor
    absorbed: torch.Tensor
    space: torch.Tensor
    anchor: torch.Tensor
    depth: torch.Tensor


def absorbed_by(reach: torch.Tensor) -> torch.Tensor:
    """(B, T) bool: which tokens lie within the `reach` of a later one."""
    at = torch.arange(reach.shape[1], device=reach.device)
    earliest = (at - reach).flip(1).cummin(dim=1).values.flip(1)  # of this and all later tokens
    return torch.cat([earliest[:, 1:], torch.full_like(earliest[:, :1], reach.shape[1])], dim=1) <= at


def read_numbers(idx: torch.Tensor, table: NumberTable, document: torch.Tensor, last_only: bool = False) -> Reading:
    """Reads `idx` (B, T) int64. `document` (B, T) numbers the documents of a packed row: each begins with a special token, which
    no number can cross. `last_only`: what is said of tokens before the last need not be right."""
    kind, spaced, words = table.kind[idx], table.spaced[idx], find_words(idx, table.numerals)
    space, before = kind == SPACE, shift(kind, 1, SPECIAL)
    half, ordinal = _ordinals(table.ending[:, idx], before == DIGIT, words)
    sign, marks = _sign(kind, spaced, space, before, words), _marks(kind, before, table)
    digits, absorbs, reach = _read_digits(kind, before, table.digit[idx], sign, spaced, marks)
    number, value = digits.digit, digits.value
    waits = number | space | sign | marks.waits | half
    if words is not None and not (last_only and bool((words.kind[:, -2:] == NONE).all())):
        numerals = read_numerals(words, table.numerals, digits, space & spaced, (kind == MINUS) & ~spaced)
        absorbs, reach = absorbs + numerals.absorbs, reach + numerals.absorbs  # no token is both
        number, value, waits = number | numerals.number, numerals.value, waits | numerals.number | numerals.pending
    absorbs, reach = absorbs + ordinal, reach + ordinal
    value = torch.where(number, value, 0.0)
    return Reading(value, number, absorbs, reach, absorbed_by(reach), space, ~waits, _bracket_depth(table.step[idx], document))


def _ordinals(ending, after_digit, words):
    """(B, T) bool: the first letter of what may be the ending of an ordinal; (B, T) int64: at its last, how many words it takes in, the
    number among them. The rest of a word that begins so is no numeral: "5thousand" is none where it is spelt "th" + "ousand"."""
    begun, ended = ending
    half = after_digit & (begun > 0) & (begun != WHOLE)
    second = (shift(torch.where(half, begun, 0), 1, 0) & ended) > 0
    ordinal = second * 2 + (after_digit & (begun == WHOLE)).long()
    if words is not None:
        words.kind = torch.where(last_where(ordinal > 0) >= words.begin, NONE, words.kind)
    return half, ordinal


@dataclass
class _Marks:
    """Points and commas, all (B, T). leads: a point with which a number may begin; joint: the last token of a comma behind a digit;
    braced: of these, those of LaTeX, {,}; waits: what may still become a part of a number."""

    leads: torch.Tensor
    joint: torch.Tensor
    braced: torch.Tensor
    waits: torch.Tensor


def _marks(kind, before, table: NumberTable) -> _Marks:
    comma, after_digit = kind == COMMA, before == DIGIT
    leads = table.before_point[before.long()] & (kind == DOT)
    brace = (kind == BRACE) & after_digit
    comma_in_brace = comma & shift(brace, 1, False)
    braced = (kind == UNBRACE) & shift(comma_in_brace, 1, False)
    waits = leads | (((kind == DOT) | comma) & after_digit) | brace | comma_in_brace | braced
    return _Marks(leads, (comma & after_digit) | braced, braced, waits)


def _sign(kind, spaced, space, before, words):
    """(B, T) bool: a minus is a sign where it does not touch a word and no left operand stands before it."""
    solid = shift(last_where(~space), 1, -1)
    left = take(kind, solid, SPECIAL)
    sign = (kind == MINUS) & ~(~spaced & (before == OTHER)) & (left != DIGIT) & (left != CLOSE) & (left != UNBRACE) & (left != PERCENT)
    return sign if words is None else sign & ~take(words.number, solid, False)


def _read_digits(kind, before, face, sign, spaced, marks: _Marks) -> tuple[Digits, torch.Tensor, torch.Tensor]:
    """Numbers in digits; absorbs (B, T) and reach (B, T). face (B, T): the digit that stands there."""
    digit, before2 = kind == DIGIT, shift(kind, 2, SPECIAL)
    after_dot = digit & (before == DOT) & (before2 == DIGIT)
    pointed = digit & shift(marks.leads, 1, False)  # the first digit of .5
    marked = digit & shift(marks.joint, 1, False)
    some_marked = bool(marked.any())
    grouped = _thousands(digit, before, marked, after_dot | pointed, face) if some_marked else marked
    linked = digit & ((before == DIGIT) | after_dot | grouped)
    # A chain is digits linked directly or over one point. In it every second dot ends a number: 1.2.3 reads as 1.2 and 3.
    dots, chain = after_dot.long().cumsum(1), last_where(digit & ~linked)
    dots = dots - take(dots, chain, 0) + take(pointed.long(), chain, 0)
    start = digit & (~linked | (after_dot & (dots % 2 == 0)))
    first = last_where(start)
    decimal = (digit & (dots % 2 == 1)).long()
    total = decimal.cumsum(1)
    decimals = total - take(total - decimal, first, 0)

    in_front = [torch.where(pointed, shift(sign, n + 1, False), shift(sign, n, False)) for n in (1, 2)]  # signs before it, and before that
    currency, blank = (torch.where(pointed, shift(x, 2, False), shift(x, 1, False)) for x in ((kind == CURRENCY) & ~spaced, kind == SPACE))
    negative = take((start & (in_front[0] | (currency & in_front[1]))).long(), first, 0) == 1

    extends = digit & ~start
    magnitude, length = _fold(digit, start, extends & (before != DIGIT), shift(marks.braced, 1, False), face, first)
    value = torch.where(negative, -magnitude, magnitude) / 10.0 ** decimals.double()
    value = torch.where(length > MOST_DIGITS, math.inf, value)
    begun = (start & (blank | in_front[0])).long() + pointed.long()
    absorbs = torch.where(extends, torch.where(before == DIGIT, 1, 2), begun)
    reach = absorbs
    digits = Digits(digit, magnitude, decimals, negative, value)
    if some_marked:
        return _with_thousands(digits, absorbs, grouped, shift(marks.braced, 1, False), before, face, first)
    return digits, absorbs, reach


def _thousands(digit, before, marked, in_decimals, face):
    """(B, T) bool: the first digit of three or more behind a comma, where the third joins them to the number before it.

    `marked`: the first digit of a run behind a digit and a comma; `in_decimals`: of one behind a point. The runs before it, back to the
    first, must be as thousands are.
    """
    at, seen = torch.arange(digit.shape[1], device=digit.device), digit.long().cumsum(1)
    run = digit & (before != DIGIT)
    begin = last_where(run)
    first, rank = last_where(run & ~marked), at - begin
    unfit = torch.where(take(marked, begin, False), rank != 2, (rank > 2) | take((face == 0) | in_decimals, begin, False))
    unfit = last_where(digit & ~ahead(digit, 1) & unfit)  # judged at the last digit of a run
    three = marked & ahead(digit, 1) & ahead(digit, 2)
    return three & (seen - take(seen, first, 0) <= MOST_DIGITS - 3) & (shift(unfit, 1, -1) < first)


def _with_thousands(digits: Digits, absorbs, grouped, braced, before, face, first):
    """Puts in what is special behind a comma of thousands: two digits that are a number of their own, one that joins, one too many.
    `braced` (B, T): the first digit behind {,}, which is three words where a comma is one."""
    run = last_where(digits.digit & (before != DIGIT))
    at = torch.arange(face.shape[1], device=face.device)
    rank = torch.where(digits.digit & take(grouped, run, False), at - run, -1)
    value = torch.where(rank == 0, face, torch.where(rank == 1, 10 * shift(face, 1, 0.0) + face, digits.value))
    value = torch.where(last_where(rank > 2) >= first.clamp(min=0), math.inf, value)
    own = (rank == 0) | (rank == 1)
    digits = Digits(
        digits.digit,
        torch.where(own, value, digits.magnitude),
        digits.decimals,
        digits.negative & ~own,
        value,
    )
    more = 2 * take(braced, run, False).long()
    absorbs = torch.where(rank == 0, 0, torch.where(rank == 2, 3 + more, absorbs))
    return digits, absorbs, torch.where(rank == 2, 4 + more, absorbs)


def _fold(digit, start, over_point, braced, face, first):
    """The integer that the digits of a span spell, by a prefix scan of the maps v -> factor * v + add, and its length in digits.

    `over_point` marks digits that continue their number over a decimal point or comma, which itself maps v to v; where they are
    `braced`, that is the three tokens {,}.
    """
    over_braces = over_point & braced
    point = ahead(over_point, 1) | ahead(over_braces, 2) | ahead(over_braces, 3)
    factor = torch.where(start | ~(digit | point), 0.0, torch.where(digit, 10.0, 1.0)).double()
    add = torch.where(digit, face, 0.0)
    for r in range(SCAN_ROUNDS):
        add = add + factor * shift(add, 1 << r, 0.0)
        factor = factor * shift(factor, 1 << r, 0.0)
    seen = digit.long().cumsum(1)
    return add, seen - take(seen, first, 0) + 1


def _bracket_depth(step, document):
    total = step.cumsum(1)
    begun = last_where(document != shift(document, 1, -1))
    return total - take(total - step, begun, 0)


def documents_of(idx: torch.Tensor, bos: int) -> torch.Tensor:
    """(B, T) number of the document each token of a packed row belongs to: each begins with the token `bos`."""
    return (idx == bos).long().cumsum(1)


def printed_scale(value: float, decimals: int = PRINTED_DECIMALS) -> int:
    """How many decimals are looked at when a number is printed: `decimals`, less where float64 has no digits for them."""
    while decimals and abs(value) * 10.0**decimals >= LARGEST:
        decimals -= 1
    return decimals


def format_value(value: float, decimals: int = PRINTED_DECIMALS) -> str | None:
    """The number as a person writes it, rounded to `decimals`: no trailing zeros, decimals only when needed; None if float64 cannot
    vouch for it.

    `value * 10^decimals` is rounded half to even: the one rounding rule of labels, execution, emission and evaluation.
    """
    if not math.isfinite(value) or abs(value) >= LARGEST:
        return None
    decimals = printed_scale(value, decimals)
    scaled = round(abs(value) * 10.0**decimals)
    whole, part = divmod(scaled, 10**decimals)
    fraction = f"{part:0{decimals}d}".rstrip("0") if decimals else ""
    return ("-" if value < 0 and scaled else "") + str(whole) + ("." + fraction if fraction else "")
