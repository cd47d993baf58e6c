"""Written arithmetic as the steps of a plan: what data sets give as an equation or between `<<` and `>>`.

    plan_of("(22.0-14)/4")      [["subtract", "v22", "v14"], ["divide", "s0", "v4"]]

"v22" is a number of the value 22 in the text the plan belongs to (`conversations.py`); which one is settled when that text is read.
"""

import ast
import re
from decimal import Decimal

MOST_CHARACTERS = 256
_OPERATIONS = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide"}
_SIGNS = str.maketrans({"×": "*", "÷": "/", "−": "-", "$": None})
_REWRITTEN = (
    (re.compile(r"(?<=\d),(?=\d{3})"), ""),  # 1,000
    (re.compile(r"(?<![\d.])0+(?=\d)"), ""),  # 05
    (re.compile(r"(\d+(?:\.\d+)?|\.\d+)%"), r"(\1*0.01)"),  # 20%
)


def plan_of(expression: str) -> list[list[str]]:
    """The steps in the order of calculation, equal ones once; a bare number is an identity. ValueError if it is not arithmetic."""
    text = expression.strip().translate(_SIGNS)
    for pattern, replacement in _REWRITTEN:
        text = pattern.sub(replacement, text)
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"more than {MOST_CHARACTERS} characters")
    steps: list[list[str]] = []
    try:
        result = _operand(ast.parse(text, mode="eval").body, steps)
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError(f"{expression!r} is not arithmetic") from None
    return steps or [["identity", result, result]]


def _operand(node: ast.expr, steps: list[list[str]]) -> str:
    """The operand that stands for an expression, after appending the steps that compute it."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return f"v{plain(node.value)}"
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        return _step(steps, _OPERATIONS[type(node.op)], _operand(node.left, steps), _operand(node.right, steps))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        inner = _operand(node.operand, steps)
        return inner if isinstance(node.op, ast.UAdd) else _step(steps, "subtract", "c0", inner)
    raise ValueError("only numbers, + - * / and brackets are arithmetic here")


def _step(steps: list[list[str]], *step: str) -> str:
    if list(step) not in steps:
        steps.append(list(step))
    return f"s{steps.index(list(step))}"


def plain(value: float) -> str:
    """A number as people write it: `22` for 22.0, never with an exponent. ValueError if it is infinite."""
    number = Decimal(repr(value))
    if not number.is_finite():
        raise ValueError(f"{value} is not a number to calculate with")
    return f"{number:f}" if number % 1 else f"{int(number)}"
