"""Plans for answers whose arithmetic a data set gives: what a message or a part of it carries beside its text.

    computed("(22-14)/4", "2")      {"plan": [["subtract", "v22", "v14"], ["divide", "s0", "v4"]]}
    computed("10/3", "3.33")        {"unplanned": "another number is printed"}

`unplanned` only says why there is no plan (`scripts/dag_labels.py` counts it); nothing is trained on it.
"""

import re
from collections.abc import Iterable
from fractions import Fraction

from nanochat.data.formulas import plan_of
from nanochat.infer.calculator import calculate
from tasks.answers import parse_number

NOT_GIVEN = "no expression gives the answer"
NOT_ARITHMETIC = "not arithmetic"
ANOTHER_NUMBER = "another number is printed"
_LITERAL = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?|\.\d+")


def computed(expression: str, printed: str) -> dict:
    """`plan`, if `expression` has exactly the value `printed` (to the decimals we print), else why there is none."""
    if not expression.strip():
        return {"unplanned": NOT_GIVEN}
    try:
        plan = plan_of(expression)
    except ValueError:
        return {"unplanned": NOT_ARITHMETIC}
    value = calculate(expression)
    if value is None:
        return {"unplanned": NOT_ARITHMETIC}
    return {"plan": plan} if parse_number(value) == parse_number(printed) else {"unplanned": ANOTHER_NUMBER}


def composed(equations: Iterable[tuple[str, str]], number: Fraction) -> str:
    """One expression of the value `number`, the (expression, value) before it put in for their values. "" if none of them gives it.

    [("3*4", "12"), ("12-2", "10")] and 10 give ((3*4)-2).
    """
    found: dict[Fraction, str] = {}
    for expression, value in equations:
        whole = _LITERAL.sub(lambda m: found.get(parse_number(m[0]), m[0]), expression.strip())
        printed = parse_number(value)
        if printed is not None and not _LITERAL.fullmatch(expression.strip()):
            found[printed] = f"({whole})"
    return found.get(number, "")


def planned_answer(question: str, expression: str, answer: str) -> dict:
    """A conversation of a question and its bare number, with the plan of `expression` where that is how it is computed."""
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer, **computed(expression, answer)}]}
