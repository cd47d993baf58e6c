"""Muon for matrices, AdamW for everything else, in one implementation for any number of processes.

Gradients are averaged over the processes in large pieces, then every process takes the same step; so the state is the same
everywhere, is kept by parameter name, and can be loaded by a run with another number of processes.

Muon (Jordan 2024), for the matrices of one shape stacked to (K, rows, columns), at learning rate lr:

    m = mu m + (1 - mu) g;   u = (1 - mu) g + mu m           Nesterov momentum
    u = u |u| / (sqrt(rows) |row of u|)                      rows of equal length (MuonEq)
    U = polar(u)                                             the nearest orthogonal matrix, by 5 Polar Express iterations
    U = U sqrt(min(rows, columns)) / |U|                     the size an orthogonal matrix has (Muon+)
    v = b2 v + (1 - b2) mean U^2;  U = U / sqrt(v), |U| kept  each row, of wide matrices each column (NorMuon)
    W -= lr sqrt(max(1, rows/columns)) (U + wd W [U W >= 0]) cautious decay: only where it agrees with the update

AdamW (Loshchilov & Hutter 2019), for all tensors of one kind together:

    m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2
    w -= lr (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps) + lr wd w
"""

import math
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from nanochat.common import UserError
from nanochat.model.kinds import KINDS, parameter_kinds

# Coefficients (a, b, c) of X <- a X + (b A + c A^2) X, A = X X^T, for 5 iterations (Amsel et al. 2025, arXiv 2505.16932).
POLAR_EXPRESS = (
    (8.15655, -22.48329, 15.87877),
    (4.04293, -2.80892, 0.50002),
    (3.89167, -2.77248, 0.50606),
    (3.28575, -2.36813, 0.46449),
    (2.34654, -1.70978, 0.42324),
)
TINY = 1e-10
BUCKET_BYTES = 32 << 20  # gradients travel between processes in pieces of this size


@dataclass(frozen=True)
class Group:
    """How the parameters of one kind are trained. `betas` is unused by Muon, whose momentum follows a schedule."""

    lr: float
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.8, 0.95)
    eps: float = 1e-10


@dataclass(frozen=True)
class Muon:
    """Which of Muon's refinements are on. `variance`: memory of the mean squares, 0 for none."""

    equal_rows: bool = True
    unit_size: bool = True
    variance: float = 0.9
    cautious: bool = True


