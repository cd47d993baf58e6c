"""Keys and values of the tokens read so far, for decoding: rows of different lengths in one batch.

How an engine uses it, with prompts of different lengths padded on the right to a common T:

    cache = KVCache(model.config, batch=3, max_len=200, dtype=model.compute_dtype, device=device)
    cache.branch_state = model.branch.init_state(3, 200) if model.branch is not None else None
    cache.expect(torch.tensor([5, 9, 2]))        # of the T tokens of the next forward so many are real, row by row
    logits = model(prompts, cache=cache).logits  # row b continues from logits[b, its own length - 1]
    logits = model(next_tokens, cache=cache).logits  # (3, 1): without `expect` all T tokens are real

The forward itself takes the rows forward by what was expected. What padding wrote lies beyond a row's length: masked, and
overwritten by the row's next tokens. `expect(0)` for a row keeps it as it is.
"""

import torch
from torch import Tensor

from nanochat.model.window import visible


class KVCache:
    """Per layer keys and values (B, kv heads, max_len, d), and how many tokens of each row are valid: `lengths` (B,).

    `branch_state` is the state of the model's branch, if it has one; it is told the same `new_lengths`.
    """

    def __init__(self, config, batch: int, max_len: int, dtype: torch.dtype, device):
        shape = (config.n_layer, batch, config.n_kv_head, max_len, config.head_dim)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.lengths = torch.zeros(batch, dtype=torch.long, device=device)
        self.max_len = max_len
        self.shortest = self.longest = 0  # of `lengths`, known without asking the device
        self.branch_state = None
        self._expected: Tensor | None = None
        self._rows = torch.arange(batch, device=device)[:, None]  # (B, 1)
        self._positions, self._masks = None, {}
        self._last: Tensor | None = None  # (B, 1, D): what the last token of each row brought into the stream

    def expect(self, new_lengths: Tensor) -> None:
        """Of the next forward's T tokens only the first `new_lengths[b]` are real in row b."""
        self._expected = new_lengths.to(self.lengths)

    def begin(self, T: int) -> None:
        """Called by the model before a forward of T tokens: finds their places. ValueError if they do not fit."""
        if self.longest + T > self.max_len:
            raise ValueError(f"the cache holds {self.max_len} tokens a row; {self.longest} are there, {T} more do not fit")
        self._positions = self.lengths[:, None] + torch.arange(T, device=self.lengths.device)  # (B, T)
        if self.branch_state is not None:
            self.branch_state.new_lengths = torch.full_like(self.lengths, T) if self._expected is None else self._expected

    def positions(self, T: int) -> Tensor:
        """(B, T): the position of each new token in its own row."""
        assert self._positions.shape[1] == T
        return self._positions

    def mask(self, T: int, window: int | None = None) -> Tensor:
        """(B, 1, T, S) bool: which of the S places that `update` returns a new token sees, its own and those before it."""
        assert self._positions.shape[1] == T
        if window not in self._masks:
            places = torch.arange(self._first(window), self.longest + T, device=self.lengths.device)  # (S,)
            self._masks[window] = visible(self._positions, places, window).unsqueeze(1)
        return self._masks[window]

    def update(self, layer: int, k: Tensor, v: Tensor, window: int | None = None) -> tuple[Tensor, Tensor]:
        """Writes k, v (B, T, kv heads, d) of the new tokens; returns the keys and values in use, (B, kv heads, S, d): of a layer with a
        window only those that the shortest row or a longer one still sees."""
        keys, values, begin, end = self.keys[layer], self.values[layer], self._first(window), self.longest + k.shape[1]
        keys[self._rows, :, self._positions] = k  # indexed as (B, T, kv heads, d)
        values[self._rows, :, self._positions] = v
        return keys[:, :, begin:end], values[:, :, begin:end]

    def _first(self, window: int | None) -> int:
        return 0 if window is None else max(0, self.shortest + 1 - window)

    def previous(self, x: Tensor) -> Tensor:
        """What the token before the new ones brought into the stream, (B, 1, D), 0 where there was none. Keeps what the last of the new
        ones brings, of x (B, T, D)."""
        before = torch.zeros_like(x[:, :1]) if self._last is None else self._last
        if self._expected is None:
            self._last = x[:, -1:]
        else:
            at = (self._expected - 1).clamp(min=0)[:, None, None].expand(-1, 1, x.shape[-1])
            self._last = torch.where((self._expected > 0)[:, None, None], x.gather(1, at), before)
        return before

    def advance(self) -> None:
        """Called by the model after a forward: the expected tokens are now part of their rows."""
        T = self._positions.shape[1]
        if self._expected is None:
            self.lengths, self.shortest, self.longest = self.lengths + T, self.shortest + T, self.longest + T
        else:
            self.lengths = self.lengths + self._expected
            self.shortest, self.longest = torch.stack(self.lengths.aminmax()).tolist()
        self._expected, self._positions, self._masks = None, None, {}
