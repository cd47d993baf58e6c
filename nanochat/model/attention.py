"""Causal self-attention with rotary positions, normalised queries and keys, and value embeddings.

    q, k, v = Wq x, Wk x, Wv x                              per head of d dimensions; fewer key-value heads share (GQA)
    v += 3 sigmoid(G x[:12]) * VE[token]                    in layers that have a value embedding
    q, k = c N(rotate(q)), c N(rotate(k))                   c > 1 sharpens the scores (1.2 in nanochat)
    y = Wo softmax(q k^T / sqrt(d)) v                       over the token itself and those before it, or a window of them

Without a cache one kernel (window.py) computes the whole context. With one (cache.py) the new tokens are written behind each row's
own tokens and attend to what they see of them.
"""

import math

import torch
import torch.nn as nn
from torch import Tensor

from nanochat.model.linear import Linear
from nanochat.model.norm import rms_norm
from nanochat.model.position import rotate
from nanochat.model.window import KERNELS, attend

GATE_INPUTS = 12  # the first dimensions of x are enough to decide how much of the value embedding a head takes
GATE_RANGE = 3.0


class Attention(nn.Module):
    """The attention of layer `layer`; with `value_gate` forward gets the tokens' value embeddings and decides how much to take."""

    def __init__(self, config, layer: int, value_gate: bool):
        super().__init__()
        self.layer, self.window = layer, config.window(layer)
        self.n_head, self.n_kv_head, self.head_dim = config.n_head, config.n_kv_head, config.head_dim
        self.query = Linear(config.n_embd, self.n_head * self.head_dim)
        self.key = Linear(config.n_embd, self.n_kv_head * self.head_dim)
        self.value = Linear(config.n_embd, self.n_kv_head * self.head_dim)
        self.out = Linear(self.n_head * self.head_dim, config.n_embd)
        self.value_gate = Linear(min(GATE_INPUTS, config.n_embd), self.n_kv_head) if value_gate else None
        self.scale = config.qk_scale**2 / math.sqrt(self.head_dim)  # both factors at once, on the scores
        self.use("full" if self.window is None else "chunked")

    def use(self, kernel: str) -> None:
        """Has `kernel` compute what needs no cache; outside training "chunked" stands in for one that is compiled for each length."""
        self.kernel = KERNELS[kernel]
        self.elsewhere = self.kernel if self.kernel.any_shape else KERNELS["chunked"]

    def prepare(self, B: int, T: int, device: torch.device):
        """What forward is given as `seen` for B rows of T tokens."""
        return (self.kernel if self.training else self.elsewhere).prepare(B, T, self.window, device)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        bound = math.sqrt(3 / self.query.in_features)  # uniform with standard deviation 1/sqrt(D)
        for part in (self.query, self.key, self.value):
            nn.init.uniform_(part.weight, -bound, bound)
        nn.init.zeros_(self.out.weight)
        if self.value_gate is not None:
            nn.init.uniform_(self.value_gate.weight, 0.0, 0.02)

    def forward(self, x: Tensor, extra: Tensor | None, rotary: tuple[Tensor, Tensor], seen, cache=None) -> Tensor:
        """x (B, T, D) -> (B, T, D). `extra` (B, T, kv heads * d): the tokens' value embeddings; `rotary`: cos and sin; `seen`: from
        `prepare`, unused with a cache."""
        B, T, _ = x.shape
        q = self.query(x).view(B, T, self.n_head, self.head_dim)
        k = self.key(x).view(B, T, self.n_kv_head, self.head_dim)
        v = self.value(x).view(B, T, self.n_kv_head, self.head_dim)
        if extra is not None:
            gate = GATE_RANGE * torch.sigmoid(self.value_gate(x[..., : self.value_gate.in_features]))  # (B, T, kv heads)
            v = torch.addcmul(v, gate.unsqueeze(-1), extra.view_as(v))
        q, k = (rms_norm(rotate(part, *rotary)) for part in (q, k))  # (B, T, heads, d)
        if cache is None:
            y = (self.kernel if self.training else self.elsewhere)(q, k, v, seen, self.scale)
        else:
            k, v = cache.update(self.layer, k, v, self.window)
            y = attend(q.transpose(1, 2), k, v, self.scale, cache.mask(T, self.window)).transpose(1, 2)
        return self.out(y.reshape(B, T, -1))
