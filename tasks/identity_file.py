"""A user's own conversations: `identity_conversations.jsonl` in the data folder, to give the model a name and manners.

Each line is a list of messages, or an object with the list under `messages`: {"role": "user", "content": "Who are you?"}, ...
"""

from tasks.chats import checked
from tasks.common import Task


class IdentityFile(Task):
    """For training only."""

    name = "identity_file"
    kind = "chat"
    splits = ("train", "val")
    assets = {"train": "identity_file"}

    def conversation(self, row) -> dict:
        return checked(row if isinstance(row, list) else row["messages"], self.name)
