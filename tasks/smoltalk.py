"""SmolTalk: general conversations (HuggingFaceTB/smol-smoltalk, Apache-2.0), and anything else with a column `messages`."""

from tasks.chats import checked
from tasks.common import Task


class SmolTalk(Task):
    """460 thousand conversations in Parquet or JSONL."""

    name = "smoltalk"
    kind = "chat"
    assets = {"train": "smoltalk/train", "test": "smoltalk/test"}

    def conversation(self, row: dict) -> dict:
        return checked(row["messages"], self.name)
