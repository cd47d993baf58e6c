"""GSM8K: 8.5 thousand grade-school word problems whose worked answers end in `#### number` (openai/gsm8k, MIT).

Calculator annotations `<<48/2=24>>` in the worked answers become a tool call (`48/2`) and its output (`24`), so that a model
trained on them learns to call the calculator. The output is what our calculator prints, as it will when the model calls it
(`0.2` where the file has `0.20`). `gsm8k_plain` leaves the annotations out: the same text without any tool.
"""

import re

from nanochat.infer.calculator import calculate
from tasks.answers import marked_number
from tasks.common import Task, answer_text, question_answer

ANNOTATION = re.compile(r"<<([^<>=]*)=([^<>]*)>>")


def answer_parts(answer: str) -> list[dict]:
    """The worked answer as parts: text, and for each annotation the expression (`python`) and its value (`python_output`)."""
    pieces = ANNOTATION.split(answer)  # text, expression, value, text, expression, value, ..., text
    parts = []
    for i in range(0, len(pieces), 3):
        if pieces[i]:
            parts.append({"type": "text", "text": pieces[i]})
        if i + 1 < len(pieces):
            expression, value = pieces[i + 1].strip(), pieces[i + 2].strip()
            parts.append({"type": "python", "text": expression})
            parts.append({"type": "python_output", "text": calculate(expression) or value})
    return parts


class GSM8K(Task):
    """Answers with calculator calls; right is the same number after `####`."""

    name = "gsm8k"
    kind = "generative"
    patterns = {
        "train": ("gsm8k/train", "gsm8k/main/train-*"),
        "test": ("gsm8k/test", "gsm8k/main/test-*"),
    }

    def conversation(self, row: dict) -> dict:
        return question_answer(row["question"], answer_parts(row["answer"]))

    def evaluate(self, conversation: dict, completion: str) -> bool:
        answer = marked_number(completion)
        return answer is not None and answer == marked_number(answer_text(conversation))


class GSM8KPlain(GSM8K):
    """The same problems with the annotations left out."""

    name = "gsm8k_plain"

    def conversation(self, row: dict) -> dict:
        return question_answer(row["question"], ANNOTATION.sub("", row["answer"]))
