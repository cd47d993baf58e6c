"""Cross-entropy of the soft-capped head in one piece, forward and backward; with cap 0 of the head as it is.

    z = W x,  s = c tanh(z / c),  nll = log sum exp(s) - s[target]
    d nll / d z = (softmax(s) - [target]) (1 - tanh^2(z / c))

Written out by hand because the logits are by far the largest tensors of a small model: rows are worked through in pieces that
fit a cache, in place, and never exist all at once. What the backward pass needs is d nll / d z: where it is small it is kept, in the
precision of x; where it is not, each piece is computed a second time. With tanh(a) = 2 sigmoid(2a) - 1, which costs a third
of it on a CPU; |s| <= c, so exp needs no shift. The logits and everything made from them are float32 at any precision of x.
"""

from collections.abc import Callable

import torch
from torch import Tensor

LOGITS_AT_ONCE = {"cpu": 1 << 19, "cuda": 1 << 27}  # per piece: 2 MB of float32 stay in cache, 512 MB fill a GPU
LOGITS_KEPT = {"cpu": 1 << 27, "cuda": 1 << 28}  # at most so many slopes wait for the backward pass: 512 MB each


def capped(logits: Tensor, cap: float) -> Tensor:
    """cap * tanh(logits / cap) in float32: bfloat16 has 8 bits for a value up to `cap`. Cap 0: the logits in float32."""
    return cap * torch.tanh(logits.float() / cap) if cap else logits.float()


def capped_nll(x: Tensor, weight: Tensor, targets: Tensor, cap: float, piece: Callable | None = None) -> Tensor:
    """-log p(target) in nats, (N,) float32, 0 where the target is -1. x (N, D), weight (V, D), targets (N,) int64. `piece`: what
    computes some rows, nll_of_piece or another."""
    return _CappedNLL.apply(x, weight.to(x.dtype), targets, cap, torch.is_grad_enabled(), piece or nll_of_piece)


class _CappedNLL(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, targets, cap, needs_grad, piece):
        N, V = len(x), len(weight)
        nll = torch.empty(N, dtype=torch.float32, device=x.device)
        most = LOGITS_KEPT.get(x.device.type, 1 << 27)
        keep = needs_grad and most >= N * V
        slope = torch.empty(N, V, dtype=x.dtype, device=x.device) if keep else None
        for here in _pieces(x, V):
            nll[here] = piece(x[here], weight, targets[here], cap, slope[here] if keep else None)
        if needs_grad:
            ctx.save_for_backward(x, weight, slope if keep else targets)
            ctx.cap, ctx.kept, ctx.piece = cap, keep, piece
        return nll

    @staticmethod
    def backward(ctx, grad):
        x, weight, saved = ctx.saved_tensors
        grad = grad.to(x.dtype)[:, None]
        if ctx.kept:  # saved: the slopes (N, V)
            return (saved @ weight).mul_(grad), saved.T @ (x * grad), None, None, None, None
        dx, dw = torch.empty_like(x), torch.zeros(weight.shape, dtype=torch.float32, device=x.device)
        for here in _pieces(x, len(weight)):  # saved: the targets (N,)
            slope = torch.empty(len(x[here]), len(weight), dtype=x.dtype, device=x.device)
            ctx.piece(x[here], weight, saved[here], ctx.cap, slope)
            torch.mul(slope @ weight, grad[here], out=dx[here])
            dw += slope.T @ (x[here] * grad[here])
        return dx, dw.to(weight.dtype), None, None, None, None


def _pieces(x: Tensor, vocabulary: int) -> list[slice]:
    rows = max(1, LOGITS_AT_ONCE.get(x.device.type, 1 << 27) // vocabulary)
    return [slice(start, min(start + rows, len(x))) for start in range(0, len(x), rows)]


def nll_of_piece(x: Tensor, weight: Tensor, targets: Tensor, cap: float, slope: Tensor | None) -> Tensor:
    """nll (n,) of some rows; fills `slope` (n, V) with d nll / d z."""
    if not cap:
        return _uncapped_piece(x, weight, targets, slope)
    half = (x @ weight.T).float().mul_(2 / cap).sigmoid_()  # (n, V): s = cap (2 half - 1)
    p = half.mul(2 * cap).sub_(cap).exp_()
    total = p.sum(dim=1, keepdim=True)  # (n, 1)
    ignored, target = targets[:, None] < 0, targets.clamp(min=0)[:, None]
    at_target = half.gather(1, target).mul_(2 * cap).sub_(cap)
    nll = (total.log() - at_target).masked_fill_(ignored, 0.0).squeeze(1)
    if slope is not None:
        p.mul_((1 / total).masked_fill_(ignored, 0.0))
        p.scatter_add_(1, target, ignored.float() - 1)
        bend = half.mul(4).addcmul_(half, half, value=-4)  # 1 - tanh^2
        torch.mul(p, bend, out=slope)
    return nll


def _uncapped_piece(x: Tensor, weight: Tensor, targets: Tensor, slope: Tensor | None) -> Tensor:
    """The same with s = z."""
    p = (x @ weight.T).float()  # (n, V)
    ignored, target = targets[:, None] < 0, targets.clamp(min=0)[:, None]
    p.sub_(p.amax(dim=1, keepdim=True))
    at_target = p.gather(1, target)
    total = p.exp_().sum(dim=1, keepdim=True)
    nll = (total.log() - at_target).masked_fill_(ignored, 0.0).squeeze(1)
    if slope is not None:
        p.mul_((1 / total).masked_fill_(ignored, 0.0))
        slope.copy_(p.scatter_add_(1, target, ignored.float() - 1))
    return nll


def nll_of_piece_as_one(x: Tensor, weight: Tensor, targets: Tensor, cap: float, slope: Tensor | None) -> Tensor:
    """The same in the form that a compiler makes two passes over the logits of: nothing in place, no scatter."""
    z = (x @ weight.T).float()  # (n, V)
    s = cap * torch.tanh(z / cap) if cap else z
    ignored, target = targets[:, None] < 0, targets.clamp(min=0)[:, None]
    total = s.logsumexp(dim=1, keepdim=True)
    nll = (total - s.gather(1, target)).masked_fill(ignored, 0.0).squeeze(1)
    if slope is not None:
        is_target = torch.arange(len(weight), device=x.device) == target  # (n, V)
        bend = 1 - (s / cap).square() if cap else 1.0
        slope.copy_((((s - total).exp() - is_target.float()) * bend).masked_fill(ignored, 0.0))
    return nll
