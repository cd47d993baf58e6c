"""Word problems of the embedded corpus, answered with a bare number; the answers carry their plans. No files.

`word_problems_tool` has the same problems answered by a call of the calculator, for a model without the tower.
"""

from collections.abc import Sequence

from nanochat.data import corpus
from nanochat.data.split import fewest_brackets
from tasks.answers import last_number
from tasks.common import Task, answer_text


class WordProblems(Task):
    """One or two operations, numbers of one to three digits. Evaluation: expressions never trained on, and templates never seen."""

    name = "word_problems"
    kind = "generative"

    def load(self) -> Sequence:
        return list(corpus.word_problems(self.split))

    def conversation(self, item: dict) -> dict:
        return {"messages": item["messages"]}

    def evaluate(self, conversation: dict, completion: str) -> bool:
        printed = last_number(completion)
        return printed is not None and printed == last_number(answer_text(conversation))


class WordProblemsTool(WordProblems):
    """The same; before the number the calculator is called."""

    name = "word_problems_tool"

    def conversation(self, item: dict) -> dict:
        question, answer = item["messages"]
        call = {"type": "python", "text": fewest_brackets(item["canonical"])}
        parts = [call, {"type": "python_output", "text": answer["content"]}, {"type": "text", "text": answer["content"]}]
        return {"messages": [question, {"role": "assistant", "content": parts}]}
