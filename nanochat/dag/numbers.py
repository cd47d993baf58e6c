"""Reading numbers from token ids, and printing them.

Reading is deterministic, causal and without look-ahead: at every token the numbers are those of the text so far, an open
number has the value of its prefix, and only a later token may extend it. It is done for all tokens at once with cumulative
sums and a parallel prefix scan (Hillis and Steele, 1986), so it runs inside the forward pass.

What is a number: digits, one decimal point between digits, commas between digits (thousands), and a minus sign in front of the
first digit where no left operand can be: at the start, after an opening bracket, an operator or a word.
"""

import math
from dataclasses import dataclass

import torch

OTHER, DIGIT, DOT, COMMA, SPACE, MINUS, OPERATOR, OPEN, CLOSE, SPECIAL = range(10)
_KINDS = {".": DOT, ",": COMMA, "-": MINUS, "−": MINUS, "(": OPEN, ")": CLOSE} | dict.fromkeys("+*/=×÷", OPERATOR)
MOST_DIGITS = 15  # every integer of so many digits is a float64 value; a longer number reads as infinite, which nothing computes with
SCAN_ROUNDS = 5  # the scan covers spans of 2^5 tokens
PRINTED_DECIMALS = 6
LARGEST = 2.0**53  # beyond it neighbouring integers are not float64 values


class NumberTable(torch.nn.Module):
    """What each token id means to the reader: buffers `kind` (V,), `digit` (V,) and `spaced` (V,), rebuilt from the tokenizer."""

    def __init__(self, tokenizer):
        super().__init__()
        size = tokenizer.vocab_size
        kind, digit, spaced = torch.zeros(size, dtype=torch.int8), torch.zeros(size), torch.zeros(size, dtype=torch.bool)
        for i in range(size):
            try:
                text = tokenizer.decode_bytes([i]).decode()
            except UnicodeDecodeError:
                continue
            bare = text.strip(" ")
            spaced[i] = text.startswith(" ")
            if not text or tokenizer.token_bytes[i] == 0:
                kind[i] = SPECIAL
            elif text.isspace():
                kind[i] = SPACE
            elif text.isascii() and text.isdigit() and len(text) == 1:
                kind[i], digit[i] = DIGIT, int(text)
            elif bare in _KINDS and (text == bare or bare not in ".,"):
                kind[i] = _KINDS[bare]
        self.register_buffer("kind", kind, persistent=False)
        self.register_buffer("digit", digit.double(), persistent=False)
        self.register_buffer("spaced", spaced, persistent=False)


@dataclass
class Reading:
    """What the reader found; all (B, T).

    value     float64: the value of the number prefix that ends here; 0 where no digit stands
    number    bool: a digit stands here
    absorbs   int64: how many earlier words this token takes into itself (the digits, sign or space before it)
    absorbed  bool: some later token of this sequence has taken this one in
    space     bool: white space
    anchor    bool: a token that may plan: not part of a number, nor a space, point or sign that may become part of one
    depth     int64: brackets opened less brackets closed in the document so far
    """

    value: torch.Tensor
    number: torch.Tensor
    absorbs: torch.Tensor
    absorbed: torch.Tensor
    space: torch.Tensor
    anchor: torch.Tensor
    depth: torch.Tensor


def _shift(x: torch.Tensor, by: int, fill) -> torch.Tensor:
    """x[:, t - by], `fill` before the start."""
    return torch.cat([torch.full_like(x[:, :by], fill), x[:, : x.shape[1] - by]], dim=1) if by < x.shape[1] else torch.full_like(x, fill)


def _last_where(flag: torch.Tensor) -> torch.Tensor:
    """(B, T) index of the latest position <= t where `flag` holds, -1 where there is none."""
    at = torch.arange(flag.shape[1], device=flag.device).expand_as(flag)
    return torch.where(flag, at, -1).cummax(dim=1).values


def _at(x: torch.Tensor, index: torch.Tensor, fill) -> torch.Tensor:
    """x[b, index[b, t]], `fill` where the index is negative."""
    return torch.where(index >= 0, x.gather(1, index.clamp(min=0)), fill)


def _ahead(x: torch.Tensor, by: int) -> torch.Tensor:
    """x[:, t + by], zero past the end."""
    return _shift(x.flip(1), by, 0).flip(1)


