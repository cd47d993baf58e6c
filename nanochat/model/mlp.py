"""The feed-forward part of a block.

y = W2 relu(W1 x)^2        hidden width 4 D (squared ReLU: So et al. 2021, Primer)
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from nanochat.model.linear import Linear


class MLP(nn.Module):
    """Widens to 4 D, applies the squared ReLU, narrows again."""

    def __init__(self, config):
        super().__init__()
        self.up = Linear(config.n_embd, 4 * config.n_embd)
        self.down = Linear(4 * config.n_embd, config.n_embd)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        bound = 0.4 * math.sqrt(3 / self.up.in_features)
        nn.init.uniform_(self.up.weight, -bound, bound)
        nn.init.zeros_(self.down.weight)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, D)
        return self.down(F.relu(self.up(x)).square())
