"""SVAMP: arithmetic word problems reworded so that surface cues mislead (ChilleD/SVAMP, MIT)."""

from tasks.answers import LastNumberTask, print_number
from tasks.plans import planned_answer


class SVAMP(LastNumberTask):
    """Rows have a body, a question about it, and a number."""

    name = "svamp"
    assets = {"train": "svamp/train", "test": "svamp/test"}

    def conversation(self, row: dict) -> dict:
        body = row["Body"].strip()
        stop = "" if body.endswith((".", ",", "?")) else "."
        question = f"{body}{stop} {row['Question'].strip()}"
        return planned_answer(question, str(row.get("Equation", "")), print_number(row["Answer"]))
