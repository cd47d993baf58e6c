"""Muon: steps of matrices along the nearest orthogonal matrix to their momentum.

After Jordan 2024. For the matrices of one shape stacked to (K, rows, columns), at learning rate lr:

    m = mu m + (1 - mu) g;   u = (1 - mu) g + mu m           Nesterov momentum
    u = u |u| / (sqrt(rows) |row of u|)                      rows of equal length (MuonEq)
    U = polar(u)                                             the nearest orthogonal matrix, by 5 iterations
    U = U sqrt(min(rows, columns)) / |U|                     the size an orthogonal matrix has (Muon+)
    v = b2 v + (1 - b2) mean U^2;  U = U / sqrt(v), |U| kept  each row, of wide matrices each column (NorMuon)
    W -= lr sqrt(max(1, rows/columns)) (U + wd W [U W >= 0]) cautious decay: only where it agrees with the update
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# Coefficients (a, b, c) of X <- a X + (b A + c A^2) X, A = X X^T, for each iteration.
ITERATIONS = {
    "polar_express": (  # Amsel et al. 2025, arXiv 2505.16932
        (8.15655, -22.48329, 15.87877),
        (4.04293, -2.80892, 0.50002),
        (3.89167, -2.77248, 0.50606),
        (3.28575, -2.36813, 0.46449),
        (2.34654, -1.70978, 0.42324),
    ),
    "newton_schulz": ((3.4445, -4.7750, 2.0315),) * 5,  # Jordan 2024
}
TINY = 1e-10


@dataclass(frozen=True)
class Muon:
    """Which of Muon's refinements are on. `orthogonal`: the ITERATIONS, or "off": AdamW trains matrices too. `variance`: memory of the mean
    squares, 0 for none."""

    orthogonal: str = "polar_express"
    equal_rows: bool = True
    unit_size: bool = True
    variance: float = 0.9
    cautious: bool = True


def polar(x: Tensor, dtype: torch.dtype | None = None, iterations: str = "polar_express") -> Tensor:
    """The nearly orthogonal factor of each matrix of x (K, rows, columns): singular values go to about 1 (Newton-Schulz: 0.7 to 1.2)."""
    tall = x.shape[-2] > x.shape[-1]
    y = (x.mT if tall else x).to(dtype or x.dtype)
    y = y / (1.01 * y.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for a, b, c in ITERATIONS[iterations]:
        gram = y @ y.mT
        y = torch.baddbmm(y, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), y, beta=a)
    return (y.mT if tall else y).to(x.dtype)


class Stack:
    """Matrices of one shape, trained together by Muon: one batched product instead of many small ones."""

    def __init__(self, named: dict[str, torch.nn.Parameter], muon: Muon):
        self.names, self.weights, self.muon = list(named), list(named.values()), muon
        self.momentum = torch.zeros_like(torch.stack([w.detach() for w in self.weights]))  # (K, rows, columns)
        rows, columns = self.momentum.shape[1:]
        self.shape_scale, self.unit = math.sqrt(max(1.0, rows / columns)), math.sqrt(min(rows, columns))
        self.along = -1 if rows >= columns else -2  # what a mean square is taken over
        self.variance = torch.zeros_like(self.momentum.mean(self.along, keepdim=True))

    @classmethod
    def by_shape(cls, named: dict[str, torch.nn.Parameter], muon: Muon) -> list["Stack"]:
        shapes: dict[tuple, dict] = {}
        for name, p in named.items():
            shapes.setdefault((tuple(p.shape), p.device), {})[name] = p
        return [cls(part, muon) for part in shapes.values()]

    def step(self, lr: float, momentum: float, decay: float, dtype: torch.dtype | None, keep: Tensor | None = None) -> None:
        grads = torch.stack([w.grad for w in self.weights])
        self.momentum.lerp_(grads, 1 - momentum)
        update = self._direction(grads.lerp_(self.momentum, momentum), dtype)
        if decay:
            weights = torch.stack([w.detach() for w in self.weights])
            update += (weights * update >= 0) * weights * decay if self.muon.cautious else weights * decay
        if keep is not None:
            update *= keep
        torch._foreach_add_(self.weights, list(update), alpha=-lr * self.shape_scale)

    def _direction(self, u: Tensor, dtype: torch.dtype | None) -> Tensor:
        """What a step follows, (K, rows, columns), of gradients with momentum."""
        if self.muon.equal_rows:
            u = u * (_size(u) / math.sqrt(u.shape[-2]) / u.norm(dim=-1, keepdim=True).clamp(min=TINY))
        update = polar(u, dtype, self.muon.orthogonal)
        if self.muon.unit_size:
            update *= self.unit / _size(update).clamp(min=TINY)
        if self.muon.variance:
            before = _size(update)
            self.variance.lerp_(update.square().mean(self.along, keepdim=True), 1 - self.muon.variance)
            update *= self.variance.clamp(min=TINY).rsqrt()
            update *= before / _size(update).clamp(min=TINY)
        return update

    def state(self) -> list[tuple[str, dict[str, Tensor]]]:
        """(name, its state) of each matrix."""
        parts = zip(self.names, self.momentum, self.variance, strict=True)
        return [(name, {"momentum": m, **({"variance": v} if self.muon.variance else {})}) for name, m, v in parts]

    def load(self, state: dict[str, dict[str, Tensor]]) -> None:
        """Takes over what `state` gave."""
        for i, name in enumerate(self.names):
            self.momentum[i].copy_(state[name]["momentum"])
            if self.muon.variance:
                self.variance[i].copy_(state[name]["variance"])


def _size(x: Tensor) -> Tensor:
    """Frobenius norm of each matrix, (K, 1, 1)."""
    return x.norm(dim=(-2, -1), keepdim=True)
