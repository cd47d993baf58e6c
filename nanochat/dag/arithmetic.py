"""Generated arithmetic as training texts, with plans or with calls of the calculator, and as evaluation items."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from nanochat.common import derive_seed
from nanochat.dag.expressions import Batch, ExpressionSettings, ExpressionStream
from nanochat.dag.labels import NOT_COMPUTED, PlannedText
from nanochat.dag.numbers import format_value
from nanochat.dag.predictor import PlanLabels
from nanochat.dag.problems import MOST_STEPS
from nanochat.data.conversations import PART_MARKS, Rendered
from nanochat.data.split import fewest_brackets

WRITTEN = ("answer", "tool")  # how the answer to a generated question is reached


@dataclass(frozen=True)
class Special:
    """Questions that are mixed in among the others: `share` of the texts; `answers`: sentences of which one is the answer."""

    share: float
    answers: tuple[str, ...]


# kind (of trees.UNPRINTABLE) -> how much of it, and what is said instead of a number
SPECIAL = {
    "divide_by_zero": Special(0.03, ("Nobody can divide by zero.", "That has no answer: it divides by zero.", "I cannot divide by zero.")),
    "too_large": Special(
        0.02,
        ("That number is too large for me to write exactly.", "I cannot write a number that large.", "The result is too large for me."),
    ),
}


ROUNDED, ROUNDED_SHARE = "rounded", 0.04  # questions that ask for rounding, or about numbers of many decimals


class ArithmeticTexts(Sequence):
    """`count` questions with their printed answers as PlannedText: `<|bos|>..question..<|assistant_start|>72<|assistant_end|>`.

    They come from the training side of the held-out split. The mask trains the answer only; a bare `3+4=` is followed by its
    number and nothing else. The last of the sequence are those of SPECIAL, kind by kind, and those with rounded answers.

    With `written="tool"` the same questions, without plans, are answered by the calculator: the expression with the fewest brackets
    between the marks of a call, its output, which is not trained, and the number once more.
    """

    def __init__(self, tokenizer, settings: ExpressionSettings, count: int, seed: int, written: str = "answer"):
        if written not in WRITTEN:
            raise ValueError(f"arithmetic is written as one of {', '.join(WRITTEN)}, not {written!r}")
        self.tokenizer, self.written = tokenizer, written
        stream = ExpressionStream(tokenizer, settings, "train", derive_seed(seed, "arithmetic texts"))
        counts = {kind: int(count * special.share) for kind, special in SPECIAL.items()}
        rounded = int(count * ROUNDED_SHARE)
        self.batch = stream.batch(count - sum(counts.values()) - rounded)
        self.special = {kind: stream.unprintable(kind, n) for kind, n in counts.items() if n}
        self.special |= {ROUNDED: stream.rounded(rounded)} if rounded else {}
        self.end, self.speak = tokenizer.special("<|assistant_end|>"), tokenizer.special("<|assistant_start|>")

    def __len__(self) -> int:
        return len(self.batch) + sum(map(len, self.special.values()))

    def __getitem__(self, index: int) -> Rendered:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        kind, batch, index = self._find(index % len(self))
        length = int(batch.length[index])
        prompt = batch.ids[index, :length].tolist()
        sentences = SPECIAL[kind].answers if kind in SPECIAL else ()
        said = sentences[index % len(sentences)] if sentences else format_value(float(batch.value[index]), int(batch.decimals[index]))
        answer = self.tokenizer.encode(said)
        answer += [self.end] if prompt[-1] == self.speak else []
        if self.written == "tool":
            output = format_value(float(batch.value[index]))  # the calculator does not round
            call, trained = ([], []) if sentences else self._call(fewest_brackets(batch.expression(index)), output)
            return Rendered(prompt + call + answer, [0] * length + trained + [1] * len(answer))
        labels = (x[index, :length] for x in (batch.operation, batch.operand1, batch.operand2))
        printed_after = NOT_COMPUTED if sentences else length - 1
        return PlannedText(prompt + answer, [0] * length + [1] * len(answer), (), *labels, answer=printed_after)

    def _call(self, expression: str, result: str) -> tuple[list[int], list[int]]:
        """Tokens of a call of the calculator and its output, and which of them are trained."""
        ids, trained = [], []
        for kind, text in (("python", expression), ("python_output", result)):
            opening, closing, here = PART_MARKS[kind]
            part = [self.tokenizer.special(opening), *self.tokenizer.encode(text), self.tokenizer.special(closing)]
            ids, trained = ids + part, trained + [here] * len(part)
        return ids, trained

    def _find(self, index: int) -> tuple[str | None, Batch, int]:
        """(kind, None for an ordinary question; its batch; its place there) of text `index`."""
        for kind, batch in ((None, self.batch), *self.special.items()):
            if index < len(batch):
                return kind, batch, index
            index -= len(batch)
        raise IndexError(index)


def tensors_of(batch: Batch, device="cpu") -> tuple[torch.Tensor, PlanLabels, torch.Tensor]:
    """(idx (n, T), labels, lengths (n,)), all int64, as the tower takes them."""
    arrays = (batch.ids, batch.operation, batch.operand1, batch.operand2, batch.decimals, batch.length)
    idx, *labels, decimals, lengths = (torch.from_numpy(x).long().to(device) for x in arrays)
    return idx, PlanLabels(*labels, decimals=decimals), lengths


def evaluation_batches(tokenizer, settings: ExpressionSettings, per_count: int, seed: int) -> dict[int, Batch]:
    """Unseen chat questions by number of operations: {1: Batch of `per_count`, 2: ...}."""
    settings = ExpressionSettings(**{**settings.__dict__, "chat_share": 1.0})
    stream = ExpressionStream(tokenizer, settings, "val", derive_seed(seed, "arithmetic evaluation"))
    low, high = settings.operations
    if set(settings.styles) == {"problems"}:
        high = min(high, MOST_STEPS)
    return {k: stream.batch(per_count, operations=k) for k in range(low, high + 1)}


def prompts_of(batch: Batch) -> list[list[int]]:
    """Token ids of each question up to its answer token."""
    return [ids[:n].tolist() for ids, n in zip(batch.ids, batch.length, strict=True)]


def answers_of(batch: Batch) -> list[str]:
    """The printed answers."""
    return [format_value(float(v), int(d)) for v, d in zip(batch.value, batch.decimals, strict=True)]
