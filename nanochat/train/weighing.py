"""Everything trained in a step weighs the same, in whichever pass of whichever process it lies.

A loss has parts, each a mean over its own kind of things: trained tokens, labelled operations, open gates. In a pass that holds n of a kind
the part is the mean over those n. The mean over all of them in all K passes of a step, those of all processes, is

    sum n part / sum n  =  1/K sum (n / mean n) part

so that each part is multiplied by n / mean n before the losses of the passes are averaged. What is counted follows from the data alone:
it is known before the first forward pass.
"""

from collections.abc import Callable, Iterator

import torch
import torch.distributed as dist
from torch import Tensor

from nanochat.train.exchange import processes


def weights(counts: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    """n / mean n of each part in each of this process's passes, from how many things there are of it (integer scalars on the device);
    exactly 1 if all passes have equally many, 0 if there are none at all. All processes must call it, with the same names in the same
    order. Nobody waits for a GPU."""
    names, world = list(counts[0]), processes()[1]
    table = torch.stack([torch.stack([of_pass[name] for name in names]) for of_pass in counts])  # (passes, parts)
    total = table.sum(0)
    if world > 1:
        dist.all_reduce(total)
    shares = (table * (len(counts) * world)).float() / total.clamp(min=1).float()
    return [dict(zip(names, row.unbind(), strict=True)) for row in shares]


def weighed(draw: Callable, passes: int, targets: Callable | None) -> Iterator[tuple]:
    """The batches of a step's passes, which `draw()` gives, each with what its loss is to be told: {"weights": by part}, or {} where all
    weigh the same. With `targets`, which counts what a batch has of each part, all are drawn at once, unless there is but one."""
    if targets is None or passes * processes()[1] == 1:
        yield from ((draw(), {}) for _ in range(passes))
    else:
        taken = [draw() for _ in range(passes)]
        yield from ((batch, {"weights": own}) for batch, own in zip(taken, weights([targets(batch) for batch in taken]), strict=True))