def read_numbers(idx: torch.Tensor, table: NumberTable, document: torch.Tensor) -> Reading:
    """Reads `idx` (B, T) int64. `document` (B, T) numbers the documents of a packed row: each begins with a special token, which
    no number can cross."""
    kind = table.kind[idx]
    before, before2 = _shift(kind, 1, SPECIAL), _shift(kind, 2, SPECIAL)
    digit = kind == DIGIT
    after_dot = digit & (before == DOT) & (before2 == DIGIT)
    linked = digit & ((before == DIGIT) | after_dot | ((before == COMMA) & (before2 == DIGIT)))
    # A chain is digits linked directly or over one point. In it every second dot ends a number: 1.2.3 reads as 1.2 and 3.
    dots = after_dot.long().cumsum(1)
    dots = dots - _at(dots, _last_where(digit & ~linked), 0)
    start = digit & (~linked | (after_dot & (dots % 2 == 0)))
    first = _last_where(start)
    fraction = (digit & (dots % 2 == 1)).long().cumsum(1)
    decimals = fraction - _at(fraction, first, 0)

    # A minus is a sign where it does not touch a word and no left operand stands before it.
    solid = _shift(_last_where(kind != SPACE), 1, -1)
    left = _at(kind, solid, SPECIAL)
    touches_word = ~table.spaced[idx] & (before == OTHER)
    sign = (kind == MINUS) & ~touches_word & (left != DIGIT) & (left != CLOSE)
    signed = _shift(sign, 1, False)
    negative = _at((start & signed).long(), first, 0) == 1

    extends = digit & ~start
    magnitude, length = _fold(digit, start, extends & (before != DIGIT), table.digit[idx], first)
    value = torch.where(negative, -magnitude, magnitude) / 10.0 ** decimals.double()
    value = torch.where(length > MOST_DIGITS, math.inf, value)
    value = torch.where(digit, value, 0.0)

    absorbs = torch.where(extends, torch.where(before == DIGIT, 1, 2), torch.where(start & ((before == SPACE) | signed), 1, 0))
    absorbed = (_ahead(absorbs, 1) >= 1) | (_ahead(absorbs, 2) >= 2)
    pending = ((kind == DOT) | (kind == COMMA)) & (before == DIGIT)
    space = kind == SPACE
    return Reading(value, digit, absorbs, absorbed, space, ~(digit | space | pending | sign), _bracket_depth(kind, document))


def _fold(digit, start, over_point, face, first):
    """The integer that the digits of a span spell, by a prefix scan of the maps v -> factor * v + add, and its length in digits.

    `over_point` marks digits that continue their number over a decimal point or comma, which itself maps v to v.
    """
    point = _ahead(over_point, 1)
    factor = torch.where(start | ~(digit | point), 0.0, torch.where(digit, 10.0, 1.0)).double()
    add = torch.where(digit, face, 0.0)
    for r in range(SCAN_ROUNDS):
        add = add + factor * _shift(add, 1 << r, 0.0)
        factor = factor * _shift(factor, 1 << r, 0.0)
    seen = digit.long().cumsum(1)
    return add, seen - _at(seen, first, 0) + 1


def bracket_step(kind: torch.Tensor) -> torch.Tensor:
    """+1 for an opening bracket, -1 for a closing one, else 0."""
    return (kind == OPEN).long() - (kind == CLOSE).long()


def _bracket_depth(kind, document):
    step = bracket_step(kind)
    total = step.cumsum(1)
    begun = _last_where(document != _shift(document, 1, -1))
    return total - _at(total - step, begun, 0)


def documents_of(idx: torch.Tensor, bos: int) -> torch.Tensor:
    """(B, T) number of the document each token of a packed row belongs to: each begins with the token `bos`."""
    return (idx == bos).long().cumsum(1)


def printed_scale(value: float) -> int:
    """How many decimals are looked at when a number is printed: PRINTED_DECIMALS, less where float64 has no digits for them."""
    decimals = PRINTED_DECIMALS
    while decimals and abs(value) * 10.0**decimals >= LARGEST:
        decimals -= 1
    return decimals


def format_value(value: float) -> str | None:
    """The number as a person writes it: no trailing zeros, decimals only when needed; None if float64 cannot vouch for it.

    `value * 10^decimals` is rounded half to even: the one rounding rule of labels, execution, emission and evaluation.
    """
    if not math.isfinite(value) or abs(value) >= LARGEST:
        return None
    decimals = printed_scale(value)
    scaled = round(abs(value) * 10.0**decimals)
    whole, part = divmod(scaled, 10**decimals)
    fraction = f"{part:0{decimals}d}".rstrip("0") if decimals else ""
    return ("-" if value < 0 and scaled else "") + str(whole) + ("." + fraction if fraction else "")
