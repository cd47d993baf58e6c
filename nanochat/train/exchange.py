"""What several processes tell one another in a training step: gradients go to whoever updates a weight, weights come back from there.

    exchange.last_pass()      the next backward pass is the step's last: gradients leave in buckets while it still runs
    exchange.send()           after it: what has not left yet leaves, in the same order everywhere
    exchange.collect()        waits; each process has the mean gradient of its own pieces
    exchange.spread(buckets)  the updated weights leave
    exchange.receive()        waits; all processes have all weights
    exchange.zero()           gradients are zero

A bucket is a stretch of one long buffer, all for one process: it is reduced to that process and later broadcast from there, which moves
as much as a reduce-scatter and an all-gather do, needs no equal shares, and works with gloo as with nccl. The gradients of the
parameters are views of the buffer, so nothing is copied on the way out; on the way back the buffer carries the weights.

Collective calls must come in one order in all processes. Buckets leave in the order in which those of the first process were complete
in the first step, each only after all before it: a parameter without a gradient holds up those behind it until `send`. With nccl no call
here makes the host wait for the device, except once, when the order is learned.
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from nanochat.train.sharding import Piece

BUCKET_ELEMENTS = 4 << 20  # gradients travel in buckets of at least so many elements (16 MB), as far as they are for one process


def processes() -> tuple[int, int]:
    """(rank, number of processes) of the process group, (0, 1) without one."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


@dataclass
class Bucket:
    """Pieces of one owner, next to one another in the buffer as `flat`; `work` is what was started with them last."""

    pieces: list[Piece]
    flat: Tensor
    work: dist.Work | None = None

    @property
    def owner(self) -> int:
        return self.pieces[0].owner

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(piece.name for piece in self.pieces))

    def wait(self) -> None:
        if self.work is not None:
            self.work.wait()
            self.work = None