def polar(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """The nearly orthogonal factor of each matrix of x (K, rows, columns): singular values go to about 1."""
    tall = x.shape[-2] > x.shape[-1]
    y = (x.mT if tall else x).to(dtype or x.dtype)
    y = y / (1.01 * y.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for a, b, c in POLAR_EXPRESS:
        gram = y @ y.mT
        y = torch.baddbmm(y, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), y, beta=a)
    return (y.mT if tall else y).to(x.dtype)


class MuonAdamW:
    """The optimizer of a model. `groups`: kind (model/kinds.py) -> Group; matrices get Muon, all other kinds AdamW. `muon`: which of
    Muon's refinements are on, by default all.

    Every trainable parameter belongs to exactly one group; a kind without a group is a UserError. A parameter without a gradient
    is treated as having a zero one, so that all processes do the same whatever their batches held.
    """

    def __init__(self, model: torch.nn.Module, groups: dict[str, Group], muon: Muon | None = None):
        unknown = sorted(set(groups) - set(KINDS))
        if unknown:
            raise UserError(f"there is no parameter kind '{unknown[0]}'; kinds are: {', '.join(KINDS)}")
        kinds = parameter_kinds(model)
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        missing = sorted({kinds[name] for name in self.parameters} - set(groups))
        if missing:
            raise UserError(f"the model has parameters of kind '{missing[0]}' but the optimizer was given no learning rate for them")
        self.groups = groups
        self.names = {kind: [n for n in self.parameters if kinds[n] == kind] for kind in groups}
        self.steps = 0
        self.stacks = _Stack.by_shape({n: self.parameters[n] for n in self.names.get("matrix", [])}, muon or Muon())
        others = [n for kind in groups if kind != "matrix" for n in self.names[kind]]
        self.first = {n: torch.zeros_like(self.parameters[n]) for n in others}
        self.second = {n: torch.zeros_like(self.parameters[n]) for n in others}
        on_gpu = any(p.device.type == "cuda" for p in self.parameters.values())
        self.polar_dtype = torch.bfloat16 if on_gpu and torch.cuda.is_bf16_supported() else None

    def zero_grad(self) -> None:
        """Zeroes gradients in place: their memory is used again by the next backward."""
        held = [p.grad for p in self.parameters.values() if p.grad is not None]
        if held:
            torch._foreach_zero_(held)

    @torch.no_grad()
    def step(self, lr: float = 1.0, momentum: float = 0.95, decay: float = 1.0) -> None:
        """One update. `lr` and `decay` multiply every group's learning rate and Muon's weight decay; `momentum` is Muon's."""
        for p in self.parameters.values():
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        average([p.grad for p in self.parameters.values()])
        self.steps += 1
        if self.stacks:
            group = self.groups["matrix"]
            for stack in self.stacks:
                stack.step(group.lr * lr, momentum, group.weight_decay * decay, self.polar_dtype)
        for kind, group in self.groups.items():
            if kind != "matrix" and self.names[kind]:
                self._adamw(self.names[kind], group, group.lr * lr)

    def _adamw(self, names: list[str], group: Group, lr: float) -> None:
        (b1, b2), t = group.betas, self.steps
        weights = [self.parameters[n] for n in names]
        grads = [p.grad for p in weights]
        first, second = [self.first[n] for n in names], [self.second[n] for n in names]
        torch._foreach_lerp_(first, grads, 1 - b1)
        torch._foreach_mul_(second, b2)
        torch._foreach_addcmul_(second, grads, grads, 1 - b2)
        scale = torch._foreach_sqrt(second)
        torch._foreach_div_(scale, math.sqrt(1 - b2**t))
        torch._foreach_add_(scale, group.eps)
        if group.weight_decay:
            torch._foreach_mul_(weights, 1 - lr * group.weight_decay)
        torch._foreach_addcdiv_(weights, first, scale, -lr / (1 - b1**t))

    def state_dict(self) -> dict:
        """{"steps": n, "state": {parameter name: {"momentum", "variance"} or {"first", "second"}}}: tensors, names and numbers only."""
        state = {n: part for stack in self.stacks for n, part in stack.state()}
        state |= {n: {"first": self.first[n].clone(), "second": self.second[n].clone()} for n in self.first}
        return {"steps": self.steps, "state": state}

    @torch.no_grad()
    def load_state_dict(self, saved: dict) -> None:
        """Takes over a state by parameter name; UserError if its parameters are not this model's."""
        state, mine = saved["state"], set(self.parameters)
        if set(state) != mine:
            odd = sorted(set(state) ^ mine)[0]
            raise UserError(f"the saved optimizer state does not fit this model (parameter '{odd}'); start again with --resume=off")
        self.steps = int(saved["steps"])
        for stack in self.stacks:
            stack.load(state)
        for n in self.first:
            self.first[n].copy_(state[n]["first"])
            self.second[n].copy_(state[n]["second"])


class _Stack:
    """Matrices of one shape, trained together by Muon: one batched product instead of many small ones."""

    def __init__(self, named: dict[str, torch.nn.Parameter], muon: Muon):
        self.names, self.weights, self.muon = list(named), list(named.values()), muon
        self.momentum = torch.zeros_like(torch.stack([w.detach() for w in self.weights]))  # (K, rows, columns)
        rows, columns = self.momentum.shape[1:]
        self.shape_scale, self.unit = math.sqrt(max(1.0, rows / columns)), math.sqrt(min(rows, columns))
        self.along = -1 if rows >= columns else -2  # what a mean square is taken over
        self.variance = torch.zeros_like(self.momentum.mean(self.along, keepdim=True))

    @classmethod
    def by_shape(cls, named: dict[str, torch.nn.Parameter], muon: Muon) -> list["_Stack"]:
        shapes: dict[tuple, dict] = {}
        for name, p in named.items():
            assert p.dim() == 2, f"Muon trains matrices; {name} has shape {tuple(p.shape)}"
            shapes.setdefault((tuple(p.shape), p.device), {})[name] = p
        return [cls(part, muon) for part in shapes.values()]

    def step(self, lr: float, momentum: float, decay: float, dtype: torch.dtype | None) -> None:
        grads = torch.stack([w.grad for w in self.weights])
        self.momentum.lerp_(grads, 1 - momentum)
        update = self._direction(grads.lerp_(self.momentum, momentum), dtype)
        if decay:
            weights = torch.stack([w.detach() for w in self.weights])
            update += (weights * update >= 0) * weights * decay if self.muon.cautious else weights * decay
        torch._foreach_add_(self.weights, list(update), alpha=-lr * self.shape_scale)

    def _direction(self, u: Tensor, dtype: torch.dtype | None) -> Tensor:
        """What a step follows, (K, rows, columns), of gradients with momentum."""
        if self.muon.equal_rows:
            u = u * (_size(u) / math.sqrt(u.shape[-2]) / u.norm(dim=-1, keepdim=True).clamp(min=TINY))
        update = polar(u, dtype)
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
        return [(name, {"momentum": m.clone(), **({"variance": v.clone()} if self.muon.variance else {})}) for name, m, v in parts]

    def load(self, state: dict[str, dict[str, Tensor]]) -> None:
        """Takes over what `state` gave."""
        for i, name in enumerate(self.names):
            self.momentum[i].copy_(state[name]["momentum"])
            if self.muon.variance:
                self.variance[i].copy_(state[name]["variance"])


def _size(x: Tensor) -> Tensor:
    """Frobenius norm of each matrix, (K, 1, 1)."""
    return x.norm(dim=(-2, -1), keepdim=True)


def average(gradients: list[Tensor]) -> None:
    """Replaces gradients by their mean over all processes, in buckets of about BUCKET_BYTES; nothing to do when alone."""
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return
    flying = []
    for bucket in _buckets(gradients):
        flat = torch.cat([g.flatten() for g in bucket])
        flying.append((bucket, flat, dist.all_reduce(flat, async_op=True)))
    for bucket, flat, work in flying:
        work.wait()
        flat /= dist.get_world_size()
        parts = flat.split([g.numel() for g in bucket])
        torch._foreach_copy_(bucket, [part.view_as(g) for part, g in zip(parts, bucket, strict=True)])


def _buckets(gradients: list[Tensor]) -> list[list[Tensor]]:
    buckets: list[list[Tensor]] = []
    size = BUCKET_BYTES
    for g in gradients:
        if size >= BUCKET_BYTES or buckets[-1][0].dtype != g.dtype:
            buckets.append([])
            size = 0
        buckets[-1].append(g)
        size += g.numel() * g.element_size()
    return buckets
