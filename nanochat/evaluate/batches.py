"""Rows of different lengths as few, well-filled batches; and sums and lists over all processes."""

import contextlib
from collections.abc import Iterator, Sequence

import torch
import torch.distributed as dist

from nanochat.common import world_size


def buckets(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices in batches of similar lengths, longest first: rows x longest row <= `budget` tokens, at least one row."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batch and (len(batch) + 1) * lengths[batch[0]] > budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def pad_right(rows: Sequence[Sequence[int]], fill: int, device) -> torch.Tensor:
    """(B, longest) int64. Right padding cannot be seen by the tokens before it: attention is causal."""
    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows], dtype=torch.long, device=device)


def crop_left(ids: Sequence[int], length: int) -> list[int]:
    """`ids` if it fits into `length` tokens, else its first (BOS) and its last `length` - 1."""
    return list(ids) if len(ids) <= length else [ids[0], *ids[len(ids) - length + 1 :]]


@contextlib.contextmanager
def inference(model):
    """No gradients, and the model in evaluation mode; its mode is put back afterwards."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def device_of(model) -> torch.device:
    """Where the model's parameters are; the CPU for one without."""
    parameter = next(model.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


def gather_lists(values: list) -> list:
    """The processes' lists, one after the other by rank, on every process."""
    if world_size() == 1 or not dist.is_initialized():
        return list(values)
    gathered: list = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, list(values))
    return [value for part in gathered for value in part]
