"""What a GPT takes before there is one: weights, operations per token, and the memory of training it, from its configuration alone.

Counts, operations and what a step keeps for its backward pass are those of the real model, built without memory (torch's fake tensors).
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
    that a forward pass keeps for its backward pass: `fixed`, and for each row of `length` tokens."""

    params: int
    flops_per_token: int
    length: int
    state: int
    fixed: float
    per_row: float

    def memory(self, rows: int, processes: int = 1) -> float:
        """Bytes that each of so many processes holds at once in training on so many rows at a time: they share the optimizer's state."""
        alike = 8 * self.params  # weights and gradients
        return alike + (self.state - alike) / processes + self.fixed + rows * self.per_row


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

    with FakeTensorMode():
        model = GPT(config)
    counts = model.num_params()
    few, more = (4, 6) if config.n_layer >= 4 else (config.n_layer, 4)  # with fewer the middle one is the last one too
    kept = {(layers, rows): _kept(config, layers, rows, bfloat16) for layers in (few, more) for rows in (1, 2)}
    whole = {rows: kept[few, rows] + (config.n_layer - few) / 2 * (kept[more, rows] - kept[few, rows]) for rows in (1, 2)}
    state = 4 * (4 * counts["total"] - counts.get("matrix", 0))  # weights, gradients, twice as much for AdamW, as much for Muon
    per_row = whole[2] - whole[1]
    return Model(counts["total"], model.flops_per_token(), config.sequence_len, state, whole[1] - per_row, per_row)


def _kept(config, layers: int, rows: int, bfloat16: bool) -> int:
    """Bytes that a forward pass of a model like `config`, but with so many layers, keeps for its backward pass; weights left out.
    Windows change nothing about that."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    from nanochat.model.gpt import GPT

    vocabulary = min(SMALL_VOCABULARY, config.vocab_size)
    per_token = (2 if bfloat16 else 4) * rows * config.sequence_len  # of the vocabulary: a slope at each position ...
    per_token += 2 * config.n_embd if bfloat16 else 0  # ... and the head's weight in bfloat16
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor):
        kept.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    with FakeTensorMode():
        model = GPT(dataclasses.replace(config, n_layer=layers, vocab_size=vocabulary, window_pattern="L")).train()
        model.compute_dtype = torch.bfloat16 if bfloat16 else torch.float32
        idx = torch.zeros(rows, config.sequence_len, dtype=torch.long)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(idx, idx)
        weights = {p.untyped_storage()._cdata for p in model.parameters()}
        counted = sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in weights)
    return counted + (config.vocab_size - vocabulary) * per_token
