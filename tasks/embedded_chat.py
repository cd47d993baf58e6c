"""Conversations about the embedded world: questions answered in whole sentences, stories, small talk. No files.

Right, where it is judged, is an answer that contains the value asked for, and says yes or no where the right answer does.
"""

import re
from collections.abc import Sequence

from nanochat.data import corpus
from tasks.common import Task, answer_text

JUDGED = 500  # items of an evaluation split: those whose last question has a value to look for


class EmbeddedChat(Task):
    """All kinds of conversations for training; those with a checkable last answer for evaluation."""

    name = "embedded_chat"
    kind = "generative"

    def load(self) -> Sequence:
        made = corpus.conversations(self.split)
        return list(made) if self.split == "train" else [c for c in made if c["value"]][:JUDGED]

    def conversation(self, item: dict) -> dict:
        return {"messages": item["messages"], "value": item["value"]}

    def evaluate(self, conversation: dict, completion: str) -> bool:
        wanted, given = words(answer_text(conversation)), words(completion)
        if wanted[:1] in (["yes"], ["no"]) and given[:1] != wanted[:1]:
            return False
        value = words(conversation["value"])
        return any(given[i : i + len(value)] == value for i in range(len(given) - len(value) + 1)) if value else given == wanted


def words(text: str) -> list[str]:
    """The words of a text in small letters, possessives without their ending."""
    return [word.removesuffix("'s").rstrip("'") for word in re.findall(r"[a-z0-9']+", text.lower())]
