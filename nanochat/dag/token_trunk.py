"""What the variants read with: a causal transformer over the tokens as they are, digit by digit, as the first systems had it."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from nanochat.dag.planner import Rotary, norm
from nanochat.dag.predictor import TowerConfig, TrunkBlock


def positions(x: torch.Tensor) -> torch.Tensor:
    """(B, T) positions of the tokens of x (B, T, ...)."""
    return torch.arange(x.shape[1], device=x.device).expand(x.shape[:2])


class Block(TrunkBlock):
    """The tower's causal transformer block, over tokens: x (B, T, H) to (B, T, H). Padding at the end changes nothing before it."""

    def forward(self, x):
        return super().forward(x, positions(x), None)[0]


class Attention(nn.Module):
    """Causal attention whose queries may come from another stream than keys and values; (B, T, H) each."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.rotary = Rotary(width // heads)

    def forward(self, x, memory):
        at = positions(x)
        q, k, v = (f(norm(y)).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f, y in self._inputs(x, memory))
        y = F.scaled_dot_product_attention(self.rotary(norm(q), at) * 1.2, self.rotary(norm(k), at) * 1.2, v, is_causal=True)
        return self.out(y.transpose(1, 2).flatten(2))

    def _inputs(self, x, memory):
        return (self.query, x), (self.key, memory), (self.value, memory)


class TokenTrunk(nn.Module):
    """Token ids (B, T) to normalised hidden states (B, T, H)."""

    def __init__(self, config: TowerConfig):
        super().__init__()
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))

    def forward(self, idx):
        x = norm(self.embedding(idx))
        for block in self.blocks:
            x = block(x)
        return norm(x)


@torch.no_grad()
def reset_parameters(model: nn.Module) -> None:
    """As in the tower: embeddings N(0, 1), matrices uniform with variance 1 / fan_in, what ends a block's residual branch zero."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            bound = math.sqrt(3 / module.in_features)
            nn.init.uniform_(module.weight, -bound, bound)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight)
    for block in model.modules():
        if isinstance(block, Block):
            nn.init.zeros_(block.out.weight)
            nn.init.zeros_(block.down.weight)


def parameter_kinds(model: nn.Module, heads: tuple[str, ...]) -> dict[str, str]:
    """How the optimizer treats each parameter: maps between hidden states are matrices (Muon); `heads`, which predict, and all else
    are plain (AdamW)."""
    maps = {f"{prefix}.weight" for prefix, m in model.named_modules() if isinstance(m, nn.Linear) and not prefix.startswith(heads)}
    return {name: "matrix" if name in maps else "scalar" for name, _ in model.named_parameters()}
