"""Finding the answer in what a model wrote: numbers and code. Shared by the tasks whose answers are written out."""

import re
from fractions import Fraction

from tasks.common import Task, answer_text

# 7, -7, 1,234.5, .5; a full stop that only ends a sentence stays outside, and so does the minus of 9-2
NUMBER = r"(?:(?<![\d)])[-−])?(?:\d[\d,]*)?(?:\.\d+|\d)"
_NUMBER = re.compile(NUMBER)
_MARKED = re.compile(r"####\s*[$€£]?\s*(" + NUMBER + ")")
_FENCE = re.compile(r"```[ \t]*(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)


def parse_number(text: str) -> Fraction | None:
    """The exact value of a printed number, thousands separators ignored; None if `text` is not one."""
    text = text.strip().replace(",", "").replace("−", "-")
    return Fraction(text) if re.fullmatch(r"-?(\d+\.?\d*|\.\d+)", text) else None


def marked_number(text: str) -> Fraction | None:
    """The number after the last `####`, GSM8K's mark of a final answer; None without one."""
    found = _MARKED.findall(text)
    return parse_number(found[-1]) if found else None


def last_number(text: str) -> Fraction | None:
    """The last number in `text`; None without one."""
    found = _NUMBER.findall(text)
    return parse_number(found[-1]) if found else None


def code_block(text: str) -> str:
    """The first fenced block of `text` (one that never closes runs to the end), or all of it if nothing is fenced."""
    found = _FENCE.search(text)
    return found.group(1) if found else text


def print_number(value) -> str:
    """`2.0` as `2`, `2.50` as `2.5`: the way an answer is written. ValueError if `value` is not a number."""
    number = float(value)
    return str(int(number)) if number.is_integer() else repr(number)


class LastNumberTask(Task):
    """A task whose answers are numbers: right is the same number, printed last."""

    kind = "generative"

    def evaluate(self, conversation: dict, completion: str) -> bool:
        answer = last_number(completion)
        return answer is not None and answer == last_number(answer_text(conversation))
