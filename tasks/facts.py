"""Multiple choice about the facts of the embedded world: made by the project itself, no files."""

from collections.abc import Sequence

from nanochat.data import corpus
from tasks.common import MultipleChoice


class Facts(MultipleChoice):
    """Four options of one kind, one of them right; the same question with the same options is in one split only."""

    name = "facts"

    def load(self) -> Sequence:
        return list(corpus.facts_questions(self.split))

    def choice(self, item: dict) -> tuple[str, list[str], int]:
        return item["question"], item["options"], item["answer"]
