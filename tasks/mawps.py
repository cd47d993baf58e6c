"""MAWPS: arithmetic word problems gathered from the web.

It shares problems with ASDiv: a model trained on it should not be measured on that.
"""

from tasks.answers import LastNumberTask, print_number
from tasks.plans import planned_answer


class MAWPS(LastNumberTask):
    """Rows have a text whose punctuation stands apart, and a number."""

    name = "mawps"
    assets = {"train": "mawps/train", "val": "mawps/validation", "test": "mawps/test"}

    def conversation(self, row: dict) -> dict:
        words = row["original_text"].strip()
        for mark in ".,?!":
            words = words.replace(f" {mark}", mark)
        return planned_answer(words, str(row.get("equation", "")).rpartition("=")[2], print_number(row["ans"]))
