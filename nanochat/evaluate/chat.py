"""Chat tasks: how often a model answers right, with the interval that the number of questions allows and the level of guessing.

Categorical tasks are read off the logits after the prompt, among the letters that this question offers; generative ones are
written out by the engine in batches of prompts of different lengths and judged by the task.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from nanochat.common import UserError, atomic_path, derive_seed, rank, world_size
from nanochat.data.conversations import render_prompt
from nanochat.evaluate.batches import buckets, crop_left, device_of, gather_lists, inference, pad_right
from nanochat.infer.text import visible_text
from tasks.common import Task, answer_text, chance_of, sample_indices


@dataclass(frozen=True)
class Settings:
    """How to ask: `max_tokens` of a written answer, `context` tokens in all, `budget` tokens of a batch of prompts,
    `batch` answers written at once, `temperature` 0 for the likeliest token each time."""

    max_tokens: int = 256
    context: int = 2048
    budget: int = 16384
    batch: int = 64
    temperature: float = 0.0
    top_k: int | None = None
    seed: int = 0


@dataclass
class ChatResult:
    """Of one task: accuracy with its 95 % interval, accuracy of guessing, and every item as it went."""

    name: str
    chance: float
    rows: list[dict] = field(default_factory=list)

    @property
    def n(self) -> int:
        return len(self.rows)

    @property
    def right(self) -> int:
        return sum(row["right"] for row in self.rows)

    @property
    def accuracy(self) -> float:
        return self.right / self.n

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.right, self.n)

    @property
    def centered(self) -> float:
        """0 is guessing, 1 is all right."""
        return (self.accuracy - self.chance) / (1 - self.chance)


def wilson(right: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share (Wilson, 1927): honest also at 0 and 1 and for few questions."""
    share, spread = right / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def chatcore(results: Sequence[ChatResult]) -> float:
    """Mean of the centered accuracies."""
    return sum(result.centered for result in results) / len(results)


def evaluate(task: Task, model, tokenizer, engine=None, limit: int | None = None, settings: Settings | None = None) -> ChatResult:
    """Asks `limit` questions of `task` (None: all; the same ones every time) and judges the answers.

    The processes share the questions; every one of them gets the whole result. `engine` is needed for generative tasks.
    """
    if task.kind not in ("categorical", "generative"):
        raise UserError(f"task '{task.name}' has no right answers to compare with; it is for training only")
    settings = settings or Settings()
    chosen = sample_indices(len(task), limit)
    mine = chosen[rank() :: world_size()]
    conversations = [task[i] for i in mine]
    if task.kind == "categorical":
        answers = answer_by_letters(model, tokenizer, conversations, settings)
    else:
        answers = answer_in_writing(engine, tokenizer, conversations, settings)
    rows = [_row(task, index, asked, text) for index, asked, text in zip(mine, conversations, answers, strict=True)]
    rows = sorted(gather_lists(rows), key=lambda row: row["index"])
    chance = sum(row.pop("chance") for row in rows) / len(rows)
    return ChatResult(task.name, chance, rows)


def _row(task: Task, index: int, conversation: dict, completion: str) -> dict:
    question = next(m["content"] for m in reversed(conversation["messages"]) if m["role"] == "user")
    right = bool(task.evaluate(conversation, completion))
    return {"index": index, "question": question, "answer": answer_text(conversation), "completion": completion,
            "right": right, "chance": chance_of(conversation)}  # fmt: skip


def write_rows(path: Path, result: ChatResult) -> None:
    """One JSON object a line: index, question, answer, completion, right."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as f:
        f.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in result.rows)


# ---------------------------------------------------------------------------------------------------------------------
# Two ways of answering


def answer_by_letters(model, tokenizer, conversations: Sequence[dict], settings: Settings) -> list[str]:
    """For each conversation the likeliest of its letters after the prompt."""
    prompts = [crop_left(render_prompt(tokenizer, c), settings.context) for c in conversations]
    letters = {letter: _letter_token(tokenizer, letter) for c in conversations for letter in c["letters"]}
    answers, device = [""] * len(prompts), device_of(model)
    with inference(model):
        for batch in buckets([len(p) for p in prompts], settings.budget):
            ids = pad_right([prompts[i] for i in batch], tokenizer.bos_id, device)  # (B, T)
            last = torch.tensor([len(prompts[i]) - 1 for i in batch], device=device)
            logits = model(ids).logits[torch.arange(len(batch), device=device), last].float().cpu()  # (B, V)
            for i, row in zip(batch, logits, strict=True):
                own = conversations[i]["letters"]
                answers[i] = own[int(row[[letters[letter] for letter in own]].argmax())]
    return answers


def _letter_token(tokenizer, letter: str) -> int:
    ids = tokenizer.encode(letter)
    if len(ids) != 1:
        raise UserError(f"the answer '{letter}' is {len(ids)} tokens, but answers read off the logits must be one; use single letters")
    return ids[0]


def answer_in_writing(engine, tokenizer, conversations: Sequence[dict], settings: Settings) -> list[str]:
    """For each conversation the text that the engine writes after the prompt.

    Prompts go longest first and in similar lengths, so that a batch's cache is no larger than it needs to be.
    """
    # A prompt that leaves no room for an answer loses its beginning, but never more than half the context is for the answer.
    room = settings.context - min(settings.max_tokens, settings.context // 2)
    prompts = [crop_left(render_prompt(tokenizer, c), room) for c in conversations]
    order = sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), i))
    answers = [""] * len(prompts)
    for start in range(0, len(order), settings.batch):
        batch = order[start : start + settings.batch]
        most = min(settings.max_tokens, settings.context - len(prompts[batch[0]]))
        seed = derive_seed(settings.seed, "chat", rank(), start)
        outputs = engine.generate([prompts[i] for i in batch], max_tokens=most, temperature=settings.temperature,
                                  top_k=settings.top_k, seed=seed)  # fmt: skip
        for i, output in zip(batch, outputs, strict=True):
            answers[i] = visible_text(tokenizer, output)
    return answers
