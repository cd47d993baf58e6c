"""Checks on conversations that come from files, so that a bad row is named instead of being trained on."""

from nanochat.common import UserError


def checked(messages: list[dict], source: str) -> dict:
    """A conversation of `messages` if their roles are [system] (user assistant)+; UserError with the roles if not.

    A last user message without an answer has nothing to learn from and is dropped.
    """
    messages = [{"role": m["role"], "content": m["content"]} for m in messages]
    if messages and messages[-1]["role"] == "user":
        messages = messages[:-1]
    turns = messages[1:] if messages and messages[0]["role"] == "system" else messages
    expected = ["user", "assistant"] * (len(turns) // 2)
    if not turns or [m["role"] for m in turns] != expected:
        roles = ", ".join(m["role"] for m in messages) or "none"
        raise UserError(
            f"a conversation of task '{source}' has the roles {roles}; legal is an optional system, then user and assistant in turn"
        )
    return {"messages": messages}
