"""The calculator tool: what stands between <|python_start|> and <|python_end|> becomes a number, or nothing.

    calculate("12 + 30*2")              "72"
    calculate("(1,000 - 1) / 8")        "124.875"
    calculate("'strawberry'.count('r')") "3"
    calculate("2**99")                  None

A parser of its own over exact fractions: nothing is ever given to `eval`, there are no powers, no names and no attributes,
so the longest accepted text takes well under a millisecond.

    sum     = product (("+" | "-") product)*
    product = factor (("*" | "/") factor)*
    factor  = ("+" | "-") factor | "(" sum ")" | number
    number  = 12 | 12.5 | .5 | 12. | 1,250,000.75
"""

import re
from fractions import Fraction

MOST_CHARACTERS = 256
DEEPEST = 40  # nested brackets and signs
PRINTED_DECIMALS = 6
MOST_DIGITS = 40  # of a printed result

_TOKEN = re.compile(r"\s*(?:(?P<number>\d+(?:,\d{3})*(?:\.\d*)?|\.\d+)|(?P<sign>[-+*/()]))")
_TYPOGRAPHY = str.maketrans({"×": "*", "÷": "/", "−": "-"})
_COUNT = re.compile(r"""\s*(?P<q>['"])(?P<text>[^'"\\\n]*)(?P=q)\s*\.\s*count\(\s*(?P<r>['"])(?P<part>[^'"\\\n]+)(?P=r)\s*\)\s*""")


def calculate(expression: str) -> str | None:
    """The value of `expression` as a person writes it, None if it is not arithmetic, divides by zero or is too large."""
    if len(expression) > MOST_CHARACTERS:
        return None
    count = _COUNT.fullmatch(expression)
    if count:
        return str(count["text"].count(count["part"]))
    try:
        return format_number(_Parser(expression).value())
    except (ValueError, ZeroDivisionError):
        return None


def format_number(value: Fraction) -> str:
    """Up to PRINTED_DECIMALS decimals, rounded half to even, no trailing zeros; ValueError beyond MOST_DIGITS digits."""
    scaled = round(abs(value) * 10**PRINTED_DECIMALS)
    whole, decimals = divmod(scaled, 10**PRINTED_DECIMALS)
    if whole >= 10**MOST_DIGITS:
        raise ValueError("the result is too large")
    fraction = f"{decimals:0{PRINTED_DECIMALS}d}".rstrip("0")
    return ("-" if value < 0 and scaled else "") + str(whole) + ("." + fraction if fraction else "")


class _Parser:
    """Recursive descent over the grammar above. ValueError where the text leaves it."""

    def __init__(self, text: str):
        self.tokens, self.depth = _tokens(text.translate(_TYPOGRAPHY)), 0

    def value(self) -> Fraction:
        result = self._sum()
        if self.tokens:
            raise ValueError(f"nothing may follow the expression, but {self.tokens[-1]!r} does")
        return result

    def _take(self, *allowed: str) -> str | None:
        """The next token, if it is one of `allowed`."""
        return self.tokens.pop() if self.tokens and self.tokens[-1] in allowed else None

    def _sum(self) -> Fraction:
        result = self._product()
        while sign := self._take("+", "-"):
            right = self._product()
            result = result + right if sign == "+" else result - right
        return result

    def _product(self) -> Fraction:
        result = self._factor()
        while sign := self._take("*", "/"):
            right = self._factor()
            result = result * right if sign == "*" else result / right
        return result

    def _factor(self) -> Fraction:
        self.depth += 1
        if self.depth > DEEPEST:
            raise ValueError("too deeply nested")
        if sign := self._take("+", "-"):
            result = self._factor() if sign == "+" else -self._factor()
        elif self._take("("):
            result = self._sum()
            if not self._take(")"):
                raise ValueError("a bracket is not closed")
        elif self.tokens and (self.tokens[-1][0].isdigit() or self.tokens[-1][0] == "."):
            result = Fraction(self.tokens.pop().replace(",", ""))
        else:
            raise ValueError("a number is missing")
        self.depth -= 1
        return result


def _tokens(text: str) -> list[str]:
    """Numbers and signs, the first one last. ValueError at anything else."""
    tokens, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match or not text.isascii():
            raise ValueError(f"{text[at]!r} is not arithmetic")
        tokens.append(match["number"] or match["sign"])
        at = match.end()
    return tokens[::-1]
