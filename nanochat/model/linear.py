"""A linear map whose weight is kept in float32 and used in the precision of what it is applied to."""

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from nanochat.model.float8 import float8_linear


class Linear(nn.Linear):
    """y = W x without bias. The optimizer sees the float32 master weight; a bfloat16 x is multiplied by a bfloat16 copy."""

    float8 = False  # multiply in 8 bits while training, see float8.py

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # (..., inputs) -> (..., outputs)
        if self.float8 and self.training:
            return float8_linear(x, self.weight)
        return F.linear(x, self.weight.to(x.dtype))
