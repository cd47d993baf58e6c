"""What a row must say next, and what it may not: one queue for the calculator's results and for the numbers of the arithmetic branch.

    forced = ForcedTokens(marks, calculator)
    if forced.queue: token = forced.queue[0]                     # not the model's choice
    else: token = a choice from logits without forced.barred(offered)
    sampled = forced.take(token, offered)                        # every token that is said, in order

A tool call is answered with its output. A number that the branch offers with an open gate is said whole once its first token is
chosen: at a temperature above 0 each further digit would else be drawn from a mixture in which 1 - g is the model's own. Where a
number is offered no other may begin, and the digits of one that was said whole do not go on (`72` never becomes `725`, nor `72.5`);
a full stop or comma after it may stand, but no digit directly behind that.
"""

from collections import deque
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

MINUS, SEPARATORS = "-−", ".,"


class Marks:
    """What the tokens of a tokenizer mean to forced tokens: the special tokens of tool calls, and masks (V,) of those that go on with
    a number (`digits`) and of those that may begin one (`begins`)."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.opening, self.closing, self.output, self.output_end = (
            tokenizer.special(f"<|{name}|>") for name in ("python_start", "python_end", "output_start", "output_end")
        )
        self._faces: tuple[Tensor, Tensor, frozenset[int]] | None = None

    @property
    def digits(self) -> Tensor:
        return self._read()[0]

    @property
    def begins(self) -> Tensor:
        return self._read()[1]

    @property
    def separators(self) -> frozenset[int]:
        return self._read()[2]

    def _read(self) -> tuple[Tensor, Tensor, frozenset[int]]:
        """Read off the whole vocabulary when first needed: most models never offer a number."""
        if self._faces is None:
            ordinary = self.tokenizer.vocab_size - len(self.tokenizer.specials)
            texts = [self.tokenizer.decode([i]) for i in range(ordinary)] + [""] * len(self.tokenizer.specials)
            digits = torch.tensor([text[:1].isnumeric() for text in texts])
            signs = torch.tensor([bool(text.strip(" ")) and text.strip(" ") in MINUS + "." for text in texts])
            self._faces = digits, digits | signs, frozenset(i for i, text in enumerate(texts) if text and text in SEPARATORS)
        return self._faces


class ForcedTokens:
    """The queue of one row. `calculator` maps an expression to its result or None; without one, tool calls stay unanswered."""

    def __init__(self, marks: Marks, calculator: Callable[[str], str | None] | None):
        self.marks, self.calculator = marks, calculator
        self.queue: deque[int] = deque()
        self.call: list[int] | None = None  # the tokens of the expression, between <|python_start|> and <|python_end|>
        self.number_said = False  # the last thing said is a whole number of the branch, or a separator behind one

    def barred(self, offered: Sequence[int]) -> Tensor | None:
        """(V,) which tokens may not be chosen next, None if all may; `offered`: tokens of the number that may be printed now."""
        if offered:
            others = self.marks.begins.clone()
            others[offered[0]] = False
            return others
        return self.marks.digits if self.number_said else None

    def take(self, token: int, offered: Sequence[int] = ()) -> bool:
        """Notes that `token` was said; True if it was the model's choice."""
        sampled = not self.queue
        if self.queue:
            self.queue.popleft()
        elif offered and token == offered[0]:
            self.queue.extend(offered[1:])
            self.number_said = True
        elif self.number_said:
            self.number_said = token in self.marks.separators
        self._follow_call(token)
        return sampled

    def _follow_call(self, token: int) -> None:
        if token == self.marks.opening:
            self.call = []
        elif token == self.marks.closing and self.call is not None:
            self._answer(self.marks.tokenizer.decode(self.call))
            self.call = None
        elif self.call is not None:
            self.call.append(token)

    def _answer(self, expression: str) -> None:
        result = self.calculator(expression) if self.calculator else None
        if result is not None:
            self.queue.extend([self.marks.output, *self.marks.tokenizer.encode(result), self.marks.output_end])
