"""Causal self-attention with rotary positions, normalised queries and keys, and value embeddings.

    q, k, v = Wq x, Wk x, Wv x                              per head of d dimensions; fewer key-value heads share (GQA)
    v += 3 sigmoid(G x[:12]) * VE[token]                    in layers that have a value embedding
    q, k = c N(rotate(q)), c N(rotate(k))                   c > 1 sharpens the scores (1.2 in nanochat)
    y = Wo softmax(q k^T / sqrt(d)) v                       over the token itself and those before it

Without a cache the whole context is one causal product. With one (cache.py) the new tokens are written behind each row's own
tokens and attend to all of them.
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from nanochat.model.linear import Linear
from nanochat.model.norm import rms_norm
from nanochat.model.position import rotate

GATE_INPUTS = 12  # the first dimensions of x are enough to decide how much of the value embedding a head takes
GATE_RANGE = 3.0


class Attention(nn.Module):
    """One attention layer; with `value_gate` forward gets the tokens' value embeddings and decides how much of them to take."""

    def __init__(self, config, value_gate: bool):
        super().__init__()
        self.n_head, self.n_kv_head, self.head_dim = config.n_head, config.n_kv_head, config.head_dim
        self.query = Linear(config.n_embd, self.n_head * self.head_dim)
        self.key = Linear(config.n_embd, self.n_kv_head * self.head_dim)
        self.value = Linear(config.n_embd, self.n_kv_head * self.head_dim)
        self.out = Linear(self.n_head * self.head_dim, config.n_embd)
        self.value_gate = Linear(min(GATE_INPUTS, config.n_embd), self.n_kv_head) if value_gate else None
        self.scale = config.qk_scale**2 / math.sqrt(self.head_dim)  # both factors at once, on the scores

    @torch.no_grad()
    def reset_parameters(self) -> None:
        bound = math.sqrt(3 / self.query.in_features)  # uniform with standard deviation 1/sqrt(D)
        for part in (self.query, self.key, self.value):
            nn.init.uniform_(part.weight, -bound, bound)
        nn.init.zeros_(self.out.weight)
        if self.value_gate is not None:
            nn.init.uniform_(self.value_gate.weight, 0.0, 0.02)

    def forward(self, x: Tensor, extra: Tensor | None, rotary: tuple[Tensor, Tensor], cache=None, layer: int = 0) -> Tensor:
        """x (B, T, D) -> (B, T, D). `extra` (B, T, kv heads * d): the tokens' value embeddings; `rotary`: cos and sin."""
        B, T, _ = x.shape
        q = self.query(x).view(B, T, self.n_head, self.head_dim)
        k = self.key(x).view(B, T, self.n_kv_head, self.head_dim)
        v = self.value(x).view(B, T, self.n_kv_head, self.head_dim)
        if extra is not None:
            gate = GATE_RANGE * torch.sigmoid(self.value_gate(x[..., : self.value_gate.in_features]))  # (B, T, kv heads)
            v = torch.addcmul(v, gate.unsqueeze(-1), extra.view_as(v))
        q, k = (rms_norm(rotate(part, *rotary)).transpose(1, 2) for part in (q, k))  # (B, heads, T, d)
        v = v.transpose(1, 2)
        y = self._attend(q, k, v, cache, layer)
        return self.out(y.transpose(1, 2).reshape(B, T, -1))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, cache, layer: int) -> Tensor:
        grouped = self.n_head != self.n_kv_head
        if cache is None:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=self.scale, enable_gqa=grouped)
        mask = cache.mask(q.shape[2])
        k, v = cache.update(layer, k, v)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=self.scale, enable_gqa=grouped)
