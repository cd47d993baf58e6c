"""MMLU: exam questions of 57 subjects with four options (cais/mmlu, MIT).

train is the auxiliary training set (other exams), val the validation files, test the test files.
"""

from tasks.common import LETTERS, MultipleChoice


class MMLU(MultipleChoice):
    """Rows are the Hugging Face ones, or headerless CSV lines: question, four options, letter."""

    name = "mmlu"
    assets = {"train": "mmlu/auxiliary_train", "val": "mmlu/validation", "test": "mmlu/test"}

    def choice(self, row) -> tuple[str, list[str], int]:
        if isinstance(row, list):
            question, *options, answer = row
            return question, options, LETTERS.index(answer.strip())
        row = row.get("train") or row  # one published form wraps its rows in a column of that name
        answer = row["answer"]
        return row["question"], row["choices"], LETTERS.index(answer) if isinstance(answer, str) else int(answer)
