"""GSM8K: 8.5 thousand grade-school word problems whose worked answers end in `#### number` (openai/gsm8k, MIT).

Calculator annotations `<<48/2=24>>` in the worked answers become a tool call (`48/2`) and its output (`24`), so that a model
trained on them learns to call the calculator. The output is what our calculator prints, as it will when the model calls it
(`0.2` where the file has `0.20`). `gsm8k_plain` leaves the annotations out: the same text without any tool. `gsm8k_plans` has that text
with a plan behind every number that an annotation computes, and behind the final one; `gsm8k_direct` has only the final number, its
plan put together from all annotations. Both print numbers as the tower does: `3000` where the file has `3,000`.
"""

import re

from nanochat.infer.calculator import calculate
from tasks.answers import NUMBER, LastNumberTask, marked_number, print_number
from tasks.common import Task, answer_text, question_answer
from tasks.plans import composed, computed, planned_answer

ANNOTATION = re.compile(r"<<([^<>=]*)=([^<>]*)>>")
_PRINTED = re.compile(r"(\s*\$?)(" + NUMBER + ")")
_FINAL = re.compile(r"(.*####\s*\$?)(" + NUMBER + r")\s*", re.DOTALL)


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


def planned_parts(answer: str) -> list[dict]:
    """The worked answer as parts of text; those that are a number that was computed carry a `plan`, or `unplanned`: why not."""
    text, *pieces = ANNOTATION.split(answer)
    parts = [{"type": "text", "text": text}]
    for expression, rest in zip(pieces[::3], pieces[2::3], strict=True):
        printed = _PRINTED.match(rest)
        if printed is not None:
            parts += _number(printed[1], expression, printed[2])
            rest = rest[printed.end() :]
        parts.append({"type": "text", "text": rest})
    final = _FINAL.fullmatch(parts[-1]["text"])
    if final is not None:
        parts[-1:] = _number(final[1], final[2].replace(",", ""), final[2])
    return [part for part in parts if part["text"]]


def _number(before: str, expression: str, printed: str) -> list[dict]:
    plan = computed(expression, printed)
    shown = calculate(expression) if "plan" in plan else printed
    return [{"type": "text", "text": before}, {"type": "text", "text": shown, **plan}]


class GSM8K(Task):
    """Answers with calculator calls; right is the same number after `####`."""

    name = "gsm8k"
    kind = "generative"
    assets = {"train": "gsm8k/train", "test": "gsm8k/test"}

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


class GSM8KPlans(GSM8K):
    """Worked answers whose computed numbers carry their plans, without tool calls."""

    name = "gsm8k_plans"

    def conversation(self, row: dict) -> dict:
        return question_answer(row["question"], planned_parts(row["answer"]))


class GSM8KDirect(LastNumberTask):
    """The final number alone, with the plan of the whole problem."""

    name = "gsm8k_direct"
    assets = GSM8K.assets

    def conversation(self, row: dict) -> dict:
        number = marked_number(row["answer"])
        return planned_answer(row["question"], composed(ANNOTATION.findall(row["answer"]), number), print_number(number))
