"""From logits to tokens, each row by a random stream of its own.

A token is drawn by inverting the cumulative distribution at one uniform number per row. The number comes from the row's own
generator, so what a row says does not depend on how many others are in the batch, nor on when they end.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nanochat.common import derive_seed


def row_streams(seed: int | Sequence[int], rows: int) -> list[np.random.Generator]:
    """A generator for each of `rows` rows, derived from `seed` and the row's number; or from each of so many seeds one."""
    seeds = [derive_seed(seed, "row", row) for row in range(rows)] if isinstance(seed, int) else seed
    return [np.random.default_rng(own) for own in seeds]


def check_settings(temperature: float, top_k: int | None) -> None:
    """ValueError with the legal values if a setting is not one."""
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be 0 (the likeliest token each time) or a positive number, not {temperature}")
    if top_k is not None and top_k < 0:
        raise ValueError(f"top_k must be 0 or None (all tokens) or how many of the likeliest to draw from, not {top_k}")


def sample(logits: Tensor, uniform: Tensor | None, temperature: float, top_k: int | None = None) -> Tensor:
    """A token (B,) int64 for each row of logits (B, V): the likeliest at temperature 0, else drawn from
    softmax(logits / temperature) over the `top_k` likeliest at `uniform` (B,) in [0, 1)."""
    if temperature == 0:
        return logits.argmax(dim=-1)
    logits = (logits if logits.device.type != "mps" else logits.cpu()).double()  # float32 sums of a large vocabulary are off by 1e-3
    if top_k and top_k < logits.shape[-1]:
        logits, tokens = logits.topk(top_k, dim=-1)  # (B, k)
    else:
        tokens = None
    cumulative = ((logits - logits.amax(dim=-1, keepdim=True)) / temperature).exp().cumsum(dim=-1)  # (B, k), last = total
    total = cumulative[:, -1:]
    # Strictly below the total, so that rounding cannot select a token of probability 0 at the end.
    goal = torch.minimum(uniform.to(total)[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
    chosen = torch.searchsorted(cumulative, goal, right=True)  # (B, 1): the first whose cumulative share exceeds the goal
    return (chosen if tokens is None else tokens.gather(1, chosen)).squeeze(1)
