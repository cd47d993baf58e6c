"""A device batch that fits: tried before the first step, and made smaller with more passes a step where memory runs out."""

import gc
from collections.abc import Callable

import torch

from nanochat import common
from nanochat.common import UserError


def is_tried(device: torch.device) -> bool:
    """Whether running out of memory on a device is an error that a process survives."""
    return device.type == "cuda"


def passes_that_fit(run, model: torch.nn.Module, batches, loss_fn: Callable) -> int:
    """In how many passes one of `batches` is taken so that it fits into the memory of all processes: 1 if it fits whole.

    Tries a forward and a backward pass with the gradients in place, as all steps but the first have them; if memory runs out in any
    process, `batches` (with `batch` and `resize`) give fewer rows, the largest even part, in all of them. Afterwards cursor, random states
    and gradients are as before, but that gradients are there. Call it in all processes. UserError if one row does not fit.
    """
    if not is_tried(run.compute.device) or not hasattr(batches, "resize"):
        return 1
    for p in model.parameters():
        if p.requires_grad and p.grad is None:
            p.grad = torch.zeros_like(p)
    whole = batches.batch
    while not _fits(run.compute.device, model, batches, loss_fn):
        rows = batches.batch
        if rows == 1:
            raise UserError(
                "memory ran out with one row in a forward pass; use a smaller model, shorter rows, or a device with more memory"
            )
        cursor = batches.state_dict()
        batches.resize(max(n for n in range(1, rows) if rows % n == 0))
        batches.load_state_dict(cursor)  # what was prepared in the old size is dropped
    passes = whole // batches.batch
    if passes > 1:
        run.say(
            f"memory ran out with {whole} rows in a pass: from here on {batches.batch} rows in {passes} passes, the same tokens in a step"
        )
    return passes


def _fits(device: torch.device, model, batches, loss_fn) -> bool:
    cursor, fits = batches.state_dict(), True
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        batch = next(batches)
        try:
            loss_fn(model, batch)[0].backward()
        except torch.OutOfMemoryError:  # the frames that hold the activations are gone once this block is left
            fits = False
    del batch
    batches.load_state_dict(cursor)
    torch._foreach_zero_([p.grad for p in model.parameters() if p.grad is not None])
    if not fits:
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return common.all_reduce_sum([float(not fits)])[0] == 0
