"""OpenBookQA: elementary science questions with four options (allenai/openbookqa)."""

import re

from tasks.common import MultipleChoice

_OPTION = re.compile(r"\s*Answer(\d+):\s*")


class OpenBookQA(MultipleChoice):
    """Rows are the Hugging Face ones (question_stem, choices, answerKey) or the instruction form (`Answer1: ... Answer2: ...`)."""

    name = "openbookqa"
    assets = {split: f"openbookqa/{file}" for split, file in (("train", "train"), ("val", "validation"), ("test", "test"))}

    def choice(self, row: dict) -> tuple[str, list[str], int]:
        if "question_stem" in row:
            options = row["choices"]
            return row["question_stem"], options["text"], options["label"].index(row["answerKey"].strip())
        body = row["instruction"].partition("the question:")[2].partition("\n\nAnswer format:")[0]
        question, *rest = _OPTION.split(body)  # question, "1", option, "2", option, ...
        return question, [option.strip() for option in rest[1::2]], rest[0::2].index(row["answer"].removeprefix("answer"))
