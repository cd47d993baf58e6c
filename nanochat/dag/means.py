"""The parts of the losses: means over what is known, each with its weight in the step (`train/weighing.py`)."""

import torch
from torch import Tensor


def mean_where(x: Tensor, where: Tensor, weights: dict[str, Tensor] | None = None, part: str = "") -> Tensor:
    """Mean of x over the places where `where` is true, 0 if there are none; times the weight of this part of a loss, if there are any."""
    where = where.view_as(x)
    return weighed(torch.where(where, x, 0.0).sum() / where.sum().clamp(min=1), weights, part)


def weighed(mean: Tensor, weights: dict[str, Tensor] | None, part: str) -> Tensor:
    """A mean times the weight of its part; as it is without weights."""
    return mean if weights is None else weights[part] * mean
