"""What a value is called, and what a question calls it: the words that stand near.

    a_i     = softmax over the last WINDOW words of (b_i + c . e_(w-i) + q(x_w) . k(e_(w-i)) / sqrt(K))
    name(w) = norm(sum of a_i e_(w-i))                     e: embeddings of the words; x: what the trunk makes of them

There is a name for the value that belongs to word w and one for each operand that may be asked for there; a pointer prefers the value
whose name is like the one it asks for, by tau name . name / sqrt(d). Both are sums of the same embeddings, so that the same word on
both sides counts from the first step of training. Without this "the value of x" has to be learned as two maps which mean nothing
until they agree, and far longer than that pointers take what was said last (docs/dag_results.md).
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

WINDOW = 16  # words: a statement or a short sentence
KEY = 24
PLACE_SCALE = 10.0  # biases of places learn as fast as if they were so much larger


class Mentions(nn.Module):
    """Names at words, `names` of each: the value's own first, then two for each step of a plan."""

    def __init__(self, width: int, names: int):
        super().__init__()
        self.names = names
        self.query, self.key = nn.Linear(width, names * KEY, bias=False), nn.Linear(width, KEY + names, bias=False)
        self.place = nn.Parameter(torch.zeros(names, WINDOW))
        self.likeness = nn.Parameter(torch.ones(()))

    def forward(self, x, embedded, document):
        """Names (B, W, names, d) of words: hidden states x (B, W, d), embeddings (B, W, d), the document of each (B, W)."""
        near, near_keys = (_windows(part, 0.0) for part in (embedded, self.key(embedded)))
        inside = _windows(document[..., None], -1).squeeze(-1) == document[..., None]
        return self.read(x, near, near_keys, inside)

    def read(self, x, near, near_keys, inside):
        """The same from windows: near (B, N, WINDOW, d), their keys (B, N, WINDOW, KEY + names), the word itself last; inside (B, N,
        WINDOW): there is such a word. x (B, N, d)."""
        query = self.query(x).unflatten(-1, (self.names, KEY))
        logits = query @ near_keys[..., :KEY].transpose(-1, -2) / math.sqrt(KEY)
        logits = logits + near_keys[..., KEY:].transpose(-1, -2) + PLACE_SCALE * self.place
        name = logits.masked_fill(~inside[:, :, None], -math.inf).softmax(-1) @ near
        return F.rms_norm(name, (name.shape[-1],))

    def compare(self, asked, named):
        """Logits (B, N, S) of names asked for (B, N, d) and names of values (B, S, d)."""
        return asked @ named.transpose(1, 2) * (self.likeness / math.sqrt(asked.shape[-1]))


def _windows(x, fill):
    """x (B, W, d) -> (B, W, WINDOW, d): of each word those before it and itself."""
    return F.pad(x, (0, 0, WINDOW - 1, 0), value=fill).unfold(1, WINDOW, 1).transpose(-1, -2)
