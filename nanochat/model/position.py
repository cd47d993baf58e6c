"""Rotary positions (Su et al. 2021): a query or key at position p is rotated by angles p * theta_i, so that a score depends on
how far apart two tokens are, not on where they stand.

    theta_i = base^(-2i/d);  (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin), x1 and x2 the halves of a head
                             = (x1, x2) * (cos, cos) + (x2, x1) * (-sin, sin)
"""

import torch
import torch.nn as nn
from torch import Tensor


class Rotary(nn.Module):
    """Tables of cos and sin; they grow when a longer context asks for more positions."""

    def __init__(self, head_dim: int, base: float, length: int):
        super().__init__()
        self.head_dim, self.base = head_dim, base
        self.register_buffer("cos", None, persistent=False)
        self.register_buffer("sin", None, persistent=False)
        self._build(length, torch.device("cpu"))

    def _build(self, length: int, device: torch.device) -> None:
        inverse = self.base ** (-torch.arange(0, self.head_dim, 2, dtype=torch.float32, device=device) / self.head_dim)
        angle = torch.arange(length, dtype=torch.float32, device=device)[:, None] * inverse  # (length, d/2)
        cos, sin = angle.cos(), angle.sin()
        self.cos, self.sin = torch.cat([cos, cos], dim=1), torch.cat([-sin, sin], dim=1)  # (length, d)

    def forward(self, length: int, positions: Tensor | None, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """cos and sin for positions 0 .. length-1, (1, length, 1, d), or for `positions` (B, T) below `length`, (B, T, 1, d)."""
        if length > len(self.cos):
            self._build(max(length, 2 * len(self.cos)), self.cos.device)
        if positions is None:
            cos, sin = self.cos[None, :length], self.sin[None, :length]
        else:
            positions = positions.clamp(max=len(self.cos) - 1)  # padding after a row's end may reach beyond
            cos, sin = self.cos[positions], self.sin[positions]
        return cos.to(dtype).unsqueeze(2), sin.to(dtype).unsqueeze(2)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x (B, T, heads, d) rotated to its positions; cos and sin (B or 1, T, 1, d)."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, dims=-1), sin)
