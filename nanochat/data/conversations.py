"""Conversations to tokens: who speaks, which tokens are trained, and where a plan for the arithmetic belongs.

    {"messages": [{"role": "system" | "user" | "assistant", "content": text or parts, "plan": steps}, ...]}

A rendered conversation, with the mask below (1 = the model is trained to say this token):

    <|bos|> <|user_start|> question <|user_end|> <|assistant_start|> answer <|assistant_end|> <|user_start|> ...
       0           0           0          0               0             1            1              0

A system message goes before the first user message with a blank line between. Parts of an assistant's answer:
`{"type": "text"}` is trained; `python` stands between <|python_start|> and <|python_end|> and is trained with them;
`python_output` stands between <|output_start|> and <|output_end|> and is not: the tool says it, not the model.

A plan is the arithmetic behind an assistant's number: `[["add", 0, 1], ["multiply", "s0", 2]]`. Integers count the numbers of
the user message before it in reading order, "s0" is the result of step 0, "c100" the constant 100, "v48" the latest number of the
value 48 or, failing that, a constant. The plan of a whole message is that of the number it begins with; a part of text may have a
plan of its own, if it is a number: `{"type": "text", "text": "24", "plan": [["divide", "v48", "v2"]]}`. Such a plan may also use what the
answer has said so far. A step with a fourth entry, the index of a number, is carried out where the sentence after that
number's begins, by a planner that may: `["add", 0, 1, 1]`.
"""

import re
from dataclasses import dataclass, field, replace

from nanochat.common import UserError
from nanochat.data.tokenizer import Tokenizer

PART_MARKS = {"python": ("<|python_start|>", "<|python_end|>", 1), "python_output": ("<|output_start|>", "<|output_end|>", 0)}
PLAN_OPERATIONS = ("add", "subtract", "multiply", "divide", "identity")


@dataclass(frozen=True)
class PlanSpec:
    """The arithmetic of one number in an answer. Positions are token indices in the `Rendered` that holds it."""

    position: int  # of the token after which the number is printed: <|assistant_start|>, or one within the answer
    steps: tuple[tuple, ...]  # (operation, operand, operand); operands and places as in the module's text
    text: tuple[int, int]  # [start, end) of the text whose numbers the operands may be
    ready: int  # the end of the user's text: no token before may begin to plan
    printed: str  # what the plan's result is printed as


@dataclass(frozen=True)
class Rendered:
    """A conversation as tokens. `mask[i]` is 1 if token i is trained as a target; `plans` in order of position."""

    ids: list[int]
    mask: list[int]
    plans: tuple[PlanSpec, ...] = field(default=())

    @property
    def plan(self) -> PlanSpec | None:
        """The first plan, None if there is none."""
        return self.plans[0] if self.plans else None

    def __len__(self) -> int:
        return len(self.ids)

    def crop(self, length: int) -> "Rendered":
        """The first `length` tokens. A plan stays only if its position and the token after it do."""
        if len(self.ids) <= length:
            return self
        plans = tuple(p for p in self.plans if p.position + 1 < length)
        return replace(self, ids=self.ids[:length], mask=self.mask[:length], plans=plans)


def render(tokenizer: Tokenizer, conversation: dict) -> Rendered:
    """Tokens, mask and plans of a whole conversation. UserError if its messages are not well formed."""
    writer = _Writer(tokenizer)
    for message in _checked(conversation):
        (writer.user if message["role"] == "user" else writer.assistant)(message)
    return Rendered(writer.ids, writer.mask, tuple(writer.plans))


def render_prompt(tokenizer: Tokenizer, conversation: dict) -> list[int]:
    """Tokens after which the assistant speaks: a last assistant message is left out, <|assistant_start|> comes last."""
    messages = list(conversation.get("messages", ()))
    if messages and messages[-1].get("role") == "assistant":
        messages.pop()
    rendered = render(tokenizer, {"messages": messages})
    return [*rendered.ids, tokenizer.special("<|assistant_start|>")]


