"""A conversation with a model: what has been said, and the prompt it makes within the model's context.

ids, notice = dialogue.ask("What is 12 plus 30?")    # notice: one sentence if something had to be left out, else None
answer = visible_text(tokenizer, engine.stream(ids))
dialogue.answered(answer)
"""

from dataclasses import dataclass, field

from nanochat.data.conversations import render_prompt


@dataclass
class Dialogue:
    """Turns so far. `context`: tokens a prompt and its answer may have together; `room`: those kept free for the answer."""

    tokenizer: object
    context: int
    room: int
    messages: list[dict] = field(default_factory=list)

    def ask(self, question: str) -> tuple[list[int], str | None]:
        """Adds a question; the prompt's tokens. The oldest turns are forgotten for good until it fits."""
        self.messages.append({"role": "user", "content": question})
        limit, forgotten = max(2, self.context - self.room), 0
        while len(ids := self._ids()) > limit and len(self.messages) > 1:
            del self.messages[:2]  # a question and its answer
            forgotten += 1
        if len(ids) > limit:
            ids = [ids[0], *ids[len(ids) - limit + 1 :]]  # BOS and the end
            return ids, f"the question is longer than the model can read ({limit} tokens); its beginning was left out"
        turns = "the oldest turn was" if forgotten == 1 else f"the {forgotten} oldest turns were"
        return ids, f"{turns} forgotten, to stay within the model's {self.context} tokens" if forgotten else None

    def answered(self, text: str) -> None:
        """Adds the answer to the last question."""
        self.messages.append({"role": "assistant", "content": text})

    def withdraw(self) -> None:
        """Takes back the last question, when it got no answer."""
        if self.messages and self.messages[-1]["role"] == "user":
            self.messages.pop()

    def reset(self) -> None:
        """Forgets everything."""
        self.messages.clear()

    def _ids(self) -> list[int]:
        return render_prompt(self.tokenizer, {"messages": self.messages})
