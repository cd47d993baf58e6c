"""Who the assistant is and how it behaves: conversations for training, made by the project itself, no files."""

from collections.abc import Sequence

from nanochat.data import corpus
from nanochat.data.corpus_chat import IDENTITY_KINDS
from tasks.common import Task

COUNTS = {"train": 4_000, "val": 300, "test": 300}


class Identity(Task):
    """Its name, its makers, what it can and cannot do, greetings and thanks, and how it says that it does not know."""

    name = "identity"
    kind = "chat"

    def load(self) -> Sequence:
        return list(corpus.conversations(self.split, count=COUNTS[self.split], kinds=IDENTITY_KINDS))

    def conversation(self, item: dict) -> dict:
        return {"messages": item["messages"]}
