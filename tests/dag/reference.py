"""An independent reader of expressions with exact fractions: the oracle the generator is held against."""

import re
from fractions import Fraction

PHRASES = {
    "plus": "+",
    "added to": "+",
    "minus": "-",
    "times": "*",
    "multiplied by": "*",
    "divided by": "/",
    "over": "/",
    "×": "*",
    "÷": "/",
    "−": "-",
}


def expression_in(text: str) -> str:
    """The arithmetic in a question, in symbols."""
    for phrase, symbol in PHRASES.items():
        text = text.replace(phrase, symbol)
    return "".join(re.findall(r"[-+*/()\d.]+", text)).rstrip(".")


def calculate(text: str) -> Fraction:
    """The exact value of an infix expression, by recursive descent."""
    tokens = re.findall(r"\d+(?:\.\d+)?|[-+*/()]", text)
    assert "".join(tokens) == text, text

    def take():
        return tokens.pop(0)

    def factor():
        if tokens[0] == "(":
            take()
            value = total()
            assert take() == ")"
            return value
        return Fraction(take())

    def product():
        value = factor()
        while tokens and tokens[0] in "*/":
            value = value * factor() if take() == "*" else value / factor()
        return value

    def total():
        value = product()
        while tokens and tokens[0] in "+-":
            value = value + product() if take() == "+" else value - product()
        return value

    result = total()
    assert not tokens, text
    return result


def full_brackets(text: str) -> str:
    """The canonical form: the same expression with every operation in brackets."""
    tokens = re.findall(r"\d+(?:\.\d+)?|[-+*/()]", text)

    def factor():
        if tokens[0] == "(":
            tokens.pop(0)
            value = level("+-", lambda: level("*/", factor))
            tokens.pop(0)
            return value
        return tokens.pop(0)

    def level(symbols, inner):
        value = inner()
        while tokens and tokens[0] in symbols:
            value = f"({value}{tokens.pop(0)}{inner()})"
        return value

    return level("+-", lambda: level("*/", factor))