class _Writer:
    """Appends message after message, keeping ids, mask and plans in step."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer
        self.ids, self.mask, self.plans = [tokenizer.bos_id], [0], []
        self.user_text = (0, 0)

    def put(self, ids: list[int], trained: int) -> None:
        self.ids += ids
        self.mask += [trained] * len(ids)

    def mark(self, name: str, trained: int) -> None:
        self.put([self.tokenizer.special(name)], trained)

    def user(self, message: dict) -> None:
        self.mark("<|user_start|>", 0)
        if message.get("system"):
            self.put(self.tokenizer.encode(message["system"] + "\n\n"), 0)
        start = len(self.ids)
        self.put(self.tokenizer.encode(message["content"]), 0)
        self.user_text = (start, len(self.ids))
        self.mark("<|user_end|>", 0)

    def plan(self, position: int, steps, text: tuple[int, int], printed: str) -> None:
        self.plans.append(PlanSpec(position, _checked_plan(steps), text, self.user_text[1], printed))

    def assistant(self, message: dict) -> None:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if message.get("plan"):
            self.plan(len(self.ids), message["plan"], self.user_text, "".join(p["text"] for p in parts if p["type"] == "text"))
        self.mark("<|assistant_start|>", 0)
        for part in parts:
            if part["type"] == "text":
                if part.get("plan"):
                    self.plan(len(self.ids) - 1, part["plan"], (self.user_text[0], len(self.ids)), part["text"])
                self.put(self.tokenizer.encode(part["text"]), 1)
                continue
            opening, closing, trained = PART_MARKS[part["type"]]
            self.mark(opening, trained)
            self.put(self.tokenizer.encode(part["text"]), trained)
            self.mark(closing, trained)
        self.mark("<|assistant_end|>", 1)


def _checked(conversation: dict) -> list[dict]:
    """The user and assistant messages, the system text moved into the first; UserError if roles or contents are wrong."""
    messages = conversation.get("messages") if isinstance(conversation, dict) else None
    if not isinstance(messages, (list, tuple)) or not messages:
        raise UserError('a conversation must be {"messages": [{"role": ..., "content": ...}, ...]} with at least one message')
    messages = list(messages)
    for i, message in enumerate(messages):
        _check_content(i, message)
    if messages[0]["role"] == "system":
        system = messages.pop(0)["content"]
        if not messages or messages[0]["role"] != "user":
            raise UserError("a system message must be followed by a user message; add one to the conversation")
        messages[0] = {**messages[0], "system": system}
    for i, message in enumerate(messages):
        expected = ("user", "assistant")[i % 2]
        if message["role"] != expected:
            raise UserError(
                f"message {i} of a conversation has role {message['role']!r} where {expected!r} is due; users and assistants take turns"
            )
    return messages


def _check_content(i: int, message) -> None:
    if not isinstance(message, dict) or message.get("role") not in ("system", "user", "assistant"):
        raise UserError(f"message {i} of a conversation must have a role (system, user or assistant), not {str(message)[:80]!r}")
    content = message.get("content")
    if isinstance(content, str):
        return
    kinds = ("text", *PART_MARKS)
    good = message["role"] == "assistant" and isinstance(content, (list, tuple))
    if not good or not all(isinstance(p, dict) and p.get("type") in kinds and isinstance(p.get("text"), str) for p in content):
        raise UserError(
            f"message {i} of a conversation ({message['role']}) must have a text as content; "
            f"an assistant may have parts of type {', '.join(kinds)}"
        )


def _checked_plan(plan) -> tuple[tuple, ...]:
    steps = tuple(tuple(step) if isinstance(step, (list, tuple)) else step for step in plan)
    for k, step in enumerate(steps):
        if not isinstance(step, tuple) or len(step) not in (3, 4) or step[0] not in PLAN_OPERATIONS:
            raise UserError(f"plan step {step!r} must be [operation, operand, operand] with one of {', '.join(PLAN_OPERATIONS)}")
        if len(step) == 4 and not (isinstance(step[3], int) and step[3] >= 0):
            raise UserError(f"plan step {step!r} may end in the index of a number after whose sentence it is carried out, not {step[3]!r}")
        for operand in step[1:3]:
            if not _is_operand(operand, k):
                raise UserError(
                    f"operand {operand!r} of plan step {k} must be the index of a number, an earlier step as 's0', a constant as 'c100', "
                    "or a value as 'v48'"
                )
    return steps


def _is_operand(operand, step: int) -> bool:
    if isinstance(operand, int) and not isinstance(operand, bool):
        return operand >= 0
    if not isinstance(operand, str):
        return False
    if operand[:1] == "s":
        return operand[1:].isdecimal() and int(operand[1:]) < step
    return re.fullmatch(r"[cv]-?\d+(\.\d+)?", operand) is not None
