"""The residual stream: what enters it, what happens to it between the layers, and what leaves it.

    enter    x_t = e_t + s sigmoid(G e_t[:24]) e_(t-1)        smear: a token knows the one before it, before any attention
    layer i  x   = r_i x + k_i x_0                            learned scales of the stream and of what entered it
    leave    x   = x - b x_m                                  backout: what the first half wrote for the second is taken out again

e: normalised embeddings; x_m: the stream behind the middle layer. Each part can be left out; without any the stream is GPT-2's.
At first s = 0 and b = 0.2 (nanochat's values, as those of r and k).
"""

import torch
import torch.nn as nn
from torch import Tensor

from nanochat.model.linear import Linear

SMEAR_INPUTS = 24  # the first dimensions of an embedding decide how much of the one before is added


class Stream(nn.Module):
    """The parts of a GPT's stream that its config asks for: `layer_scales`, `smear`, `backout`."""

    def __init__(self, config):
        super().__init__()
        layers = config.n_layer
        self.middle = layers // 2
        self.residual_scale = nn.Parameter(torch.empty(layers)) if config.layer_scales else None
        self.skip_scale = nn.Parameter(torch.empty(layers)) if config.layer_scales else None
        self.smear_gate = Linear(min(SMEAR_INPUTS, config.n_embd), 1) if config.smear else None
        self.smear_scale = nn.Parameter(torch.empty(())) if config.smear else None
        self.backout_scale = nn.Parameter(torch.empty(())) if config.backout else None

    @torch.no_grad()
    def reset_parameters(self) -> None:
        if self.residual_scale is not None:
            layers = len(self.residual_scale)
            depth = torch.linspace(0, 1, layers) if layers > 1 else torch.zeros(1)  # 0 first layer, 1 last
            self.residual_scale.copy_(1.15 - 0.10 * depth)
            self.skip_scale.copy_(0.20 - 0.15 * depth)
        if self.smear_gate is not None:
            nn.init.uniform_(self.smear_gate.weight, 0.0, 0.02)
            nn.init.zeros_(self.smear_scale)
        if self.backout_scale is not None:
            nn.init.constant_(self.backout_scale, 0.2)

    def enter(self, x: Tensor, cache=None) -> Tensor:
        """Normalised embeddings x (B, T, D) -> (B, T, D). With a cache the first token's predecessor is the row's last one."""
        if self.smear_gate is None:
            return x
        first = torch.zeros_like(x[:, :1]) if cache is None else cache.previous(x)
        before = torch.cat([first, x[:, :-1]], dim=1)
        share = self.smear_scale.to(x.dtype) * torch.sigmoid(self.smear_gate(x[..., : self.smear_gate.in_features]))  # (B, T, 1)
        return torch.addcmul(x, share, before)

    def scales(self, layer: int) -> tuple[Tensor, Tensor] | None:
        """r and k of a layer, numbers both; None without the scales."""
        return None if self.residual_scale is None else (self.residual_scale[layer], self.skip_scale[layer])

    @staticmethod
    def before(x: Tensor, first: Tensor, scales: tuple[Tensor, Tensor] | None) -> Tensor:
        """What a block computes with: of the stream x and what entered it, `first`, (B, T, D) each."""
        return x if scales is None else scales[0] * x + scales[1] * first

    def leave(self, x: Tensor, middle: Tensor) -> Tensor:
        """What the head is given, from the stream behind the last layer and behind the middle one, (B, T, D) each."""
        return x if self.backout_scale is None else x - self.backout_scale.to(x.dtype) * middle
