"""Matrix products in 8-bit floating point, for training on GPUs that have it: Hopper, Ada and what came after.

Activations and weights are rounded to e4m3 (4 bits of exponent, 3 of mantissa), gradients, which need more range, to e5m2; each tensor
has one scale that takes its largest magnitude to the format's largest number (Micikevicius et al. 2022, "FP8 Formats for Deep
Learning", arXiv:2209.05433). Products are summed in float32. The optimizer keeps float32 weights; evaluation and decoding use those in the
precision of the activations. What is kept for the backward pass has one byte a number instead of two.
"""

import torch
import torch.nn as nn
from torch import Tensor

FORWARD, BACKWARD = torch.float8_e4m3fn, torch.float8_e5m2
MULTIPLE = 16  # of all sides of the matrices
SMALLEST = 128  # side of a matrix that gains: rounding it costs too
CAPABILITY = (8, 9)  # of the first GPUs with such products


def use_float8(module: nn.Module) -> tuple[int, int]:
    """Has all large linear maps (linear.py) in `module` multiply in 8 bits while training: how many do, and of how many."""
    maps = [part for part in module.modules() if hasattr(part, "float8")]
    for part in maps:
        part.float8 = min(part.weight.shape) >= SMALLEST and all(side % MULTIPLE == 0 for side in part.weight.shape)
    return sum(part.float8 for part in maps), len(maps)


def lacking(device: torch.device, dtype: torch.dtype, tokens: int) -> str:
    """Why a pass over so many tokens in `dtype` cannot be in 8 bits on a device, "" if it can."""
    if device.type != "cuda":
        return "there is no GPU"
    capability = torch.cuda.get_device_capability(device)
    if capability < CAPABILITY:
        return f"this GPU has no 8-bit products (compute capability {'.'.join(map(str, capability))}, they begin at 8.9)"
    if dtype != torch.bfloat16:
        return f"activations are {str(dtype).removeprefix('torch.')}, not bfloat16"
    return f"a forward pass has {tokens} tokens, not a multiple of {MULTIPLE}" if tokens % MULTIPLE else ""


def round_to(x: Tensor, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """x in 8 bits, and the float32 scalar that it is to be multiplied by."""
    largest = torch.finfo(kind).max
    scale = largest / x.abs().amax().float().clamp(min=1e-12)
    return (x.float() * scale).clamp(-largest, largest).to(kind), scale.reciprocal()


class Float8Product(torch.autograd.Function):
    """x (N, K), weight (M, K) float32 -> x weight^T (N, M) in the dtype of x."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:
        (x8, of_x), (w8, of_w) = round_to(x, FORWARD), round_to(weight, FORWARD)
        ctx.save_for_backward(x8, of_x, w8, of_w)
        return _multiply(x8, w8.t(), of_x, of_w, x.dtype, fast=True)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor]:
        x8, of_x, w8, of_w = ctx.saved_tensors
        g8, of_g = round_to(grad, BACKWARD)
        # The second factor must lie column by column.
        of_input = _multiply(g8, w8.t().contiguous().t(), of_g, of_w, grad.dtype)
        of_weight = _multiply(g8.t().contiguous(), x8.t().contiguous().t(), of_g, of_x, torch.float32)
        return of_input, of_weight


def _multiply(a: Tensor, b: Tensor, of_a: Tensor, of_b: Tensor, dtype: torch.dtype, fast: bool = False) -> Tensor:
    """`fast`: partial sums may lose some bits, which gradients cannot spare."""
    return torch._scaled_mm(a, b, scale_a=of_a, scale_b=of_b, out_dtype=dtype, use_fast_accum=fast)


def float8_linear(x: Tensor, weight: Tensor) -> Tensor:  # (..., K), (M, K) -> (..., M)
    return Float8Product.apply(x.reshape(-1, x.shape[-1]), weight).view(*x.shape[:-1], len(weight))
