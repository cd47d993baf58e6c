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
        """Names (B, W, names, d) of words: hidden states x (B, W, d), embeddings (B, W, d), the document of each (B, W).

        WINDOW words at a time, which look at themselves and at as many before them: so no window is copied for each of its words.
        """
        words = x.shape[1]
        near, near_keys = (_pairs(part) for part in (embedded, self.key(embedded)))
        own, among = (_chunks(document, -1), _pairs(document[..., None], -1).squeeze(-1))
        name = self.read(_chunks(x), near, near_keys, own[..., None] == among[:, :, None])
        return name.flatten(1, 2)[:, :words]

    def read(self, x, near, near_keys, inside):
        """Names (B, C, Q, names, d) of Q words x (B, C, Q, d) that share what they may look at, S words up to the last of the Q: their
        embeddings near (B, C, S, d) and keys (B, C, S, KEY + names). inside (B, C, Q, S): there is such a word, of the same document."""
        q, s = x.shape[-2], near.shape[-2]
        back = torch.arange(s - q, s, device=x.device)[:, None] - torch.arange(s, device=x.device)  # (Q, S): how many words ago
        inside = (inside & (back >= 0) & (back < WINDOW))[:, :, :, None]
        place = self.place[:, (WINDOW - 1 - back).clamp(0, WINDOW - 1)].transpose(0, 1)  # (Q, names, S)
        query = self.query(x).unflatten(-1, (self.names, KEY)).flatten(2, 3)
        logits = (query @ near_keys[..., :KEY].transpose(-1, -2) / math.sqrt(KEY)).unflatten(2, (q, self.names))
        logits = logits + near_keys[..., KEY:].transpose(-1, -2)[:, :, None] + PLACE_SCALE * place
        name = logits.masked_fill(~inside, -math.inf).softmax(-1).flatten(2, 3) @ near
        return F.rms_norm(name, (name.shape[-1],)).unflatten(2, (q, self.names))

    def compare(self, asked, named):
        """Logits (B, N, S) of names asked for (B, N, d) and names of values (B, S, d)."""
        return asked @ named.transpose(1, 2) * (self.likeness / math.sqrt(asked.shape[-1]))


def _chunks(x, fill=0):
    """x (B, W, ...) -> (B, C, WINDOW, ...), filled up at the end."""
    end = (0, 0) * (x.dim() - 2) + (0, -x.shape[1] % WINDOW)
    return F.pad(x, end, value=fill).unflatten(1, (-1, WINDOW))


def _pairs(x, fill=0):
    """x (B, W, d) -> (B, C, 2 WINDOW, d): of each chunk the one before it and itself."""
    chunks = _chunks(x, fill)
    return torch.cat([F.pad(chunks[:, :-1], (0, 0, 0, 0, 1, 0), value=fill), chunks], dim=2)