class Exchange:
    """The exchange of the gradients and weights of `parameters` between all processes. `matrices` and `others` are all of their pieces,
    best in the order in which a backward pass reaches them; of `others` those of a parameter, and of an owner, next to one another."""

    def __init__(self, parameters: dict[str, torch.nn.Parameter], matrices: list[Piece], others: list[Piece]):
        self.parameters, (self.rank, self.world) = parameters, processes()
        kinds = {(p.dtype, p.device) for p in parameters.values()}
        assert len(kinds) == 1, f"the parameters of one optimizer are of one type on one device, not {kinds}"
        groups = [_buckets(_runs(matrices)), _buckets(others)]
        first = next(iter(parameters.values()))
        self.buffer = torch.zeros(sum(map(len, matrices)) + sum(map(len, others)), dtype=first.dtype, device=first.device)
        self.views: dict[str, Tensor] = {}
        self.matrices, self.others = (self._lay_out(group) for group in groups)
        self.buckets = [*self.others, *self.matrices]
        self.order, self.learned = list(range(len(self.buckets))), False
        self.sent, self.armed, self.held = 0, False, False
        self.missing, self.complete = [], []  # of each bucket the gradients that have not come; buckets in the order they were complete
        self.buckets_of: dict[str, list[int]] = {name: [] for name in parameters}
        for i, bucket in enumerate(self.buckets):
            for name in bucket.names:
                self.buckets_of[name].append(i)
        for name, p in parameters.items():
            p.grad = self.views[name]
            p.register_post_accumulate_grad_hook(lambda _, name=name: self._ready(name))

    def _lay_out(self, groups: list[list[Piece]]) -> list[Bucket]:
        """Gives each group of pieces its stretch of the buffer, after those that have one."""
        end, buckets = sum(view.numel() for view in self.views.values()), []
        for pieces in groups:
            start = end
            for piece in pieces:
                p = self.parameters[piece.name]
                if piece.start == 0:
                    assert p.is_contiguous(), f"{piece.name} is not contiguous"
                    self.views[piece.name] = self.buffer[end : end + p.numel()].view_as(p)
                end += len(piece)
            buckets.append(Bucket(pieces, self.buffer[start:end]))
        return buckets

    # -- gradients ----------------------------------------------------------------------------------------------------

    def last_pass(self, hold: bool = False) -> None:
        """`hold`: in this process nothing leaves before `send`, so that gradients can be looked at; the others need not know."""
        self.missing, self.complete = [len(bucket.names) for bucket in self.buckets], []
        self.armed, self.held = True, hold

    def _ready(self, name: str) -> None:
        """The gradient of a parameter is as this pass leaves it."""
        if not self.armed:
            return
        for i in self.buckets_of[name]:
            self.missing[i] -= 1
            if self.missing[i] == 0:
                self.complete.append(i)
        while not self.held and self.sent < len(self.order) and self.missing[self.order[self.sent]] == 0:
            self._send_next()

    def _send_next(self) -> None:
        bucket = self.buckets[self.order[self.sent]]
        for name in bucket.names:
            self._bring_home(name)
        bucket.work = dist.reduce(bucket.flat, dst=bucket.owner, async_op=True)
        self.sent += 1

    def _bring_home(self, name: str) -> None:
        """A gradient that somebody else made, or took away, becomes a view of the buffer again; none at all is zero."""
        p, view = self.parameters[name], self.views[name]
        if p.grad is not view:
            view.zero_() if p.grad is None else view.copy_(p.grad)
            p.grad = view

    def send(self) -> None:
        """To be called in all processes before any other collective call."""
        while self.sent < len(self.order):
            self._send_next()
        if self.armed and not self.learned:
            self._learn_order()
        self.armed = False

    def _learn_order(self) -> None:
        never = [i for i in range(len(self.buckets)) if i not in self.complete]
        order = torch.tensor([*self.complete, *never], device=self.buffer.device)
        dist.broadcast(order, src=0)
        self.order, self.learned = order.tolist(), True

    def collect(self) -> None:
        """The gradients of other processes' pieces hold nothing of use from here on until `zero`."""
        self.send()
        for bucket in self.buckets:
            bucket.wait()
        mine = [bucket.flat for bucket in self.buckets if bucket.owner == self.rank]
        if mine:
            torch._foreach_div_(mine, self.world)
        self.sent = 0

    def zero(self) -> None:
        """Whatever is on its way arrives first."""
        for bucket in self.buckets:
            bucket.wait()
        self.buffer.zero_()
        for name, p in self.parameters.items():
            p.grad = self.views[name]
        self.sent, self.armed = 0, False

    # -- weights ------------------------------------------------------------------------------------------------------

    def spread(self, buckets: list[Bucket]) -> None:
        """Sends this process's weights in these buckets, and begins to receive the others'."""
        for bucket in buckets:
            if bucket.owner == self.rank:
                torch._foreach_copy_(self._parts(bucket), self._weights(bucket))
            bucket.work = dist.broadcast(bucket.flat, src=bucket.owner, async_op=True)

    def receive(self) -> None:
        for bucket in self.buckets:
            bucket.wait()
            if bucket.owner != self.rank:
                torch._foreach_copy_(self._weights(bucket), self._parts(bucket))

    def _weights(self, bucket: Bucket) -> list[Tensor]:
        return [piece.of(self.parameters[piece.name].detach()) for piece in bucket.pieces]

    def _parts(self, bucket: Bucket) -> list[Tensor]:
        return list(bucket.flat.split([len(piece) for piece in bucket.pieces]))

    # -- state --------------------------------------------------------------------------------------------------------

    def to_first(self, value: Tensor | None, shape: tuple[int, ...], owner: int) -> Tensor | None:
        """A copy on the CPU, in the first process, of a tensor of this shape that only its owner has; None in the others."""
        if owner > 0:
            value = value.contiguous() if self.rank == owner else self.buffer.new_empty(shape)
            dist.broadcast(value, src=owner)
        return value.to("cpu", copy=True) if self.rank == 0 else None


def _runs(pieces: list[Piece]) -> list[Piece]:
    """The same pieces, but so many of each owner's next to one another that they make a bucket."""
    waiting: dict[int, list[Piece]] = {}
    ordered = []
    for piece in pieces:
        run = waiting.setdefault(piece.owner, [])
        run.append(piece)
        if sum(map(len, run)) >= BUCKET_ELEMENTS:
            ordered += waiting.pop(piece.owner)
    return ordered + [piece for run in waiting.values() for piece in run]


def _buckets(pieces: list[Piece]) -> list[list[Piece]]:
    """Neighbours of one owner, up to a bucket."""
    buckets: list[list[Piece]] = []
    for piece in pieces:
        if not buckets or buckets[-1][0].owner != piece.owner or sum(map(len, buckets[-1])) >= BUCKET_ELEMENTS:
            buckets.append([])
        buckets[-1].append(piece)
    return buckets
