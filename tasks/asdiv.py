"""ASDiv: diverse arithmetic word problems of grades 1 to 6 (chaochun/nlu-asdiv-dataset, CC BY-NC 4.0: for evaluation)."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from nanochat.common import UserError
from tasks.answers import LastNumberTask, parse_number, print_number
from tasks.plans import composed, planned_answer


class ASDiv(LastNumberTask):
    """Only a test split, and only the problems whose answer is one number."""

    name = "asdiv"
    splits = ("test",)
    assets = {"test": "asdiv"}

    def read(self, path: Path) -> list[dict]:
        try:
            problems = ElementTree.parse(path).iter("Problem")
        except ElementTree.ParseError as error:
            raise UserError(f"{path} is not valid XML ({error}); fetch it again") from None
        rows = [{child.tag: (child.text or "").strip() for child in problem} for problem in problems]
        return [{**row, "number": number} for row in rows if (number := single_number(row["Answer"])) is not None]

    def conversation(self, row: dict) -> dict:
        equations = (equation.partition("=")[::2] for equation in row.get("Formula", "").split(";"))
        expression = composed(equations, parse_number(row["number"]))
        return planned_answer(f"{row['Body']} {row['Question']}", expression, row["number"])


def single_number(answer: str) -> str | None:
    """The number of an answer such as `9 (apples)`; None if it is a list, a time or words."""
    try:
        return print_number(answer.partition("(")[0].strip())
    except ValueError:
        return None
