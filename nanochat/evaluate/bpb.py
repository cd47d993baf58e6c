"""Bits per byte: how well a model predicts text, comparable between tokenizers.

    bpb = sum of nats over the target tokens / (ln 2 * sum of their bytes)

Only targets that stand for text count: ignored ones (-1) and special tokens (0 bytes) appear in neither sum.
"""

import itertools
import math
from collections.abc import Iterable

import torch

from nanochat.common import UserError, all_reduce_sum
from nanochat.evaluate.batches import inference


def bits_per_byte(model, batches: Iterable, token_bytes, steps: int) -> float:
    """Bits per byte over `steps` batches of (inputs (B, T), targets (B, T), -1 = ignore), summed over all processes.

    `token_bytes` (V,) is the bytes of text each token id stands for. UserError if not one byte was predicted, because the
    figure would be a division by zero.
    """
    lengths = torch.as_tensor(token_bytes, dtype=torch.float64)  # (V,)
    nats = total = 0.0
    with inference(model):
        for inputs, targets in itertools.islice(batches, steps):
            nll = model(inputs, targets, reduction="none").loss.cpu().double()  # (B, T)
            targets = targets.cpu()
            size = torch.where(targets >= 0, lengths[targets.clamp(min=0)], 0.0)  # (B, T)
            nats += nll[size > 0].sum().item()
            total += size.sum().item()
    nats, total = all_reduce_sum([nats, total])
    if not total:
        raise UserError(f"bits per byte need text, but {steps} evaluation steps held none; use more steps or more text")
    return nats / (math.log(2) * total)
