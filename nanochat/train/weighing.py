"""Every trained token of a step weighs the same, in whichever pass of whichever process it lies.

The loss of a pass is the mean over its own n targets. The mean over all targets of all K passes of a step, those of all processes, is

    sum n loss / sum n  =  1/K sum (n / mean n) loss

so that each loss is multiplied by n / mean n before it is averaged like the others.
"""

from collections.abc import Callable, Iterator

import torch
import torch.distributed as dist
from torch import Tensor

from nanochat.train.exchange import processes


def weights(targets: list[Tensor]) -> list[Tensor]:
    """n / mean n of each of this process's passes, from the number of targets in each (scalars on the device); exactly 1 if all are equal,
    0 if there are none at all. All processes must call it. Nobody waits for a GPU."""
    counts, world = torch.stack(targets).double(), processes()[1]
    total = counts.sum()
    if world > 1:
        dist.all_reduce(total)
    return list((counts * (len(counts) * world) / total.clamp(min=1)).float())


def weighed(draw: Callable, passes: int, targets: Callable | None) -> Iterator[tuple]:
    """The batches of a step's passes, which `draw()` gives, each with its weight. With `targets`, which counts those of a batch, all are
    drawn at once."""
    if targets is None:
        yield from ((draw(), 1.0) for _ in range(passes))
    else:
        taken = [draw() for _ in range(passes)]
        yield from zip(taken, weights([targets(batch) for batch in taken]), strict=True)
