"""Muon for matrices, AdamW for everything else, in one implementation for any number of processes.

Each process keeps the state of its share of the parameters (sharding.py), gets their mean gradients, updates them, and sends them to the
others (exchange.py); alone it has them all. Saved, the state is whole and by parameter name, so that a run with another number of
processes can go on with it. Muon's equations are in muon.py.

AdamW (Loshchilov & Hutter 2019), for all tensors of one kind together:

    m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2
    w -= lr (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps) + lr wd w
"""

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from nanochat.common import UserError
from nanochat.model.kinds import KINDS, parameter_kinds
from nanochat.train.exchange import Exchange, processes
from nanochat.train.muon import Muon, Stack
from nanochat.train.scaler import LossScaler
from nanochat.train.sharding import Piece, share_matrices, share_others, state_bytes

SMALL = 1 << 14  # parameters of fewer elements are exchanged together, after the others: many are ready only at the very end


@dataclass(frozen=True)
class Group:
    """How the parameters of one kind are trained. `betas` is unused by Muon, whose momentum follows a schedule."""

    lr: float
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.8, 0.95)
    eps: float = 1e-10


class MuonAdamW:
    """The optimizer of a model. `groups`: kind (model/kinds.py) -> Group; matrices get Muon, all other kinds AdamW. `muon`: which of
    Muon's refinements are on, by default all. `scaler`: where activations are float16, the loss is to be multiplied by `loss_scale`.

    Every trainable parameter belongs to exactly one group; a kind without a group is a UserError. A parameter without a gradient
    is treated as having a zero one, so that all processes do the same whatever their batches held. Make it when the model is on its
    device. All processes call the same methods in the same order.
    """

    def __init__(self, model: torch.nn.Module, groups: dict[str, Group], muon: Muon | None = None, scaler: LossScaler | None = None):
        unknown = sorted(set(groups) - set(KINDS))
        if unknown:
            raise UserError(f"there is no parameter kind '{unknown[0]}'; kinds are: {', '.join(KINDS)}")
        kinds = parameter_kinds(model)
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        missing = sorted({kinds[name] for name in self.parameters} - set(groups))
        if missing:
            raise UserError(f"the model has parameters of kind '{missing[0]}' but the optimizer was given no learning rate for them")
        self.groups, self.muon, self.scaler, self.steps = groups, muon or Muon(), scaler, 0
        self.names = {kind: [n for n in self.parameters if kinds[n] == kind] for kind in groups}
        self.by_muon = set(self.names.get("matrix", [])) if self.muon.orthogonal != "off" else set()
        self.rank, self.world = processes()
        matrices, others = self._share_out()
        self.pieces = [*matrices, *others]
        self.exchange = Exchange(self.parameters, matrices, others) if self.world > 1 else None
        self.stacks = Stack.by_shape({p.name: self.parameters[p.name] for p in matrices if p.owner == self.rank}, self.muon)
        mine = [piece for piece in others if piece.owner == self.rank]
        self.mine = {kind: [piece for piece in mine if kinds[piece.name] == kind] for kind in groups}
        self.first, self.second = ({p: torch.zeros_like(p.of(self.parameters[p.name].detach())) for p in mine} for _ in range(2))
        on_gpu = any(p.device.type == "cuda" for p in self.parameters.values())
        self.polar_dtype = torch.bfloat16 if on_gpu and torch.cuda.is_bf16_supported(including_emulation=False) else None

    def _share_out(self) -> tuple[list[Piece], list[Piece]]:
        """All pieces of the matrices and of the other parameters, about in the order in which a backward pass reaches them."""
        backward = dict(reversed(self.parameters.items()))
        for name in self.by_muon:
            assert backward[name].dim() == 2, f"Muon trains matrices; {name} has shape {tuple(backward[name].shape)}"
        matrices = share_matrices({name: tuple(p.shape) for name, p in backward.items() if name in self.by_muon}, self.world)
        sizes = {name: p.numel() for name, p in backward.items() if name not in self.by_muon}
        large_first = dict(sorted(sizes.items(), key=lambda item: item[1] < SMALL))
        return matrices, share_others(large_first, state_bytes(matrices, self.by_muon, self.world))

    def state_bytes(self) -> list[int]:
        """Bytes of state that each process keeps."""
        return state_bytes(self.pieces, self.by_muon, self.world)

    # -- gradients ----------------------------------------------------------------------------------------------------

    @property
    def loss_scale(self) -> float:
        """What a loss must be multiplied by before its backward pass."""
        return self.scaler.scale if self.scaler else 1.0

    def last_pass(self, hold: bool = False) -> None:
        """The next backward pass is the last of a step: gradients may leave for other processes as soon as they are complete. With `hold`
        they stay in this process until `send_gradients`, to be looked at."""
        if self.exchange:
            self.exchange.last_pass(hold)

    def send_gradients(self) -> None:
        """After the last backward pass, before any other collective call: all gradients leave. A step does so by itself if need be."""
        if self.exchange:
            self.exchange.send()

    @contextlib.contextmanager
    def unscaled(self):
        """Within it the gradients of this process are those of the loss itself, to be looked at."""
        held = [p.grad for p in self.parameters.values() if p.grad is not None]
        if self.scaler and held:  # a power of two: nothing is lost
            torch._foreach_div_(held, self.loss_scale)
        yield
        if self.scaler and held:
            torch._foreach_mul_(held, self.loss_scale)

    def zero_grad(self) -> None:
        """Zeroes gradients in place: their memory is used again by the next backward."""
        if self.exchange:
            return self.exchange.zero()
        held = [p.grad for p in self.parameters.values() if p.grad is not None]
        if held:
            torch._foreach_zero_(held)

    def _collect(self) -> list[Tensor]:
        """The mean gradients of this process's pieces, flat."""
        if self.exchange:
            self.exchange.collect()
        for p in self.parameters.values():
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        return [piece.of(self.parameters[piece.name].grad) for piece in self.pieces if piece.owner == self.rank]

    def _unscale(self, grads: list[Tensor]) -> bool:
        """Divides gradients by the loss scale; whether those of all processes are finite. The host waits for that."""
        device = next(iter(self.parameters.values())).device
        sizes = torch._foreach_norm(grads) if grads else [torch.zeros((), device=device)]
        total = torch.stack(sizes).sum()
        if self.exchange:
            dist.all_reduce(total)
        finite = math.isfinite(total.item())
        if finite and grads:
            torch._foreach_div_(grads, self.loss_scale)
        self.scaler.update(finite)
        return finite

    # -- steps --------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def step(self, lr: float = 1.0, momentum: float = 0.95, decay: float = 1.0, judge: Callable | None = None) -> bool:
        """One update. `lr` and `decay` multiply every group's learning rate and Muon's weight decay; `momentum` is Muon's. False if it
        was not taken: then nothing has changed, but the loss scale where a gradient overflowed. Gradients hold nothing of use afterwards.

        `judge(gradients)` sees the mean gradients of this process's share and says whether they may be followed, in all processes alike.
        It may also answer with a tensor on their device, () bool, which nobody waits for: then the weights do not change where it is
        False, and the moments are those of a step with no gradient. Where gradients overflowed in float16 it is given none.

        On a GPU the host waits for nothing here, except with a scaler, and once for the order in which gradients are exchanged.
        """
        grads = self._collect()
        if self.scaler and not self._unscale(grads):
            if judge:
                judge([])  # its loss is that of any other step
            return False
        good, keep = judge(grads) if judge else True, None
        if good is False:
            return False
        if good is not True:
            keep = good.to(torch.float32)
            for g in grads:
                g.masked_fill_(~good, 0.0)  # a product with 0 would leave what is no number
        self.steps += 1
        for kind, pieces in self.mine.items():
            if pieces:
                self._adamw(pieces, self.groups[kind], self.groups[kind].lr * lr, keep)
        if self.exchange:
            self.exchange.spread(self.exchange.others)  # while the matrices are multiplied
        for stack in self.stacks:
            group = self.groups["matrix"]
            stack.step(group.lr * lr, momentum, group.weight_decay * decay, self.polar_dtype, keep)
        if self.exchange:
            self.exchange.spread(self.exchange.matrices)
            self.exchange.receive()
        return True

    def _adamw(self, pieces: list[Piece], group: Group, lr: float, keep: Tensor | None) -> None:
        (b1, b2), t = group.betas, self.steps
        weights = [piece.of(self.parameters[piece.name].detach()) for piece in pieces]
        grads = [piece.of(self.parameters[piece.name].grad) for piece in pieces]
        first, second = [self.first[piece] for piece in pieces], [self.second[piece] for piece in pieces]
        torch._foreach_lerp_(first, grads, 1 - b1)
        torch._foreach_mul_(second, b2)
        torch._foreach_addcmul_(second, grads, grads, 1 - b2)
        scale = torch._foreach_sqrt(second)
        torch._foreach_div_(scale, math.sqrt(1 - b2**t))
        torch._foreach_add_(scale, group.eps if keep is None else 1 / keep - 1 + group.eps)  # m / infinity leaves weights as they are
        if group.weight_decay:
            torch._foreach_mul_(weights, 1 - lr * group.weight_decay * (1 if keep is None else keep))
        torch._foreach_addcdiv_(weights, first, scale, -lr / (1 - b1**t))

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict:
        """{"steps": n, "state": {parameter name: {"momentum", "variance"} or {"first", "second"}}}, with a scaler also "scaler": tensors,
        names and numbers only. Alone the tensors are those that the next step changes. Of several processes all must take part; "state" is
        whole, on the CPU, in the first one, piece by piece so that its device never holds it all, and empty in the others."""
        mine = {name: part for stack in self.stacks for name, part in stack.state()}
        state: dict[str, dict[str, list[Tensor]]] = {}
        for piece in self.pieces:
            own = mine.get(piece.name) or {"first": self.first.get(piece), "second": self.second.get(piece)}
            for key, shape in self._shapes(piece).items():
                value = self.exchange.to_first(own.get(key), shape, piece.owner) if self.exchange else own[key]
                if self.rank == 0:
                    state.setdefault(piece.name, {}).setdefault(key, []).append(value)
        whole = {name: {key: self._joined(name, parts) for key, parts in by_key.items()} for name, by_key in state.items()}
        return {"steps": self.steps, "state": whole, **({"scaler": self.scaler.state_dict()} if self.scaler else {})}

    def _shapes(self, piece: Piece) -> dict[str, tuple[int, ...]]:
        """What is kept for a piece, and its shape."""
        if piece.name not in self.by_muon:
            return {"first": (len(piece),), "second": (len(piece),)}
        rows, columns = self.parameters[piece.name].shape
        variance = {"variance": (rows, 1) if rows >= columns else (1, columns)} if self.muon.variance else {}
        return {"momentum": (rows, columns), **variance}

    def _joined(self, name: str, parts: list[Tensor]) -> Tensor:
        whole = parts[0] if len(parts) == 1 else torch.cat(parts)
        return whole if whole.dim() == 2 else whole.view(self.parameters[name].shape)

    @torch.no_grad()
    def load_state_dict(self, saved: dict) -> None:
        """Takes this process's share of a whole state, by parameter name; UserError if its parameters are not this model's."""
        state, mine = saved["state"], set(self.parameters)
        if set(state) != mine:
            odd = sorted(set(state) ^ mine)[0]
            raise UserError(f"the saved optimizer state does not fit this model (parameter '{odd}'); start again with --resume=off")
        self.steps = int(saved["steps"])
        for stack in self.stacks:
            stack.load(state)
        for piece in self.first:
            self.first[piece].copy_(piece.of(state[piece.name]["first"]))
            self.second[piece].copy_(piece.of(state[piece.name]["second"]))
        if self.scaler and "scaler" in saved:
            self.scaler.load_state_dict(saved["scaler"])
