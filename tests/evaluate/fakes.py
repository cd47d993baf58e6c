"""A tokenizer of single bytes and models whose probabilities are known, for figures that can be worked out by hand."""

from types import SimpleNamespace

import torch
from torch.nn.functional import cross_entropy

from nanochat.data.tokenizer import Tokenizer


def byte_tokenizer() -> Tokenizer:
    """One token per byte, then the specials."""
    return Tokenizer({bytes([i]): i for i in range(256)})


class _Model(torch.nn.Module):
    """Keeps the interface of GPT's forward around `logits(idx)`; counts the forwards and the rows."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, idx, targets=None, *, cache=None, plan=None, reduction="mean"):
        self.calls.append(tuple(idx.shape))
        logits = self.logits(idx)
        if targets is None:
            return SimpleNamespace(logits=logits, loss=None, side=None)
        loss = cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction=reduction)
        return SimpleNamespace(logits=None, loss=loss.view_as(targets) if reduction == "none" else loss, side=None)


class Bigram(_Model):
    """P(next | current) from a table `{"a": {"b": 0.5}}` of characters; what is left over is shared by all other tokens."""

    def __init__(self, table: dict[str, dict[str, float]], vocab: int = 265):
        super().__init__()
        probability = torch.full((vocab, vocab), 1.0 / vocab, dtype=torch.float64)
        for current, following in table.items():
            row = torch.full((vocab,), (1 - sum(following.values())) / (vocab - len(following)), dtype=torch.float64)
            for character, p in following.items():
                row[ord(character)] = p
            probability[ord(current)] = row
        self.register_buffer("table", probability.log())

    def logits(self, idx):
        return self.table[idx]


class Recurrent(_Model):
    """Random, causal, and dependent on every earlier token: a GRU."""

    def __init__(self, vocab: int = 265, width: int = 16, seed: int = 0):
        super().__init__()
        torch.manual_seed(seed)
        self.embed, self.gru, self.head = (
            torch.nn.Embedding(vocab, width),
            torch.nn.GRU(width, width, batch_first=True),
            torch.nn.Linear(width, vocab),
        )

    def logits(self, idx):
        return self.head(self.gru(self.embed(idx))[0])


class ScriptedEngine:
    """Writes a fixed answer (token ids) for each known prompt, ragged, and remembers the batches it was given."""

    def __init__(self, answers: dict[tuple[int, ...], list[int]]):
        self.answers, self.batches = answers, []

    def generate(self, prompts, max_tokens, temperature=0.0, top_k=None, seed=0, **more):
        self.batches.append((prompts, max_tokens))
        return [self.answers[tuple(prompt)][:max_tokens] for prompt in prompts]
