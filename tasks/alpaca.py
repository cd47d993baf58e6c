"""Alpaca: single instructions and their answers (tatsu-lab/alpaca, CC BY-NC 4.0: not for commercial models)."""

from collections.abc import Sequence

from tasks import files
from tasks.common import Task, question_answer


class Alpaca(Task):
    """Rows have an instruction, an input that may be empty, and an output."""

    name = "alpaca"
    kind = "chat"
    splits = ("train", "val")
    assets = {"train": "alpaca"}

    def load(self) -> Sequence:
        rows = super().load()
        return files.select(rows, (bool(row["output"].strip()) for row in rows))

    def conversation(self, row: dict) -> dict:
        question = "\n\n".join(part.strip() for part in (row["instruction"], row["input"]) if part.strip())
        return question_answer(question, row["output"].strip())
