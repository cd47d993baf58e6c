"""Attention over a window: a token sees itself and the W - 1 tokens before it (Beltagy et al. 2020, Longformer).

    y_i = sum_j softmax_j(s q_i . k_j) v_j        over i - W < j <= i; over all j <= i where there is no window

Several kernels compute the same thing; train/acceleration.py chooses among them:

full      everything before a token, by torch's fused causal attention: for layers without a window
flash     FlashAttention with its own window, as torch brings it along for GPUs in half precision (torch 2.10 or later)
flex      FlexAttention: a kernel compiled for the pattern, which skips blocks that nobody sees
chunked   the first W tokens causally, then pieces of the text, each against the W tokens before it: no waste beyond a piece's length
masked    the whole square under a mask: runs everywhere, and costs more than full attention
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

MULTIPLE = 128  # short windows are a whole number of a GPU kernel's tiles
PIECES = 2  # of `chunked` in a window: more waste less, and copy keys and values more often


def short_window(length: int) -> int | None:
    """The short window of a context: a quarter of it, rounded up to tiles as in nanochat. None (all of it) for contexts up to a tile."""
    window = -(-length // (4 * MULTIPLE)) * MULTIPLE
    return window if window < length else None


def visible(queries: Tensor, keys: Tensor, window: int | None) -> Tensor:
    """Which positions `keys` (..., S) a token at each of `queries` (..., T) sees: (..., T, S) bool."""
    age = queries[..., :, None] - keys[..., None, :]
    return age >= 0 if window is None else (age >= 0) & (age < window)


def attend(q: Tensor, k: Tensor, v: Tensor, scale: float, mask: Tensor | None = None) -> Tensor:
    """Torch's attention for q (B, heads, T, d) and k, v (B, kv heads, S, d) -> (B, heads, T, d): under a mask, causal without one."""
    grouped = q.shape[1] != k.shape[1]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, scale=scale, enable_gqa=grouped)


class Full:
    """What all kernels have: `prepare`, once for a shape and outside of what is compiled, gives what each call is given as `seen`.
    A call takes q (B, T, heads, d), k and v (B, T, kv heads, d), and gives (B, T, heads, d)."""

    any_shape = True  # another length costs nothing but its own time; False: it is compiled first

    def prepare(self, B: int, T: int, window: int | None, device: torch.device):
        return None

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, seen, scale: float) -> Tensor:
        return attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), scale).transpose(1, 2)


class Masked(Full):
    def prepare(self, B: int, T: int, window: int | None, device: torch.device) -> Tensor:
        return _square(T, window, device)

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, seen: Tensor, scale: float) -> Tensor:
        return attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), scale, seen).transpose(1, 2)


class Chunked(Full):
    """seen (C, W + C): which of a piece's own C tokens and the W before it each of them sees. The first of the W is seen by none."""

    def prepare(self, B: int, T: int, window: int | None, device: torch.device) -> Tensor:
        return _band(max(1, window // PIECES), window, device)

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, seen: Tensor, scale: float) -> Tensor:
        B, T, C = q.shape[0], q.shape[1], seen.shape[0]
        W = seen.shape[1] - C
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # (B, heads, T, d)
        first = attend(q[:, :, :W], k[:, :, :W], v[:, :, :W], scale).transpose(1, 2)
        if T <= W:
            return first
        pieces = -(-(T - W) // C)
        missing = W + pieces * C - T  # padded at the end, where nobody looks back from
        q, k, v = (F.pad(part, (0, 0, 0, missing)) if missing else part for part in (q, k, v))
        queries = q[:, :, W:].unflatten(2, (pieces, C)).transpose(1, 2).flatten(0, 1)  # (B pieces, heads, C, d)
        keys, values = (part.unfold(2, W + C, C).permute(0, 2, 1, 4, 3).flatten(0, 1) for part in (k, v))  # (B pieces, kv heads, W + C, d)
        rest = attend(queries, keys, values, scale, seen).unflatten(0, (B, pieces)).transpose(2, 3).flatten(1, 2)  # (B, pieces C, heads, d)
        return torch.cat([first, rest[:, : T - W]], dim=1)


class Flash(Full):
    def prepare(self, B: int, T: int, window: int | None, device: torch.device) -> tuple[Tensor, int, int]:
        return _row_ends(B, T, device), T, window

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, seen: tuple[Tensor, int, int], scale: float) -> Tensor:
        from torch.nn.attention.varlen import varlen_attn

        ends, T, window = seen
        rows = (part.flatten(0, 1) for part in (q, k, v))  # (B T, heads, d)
        grouped = q.shape[2] != k.shape[2]
        y = varlen_attn(*rows, ends, ends, T, T, scale=scale, window_size=(window - 1, 0), enable_gqa=grouped)
        return y.view_as(q)


class Flex(Full):
    """seen: a BlockMask. The first `prepare` brings FlexAttention in, which imports the compiler."""

    any_shape = False
    _compiled = None

    def prepare(self, B: int, T: int, window: int | None, device: torch.device):
        if Flex._compiled is None:
            from torch.nn.attention.flex_attention import flex_attention

            Flex._compiled = staticmethod(torch.compile(flex_attention, dynamic=False))
        return _blocks(T, window, device)

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, seen, scale: float) -> Tensor:
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        return Flex._compiled(q, k, v, block_mask=seen, scale=scale, enable_gqa=q.shape[1] != k.shape[1]).transpose(1, 2)


KERNELS = {"full": Full(), "flash": Flash(), "flex": Flex(), "chunked": Chunked(), "masked": Masked()}
WINDOWED = [name for name in KERNELS if name != "full"]


@lru_cache(maxsize=16)
def _square(T: int, window: int | None, device: torch.device) -> Tensor:
    at = torch.arange(T, device=device)
    return visible(at, at, window)


@lru_cache(maxsize=16)
def _band(C: int, window: int, device: torch.device) -> Tensor:
    keys = torch.arange(window + C, device=device)
    return visible(keys[window:], keys, window)


@lru_cache(maxsize=16)
def _row_ends(B: int, T: int, device: torch.device) -> Tensor:
    return torch.arange(0, (B + 1) * T, T, dtype=torch.int32, device=device)


@lru_cache(maxsize=16)
def _blocks(T: int, window: int, device: torch.device):
    from torch.nn.attention.flex_attention import create_block_mask

    def seen(b, h, query, key):
        return (query >= key) & (query - key < window)

    return create_block_mask(seen, None, None, T, T, device=device)
