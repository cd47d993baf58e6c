"""What a GPT takes before there is one: weights, operations per token, and the memory of training it, from its configuration alone.

Counts, operations and what a step keeps for its backward pass are those of the real model, built without memory (torch's fake tensors).
Fake tensors compute as a CPU does. Where bfloat16 is computed, on a GPU, two things are otherwise: RMSNorm is one kernel, and the loss
keeps its slopes for more tokens.
"""

import contextlib
import dataclasses
import os
import tempfile
from dataclasses import dataclass

SMALL_VOCABULARY = 1024  # tokens; what the head keeps is counted, for its loss works in thousands of small pieces on a CPU


@dataclass(frozen=True)
class Model:
    """A GPT as the profile describes it: weights, operations per trained token, bytes of weights, gradients and optimizer, and bytes
    that a forward pass keeps for its backward pass: `fixed`, for each row of `length` tokens, and for each row's slopes of the logits
    unless there are more than `slopes_kept` of those; then `piece` is what the loss takes at a time."""

    params: int
    flops_per_token: int
    length: int
    state: int
    fixed: float
    per_row: float
    slopes_per_row: float
    slopes_kept: int
    piece: int

    def memory(self, rows: int, processes: int = 1) -> float:
        """Bytes that each of so many processes holds at once in training on so many rows at a time: they share the optimizer's state."""
        alike = 8 * self.params  # weights and gradients
        slopes = rows * self.slopes_per_row
        return (
            alike
            + (self.state - alike) / processes
            + self.fixed
            + rows * self.per_row
            + (slopes if slopes <= self.slopes_kept else self.piece)
        )


_measured: dict[tuple, Model] = {}  # a model of many layers takes seconds


def measure(config, bfloat16: bool) -> Model:
    """Counts of a GPT and what it keeps for its backward pass, without computing or allocating anything.

    Its layers are alike in pairs (every second has value embeddings), so models of four and of six layers tell the rest.
    """
    key = (repr(config), bfloat16)
    if key not in _measured:
        with _caches_aside():
            _measured[key] = _measure(config, bfloat16)
    return _measured[key]


@contextlib.contextmanager
def _caches_aside():
    """Torch makes a folder for its compiler's cache as soon as tensors are faked: one that goes away again."""
    name = "TORCHINDUCTOR_CACHE_DIR"
    before = os.environ.get(name)
    with tempfile.TemporaryDirectory() as aside:
        os.environ[name] = aside
        try:
            yield
        finally:
            os.environ.pop(name)
            os.environ.update({name: before} if before is not None else {})


def _measure(config, bfloat16: bool) -> Model:
    from torch._subclasses.fake_tensor import FakeTensorMode

    from nanochat.model.gpt import GPT
    from nanochat.model.loss import LOGITS_AT_ONCE, LOGITS_KEPT

    with FakeTensorMode():
        model = GPT(config)
    counts = model.num_params()
    few, more = (4, 6) if config.n_layer >= 4 else (config.n_layer, 4)  # with fewer the middle one is the last one too
    kept = {(layers, rows): _kept(config, layers, rows, bfloat16) for layers in (few, more) for rows in (1, 2)}
    whole = {rows: kept[few, rows] + (config.n_layer - few) / 2 * (kept[more, rows] - kept[few, rows]) for rows in (1, 2)}
    state = 4 * (4 * counts["total"] - counts.get("matrix", 0))  # weights, gradients, twice as much for AdamW, as much for Muon
    per_row = whole[2] - whole[1]
    device, size = ("cuda", 2) if bfloat16 else ("cpu", 4)
    piece = LOGITS_AT_ONCE[device] * (2 * 4 + size) + 4 * config.vocab_size * config.n_embd  # logits, what is made of them; dW in float32
    slopes = size * config.sequence_len * config.vocab_size
    return Model(counts["total"], model.flops_per_token(), config.sequence_len, state, whole[1] - per_row, per_row, slopes,
                 size * LOGITS_KEPT[device], piece)  # fmt: skip


def _kept(config, layers: int, rows: int, bfloat16: bool) -> int:
    """Bytes that a forward pass of a model like `config`, but with so many layers, keeps for its backward pass; weights, and slopes of
    the logits, left out. Windows change nothing about that."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    from nanochat.model.gpt import GPT

    vocabulary = min(SMALL_VOCABULARY, config.vocab_size)
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor):
        kept.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    with FakeTensorMode():
        model = GPT(dataclasses.replace(config, n_layer=layers, vocab_size=vocabulary, window_pattern="L")).train()
        model.compute_dtype = torch.bfloat16 if bfloat16 else torch.float32
        idx = torch.zeros(rows, config.sequence_len, dtype=torch.long)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), _one_kernel() if bfloat16 else contextlib.nullcontext():
            model(idx, idx)
        weights = {p.untyped_storage()._cdata for p in model.parameters()}
        counted = sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in weights)
    counted -= (2 if bfloat16 else 4) * rows * config.sequence_len * vocabulary
    return counted + (config.vocab_size - vocabulary) * (2 * config.n_embd if bfloat16 else 0)  # the head's weight in bfloat16


@contextlib.contextmanager
def _one_kernel():
    """Within it RMSNorm keeps for its backward pass what a GPU's kernel does: what it was given, and a number for each row."""
    import torch
    import torch.nn.functional as F

    class Fused(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x, x.new_empty((*x.shape[:-1], 1), dtype=torch.float32))
            return torch.empty_like(x)

    general, F.rms_norm = F.rms_norm, lambda x, shape, weight=None, eps=None: Fused.apply(x)
    try:
        yield
    finally:
        F.rms_norm = general
