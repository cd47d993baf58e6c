"""Open Assistant: conversations written and ranked by volunteers (OpenAssistant/oasst1, Apache-2.0). English only.

Each tree of replies gives one conversation: from its first prompt along the best-ranked replies. Files are the published
trees (JSONL), or the flat table of messages (Parquet), from which the trees are put together again.
"""

from collections import defaultdict
from collections.abc import Sequence

from tasks.chats import checked
from tasks.common import Task, held_out_for_val

ROLES = {"prompter": "user", "assistant": "assistant"}


def trees_of(messages: Sequence[dict]) -> list[dict]:
    """The root messages of a flat table, each with its `replies` below it."""
    children = defaultdict(list)
    for message in messages:
        children[message.get("parent_id")].append(message)

    def grow(message: dict) -> dict:
        return {**message, "replies": [grow(child) for child in children[message["message_id"]]]}

    return [grow(root) for root in children[None]]


def best_path(root: dict) -> list[dict]:
    """Messages from the root along the best-ranked replies, ending with an assistant's; empty if there is none."""
    path, node = [], root
    while node:
        path.append({"role": ROLES[node["role"]], "content": node["text"].strip()})
        replies = [r for r in node.get("replies", []) if not r.get("deleted")]
        node = min(replies, key=_rank, default=None)
    return path[: len(path) // 2 * 2]


def _rank(reply: dict) -> float:
    return float("inf") if reply.get("rank") is None else reply["rank"]  # 0 is the best; some replies were never ranked


class OpenAssistant(Task):
    """One conversation per English tree."""

    name = "oasst"
    kind = "chat"
    splits = ("train", "val")
    assets = {"train": "oasst/train", "val": "oasst/validation"}

    def load(self) -> list[list[dict]]:
        own_val = bool(self.files(self.data_dir, "val"))
        rows = list(self.rows(self.split if own_val else "train"))
        roots = [row["prompt"] for row in rows] if "prompt" in rows[0] else trees_of(rows)
        paths = [path for root in roots if root.get("lang", "en") == "en" and (path := best_path(root))]
        return paths if own_val else [path for path in paths if held_out_for_val(path[0]["content"]) == (self.split == "val")]

    def conversation(self, path: list[dict]) -> dict:
        return checked(path, self.name)
