"""The GPT: a decoder-only transformer, and the place where a branch (the DAG) may be plugged in.

    x = enter(N(E[token]))                            stream.py says what may happen to the residual stream
    layer i:  x = before(x)
              x = x + Attention(N(x));  x = x + MLP(N(x))
    logits = 15 tanh(W N(leave(x)) / 15)              in float32, at any compute precision

What differs from GPT-2: rotary positions, RMSNorm without weights, normalised queries and keys, squared ReLU, no biases, head
and embedding not tied, value embeddings in every second layer, soft-capped logits (as in nanochat and modded-nanogpt). Layers may see a
short window of the text only (window.py).

A branch is any module with `layer`, `init_state(batch, max_len)` and
    x, side = branch(x, idx, cache=state, plan=plan)   after block `layer`, x (B, T, D)
    nll     = branch.loss(nll, idx, targets, side)     (B, T) -> (B, T), with targets
    logits  = branch.mix(logits, idx, side)            (B, T, V) -> (B, T, V), without
`side["loss"]`, if there, is added to the mean loss in training; each has its own weights. Without a branch the model is exactly the
plain GPT.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import torch
import torch.nn as nn
from torch import Tensor

from nanochat.common import UserError
from nanochat.model.attention import Attention
from nanochat.model.cache import KVCache
from nanochat.model.kinds import by_structure, parameter_kinds
from nanochat.model.linear import Linear
from nanochat.model.loss import capped, capped_nll, nll_of_piece, nll_of_piece_as_one
from nanochat.model.mlp import MLP
from nanochat.model.norm import rms_norm
from nanochat.model.position import Rotary
from nanochat.model.stream import Stream
from nanochat.model.window import short_window

VOCAB_MULTIPLE = 64  # tables are padded to this many rows, for the sake of matrix units
HIGHEST_CAP = 60.0  # e to its power, summed over a vocabulary, is still a float32
COMPILED = 64  # forms of a block for which code is made: five kinds of blocks, and the sizes of batches tried until memory is enough


@dataclass(frozen=True)
class GPTConfig:
    """Sizes and choices of a GPT. `vocab_size` is the tokenizer's; tables are padded. `window_pattern`: one letter a layer, repeated as
    often as it takes, S for a short window and L for the whole context; the last layer always has the whole context."""

    sequence_len: int = 2048
    vocab_size: int = 32768
    n_layer: int = 12
    n_head: int = 6
    n_kv_head: int = 6
    n_embd: int = 768
    value_embeddings: bool = True
    logit_softcap: float = 15.0
    qk_scale: float = 1.2
    layer_scales: bool = True
    smear: bool = True
    backout: bool = True
    rope_base: float = 100_000.0
    window_pattern: str = "L"

    def __post_init__(self):
        if min(self.sequence_len, self.vocab_size, self.n_layer, self.n_head, self.n_kv_head, self.n_embd) < 1:
            raise UserError(f"every size of a model must be at least 1; these are {asdict(self)}")
        if self.n_embd % self.n_head or self.head_dim % 2:
            raise UserError(f"width {self.n_embd} must be a multiple of the {self.n_head} heads with an even quotient; change one of them")
        if self.n_head % self.n_kv_head:
            raise UserError(f"{self.n_head} heads cannot share {self.n_kv_head} key-value heads evenly; use a divisor of {self.n_head}")
        if not self.window_pattern or set(self.window_pattern) - set("SL"):
            raise UserError(f"a window pattern is made of S (short) and L (the whole context), as SSSL, not '{self.window_pattern}'")

        if not 0 <= self.logit_softcap <= HIGHEST_CAP:
            raise UserError(f"logit_softcap must be between 0 (no limit) and {HIGHEST_CAP:g}, not {self.logit_softcap:g}")
        if not self.qk_scale > 0:
            raise UserError(f"qk_scale must be above 0, not {self.qk_scale:g}: it is the length of queries and keys")

    @property
    def head_dim(self) -> int:
        return self.n_embd // self.n_head

    @property
    def padded_vocab_size(self) -> int:
        return -(-self.vocab_size // VOCAB_MULTIPLE) * VOCAB_MULTIPLE

    def has_value_embedding(self, layer: int) -> bool:
        """Every second layer, counted so that the last one has one."""
        return self.value_embeddings and layer % 2 == (self.n_layer - 1) % 2

    def window(self, layer: int) -> int | None:
        """How many tokens a token of this layer sees, itself included; None: all before it."""
        short = self.window_pattern[layer % len(self.window_pattern)] == "S" and layer < self.n_layer - 1
        return short_window(self.sequence_len) if short else None

    def attention_flops(self) -> int:
        """Operations to train on one token of a full context that are not multiplications by weights: 12 H d S in each layer, S the
        tokens that it sees (counted without the causal half, as PaLM's appendix B does)."""
        return 12 * self.n_head * self.head_dim * sum(self.window(layer) or self.sequence_len for layer in range(self.n_layer))

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "GPTConfig":
        unknown = sorted(set(values) - set(cls.__dataclass_fields__))
        if unknown:
            raise UserError(f"unknown model setting '{unknown[0]}'; there are: {', '.join(cls.__dataclass_fields__)}")
        return cls(**values)


class Output(NamedTuple):
    """What a forward gives. logits (B, T, V) float32, None with targets; loss a scalar or (B, T) nats, None without; the branch's side."""

    logits: Tensor | None
    loss: Tensor | None
    side: dict | None


class Block(nn.Module):
    """One layer, with its own table of value embeddings if it has one."""

    def __init__(self, config: GPTConfig, layer: int):
        super().__init__()
        extra = config.has_value_embedding(layer)
        self.value_embedding = nn.Embedding(config.padded_vocab_size, config.n_kv_head * config.head_dim) if extra else None
        self.attention = Attention(config, layer, value_gate=extra)
        self.mlp = MLP(config)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        if self.value_embedding is not None:
            bound = (3 / self.attention.query.in_features) ** 0.5
            nn.init.uniform_(self.value_embedding.weight, -bound, bound)
        self.attention.reset_parameters()
        self.mlp.reset_parameters()

    def forward(self, x: Tensor, first: Tensor, scales, idx: Tensor, rotary: tuple[Tensor, Tensor], seen, cache=None) -> Tensor:
        """x (B, T, D) of the tokens idx (B, T) -> (B, T, D). `first` and `scales`: see stream.py; `seen`: see attention.py."""
        x = Stream.before(x, first, scales)
        extra = None if self.value_embedding is None else self.value_embedding(idx).to(x.dtype)
        x = x + self.attention(rms_norm(x), extra, rotary, seen, cache)
        return x + self.mlp(rms_norm(x))


class GPT(nn.Module):
    """The model. Parameters are float32; activations and the cache are in `compute_dtype`."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config, self.compute_dtype = config, torch.float32
        vocab, width = config.padded_vocab_size, config.n_embd
        self.embedding = nn.Embedding(vocab, width)
        self.blocks = nn.ModuleList(Block(config, i) for i in range(config.n_layer))
        self.stream = Stream(config)
        self.head = Linear(width, vocab)
        self.rotary = Rotary(config.head_dim, config.rope_base, config.sequence_len)
        self.branch: nn.Module | None = None
        self.attention_kernel = "chunked"  # of layers with a window
        self._trained: list[Callable] | None = None  # the blocks as training calls them, compiled
        self._trained_piece = nll_of_piece
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Every parameter of the plain GPT, from torch's global random stream (nanochat's values)."""
        nn.init.normal_(self.embedding.weight, std=0.8)
        nn.init.normal_(self.head.weight, std=0.001)
        for block in self.blocks:
            block.reset_parameters()
        self.stream.reset_parameters()

    def attach(self, branch: nn.Module) -> None:
        """Plugs in a branch; ValueError if it wants to sit behind a layer that is not there."""
        if not 0 <= branch.layer < self.config.n_layer:
            raise ValueError(f"a branch sits behind a layer 0 .. {self.config.n_layer - 1}, not {branch.layer}")
        self.branch = branch.to(self.embedding.weight.device)

    def use_attention(self, kernel: str) -> None:
        """Has `kernel` (window.py) compute the layers with a window; "full" takes their windows away, for good."""
        if kernel == "full":
            self.config = replace(self.config, window_pattern="L")
        for attention in [block.attention for block in self.blocks if block.attention.window is not None]:
            attention.use(kernel)
            attention.window = None if kernel == "full" else attention.window
        self.attention_kernel = kernel

    def compile_blocks(self, **options) -> None:
        """Compiles each block and the pieces of the loss, with torch.compile's `options`, for forward passes in training only: what
        evaluation and decoding read has many lengths. Names and weights stay. The branch stays outside: its shapes depend on the numbers
        in the text. Blocks that are alike share what was compiled, and every shape has code of its own: where a batch is made smaller
        because memory ran out, code for any shape would be slower in all steps that follow."""
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, COMPILED)
        self._trained = [torch.compile(block, dynamic=False, **options) for block in self.blocks]
        self._trained_piece = torch.compile(nll_of_piece_as_one, dynamic=False, **options)

    def forward(
        self, idx: Tensor, targets: Tensor | None = None, *, cache: KVCache | None = None, plan=None, reduction: str = "mean",
        weight: float | Tensor = 1.0,
    ) -> Output:  # fmt: skip
        """idx (B, T) int64; targets (B, T), -1 = ignore.

        With targets the loss in nats: its mean over the targets times `weight`, or with reduction "none" (B, T) with 0 where ignored.
        Without targets the logits. With a cache idx holds only the new tokens of each row, see cache.py.
        """
        if reduction not in ("mean", "none"):
            raise ValueError(f"reduction must be 'mean' or 'none', not {reduction!r}")
        x, side = self._hidden(idx, cache, plan)
        if targets is None:
            logits = self._logits(x)
            return Output(logits if side is None else self.branch.mix(logits, idx, side), None, side)
        nll = self._nll(x, targets)
        if side is not None:
            nll = self.branch.loss(nll, idx, targets, side)
        if reduction == "none":
            return Output(None, nll, side)
        loss = weight * (nll.sum() / (targets >= 0).sum().clamp(min=1))
        if side is not None and self.training and side.get("loss") is not None:
            loss = loss + side["loss"]
        return Output(None, loss, side)

    def _hidden(self, idx: Tensor, cache: KVCache | None, plan) -> tuple[Tensor, dict | None]:
        """The last block's output (B, T, D), and what the branch has to say."""
        T, dtype, positions, side = idx.shape[1], self.compute_dtype, None, None
        length = T
        if cache is not None:
            cache.begin(T)
            positions, length = cache.positions(T), cache.longest + T
        rotary = self.rotary(length, positions, dtype)
        x = first = self.stream.enter(rms_norm(self.embedding(idx).to(dtype)), cache)  # (B, T, D)
        middle = x
        for i, block in enumerate(self._trained if self._trained and self.training else self.blocks):
            seen = self.blocks[i].attention.prepare(*idx.shape, idx.device) if cache is None else None
            x = block(x, first, self.stream.scales(i), idx, rotary, seen, cache)
            if self.branch is not None and self.branch.layer == i:
                x, side = self.branch(x, idx, cache=None if cache is None else cache.branch_state, plan=plan)
            if i == self.stream.middle:
                middle = x
        if cache is not None:
            cache.advance()
        return self.stream.leave(x, middle), side

    def _logits(self, x: Tensor) -> Tensor:  # (..., D) -> (..., V) float32
        return capped(self.head(rms_norm(x)), self.config.logit_softcap)[..., : self.config.vocab_size]

    def _nll(self, x: Tensor, targets: Tensor) -> Tensor:
        """-log p of each target, (B, T) float32, 0 where ignored."""
        weight = self.head.weight[: self.config.vocab_size]
        piece = self._trained_piece if self.training else nll_of_piece
        return capped_nll(rms_norm(x).flatten(0, 1), weight, targets.flatten(), self.config.logit_softcap, piece).view_as(targets)

    def parameter_kinds(self) -> dict[str, str]:
        """Parameter name -> kind (kinds.py), the branch's included."""
        kinds = by_structure(self)
        kinds |= {name: "value_embedding" for name in kinds if name.endswith("value_embedding.weight")}
        of_stream = {"residual_scale": "residual", "skip_scale": "skip"}
        kinds |= {name: of_stream.get(name.removeprefix("stream."), "gate") for name in kinds if name.startswith("stream.")}
        kinds |= {"head.weight": "head"}
        if self.branch is not None:
            kinds |= {f"branch.{name}": kind for name, kind in parameter_kinds(self.branch).items()}
        return kinds

    def num_params(self) -> dict[str, int]:
        """Number of parameters by kind, and `total`."""
        counts: dict[str, int] = {}
        kinds = self.parameter_kinds()
        for name, p in self.named_parameters():
            counts[kinds[name]] = counts.get(kinds[name], 0) + p.numel()
        return {**counts, "total": sum(counts.values())}

    def flops_per_token(self) -> int:
        """Floating-point operations to train on one token of a full context: 6 per weight that is multiplied, and those of attention."""
        counts = self.num_params()
        return 6 * (counts["matrix"] + counts["head"]) + self.config.attention_flops()
