"""Normalisation without weights.

N(x) = x / sqrt(mean(x^2) + eps)        (RMSNorm, Zhang & Sennrich 2019)
"""

import torch.nn.functional as F
from torch import Tensor


def rms_norm(x: Tensor) -> Tensor:
    """x (..., D) scaled to root mean square 1 along its last dimension."""
    return F.rms_norm(x, (x.shape[-1],))
