"""The tower's state in incremental decoding: equal to the full forward, one token at a time.

A row whose `new_lengths` is 0 in a step (it has ended, its neighbours have not) stays as it is.

A token that continues a number takes its earlier digits or words back: the word list is shortened by `absorbs` and the number's word
is written anew. Arrays hold a place for each word; what lies beyond a row's word count is stale and masked.
"""

import torch
import torch.nn.functional as F

from nanochat.dag.emission import LONGEST, latch
from nanochat.dag.executor import CONSTANTS, apply
from nanochat.dag.mentions import WINDOW
from nanochat.dag.numbers import documents_of, read_numbers
from nanochat.dag.planner import Slots, gather


class TowerCache:
    """State of B rows of at most `max_len` tokens. `new_lengths` (B,) is set by the caller before each forward."""

    def __init__(self, tower, batch: int, max_len: int, device):
        c = tower.config
        shape = (batch, max_len)

        def zeros(*size, dtype=torch.float32):
            return torch.zeros(*size, dtype=dtype, device=device)

        self.new_lengths = zeros(batch, dtype=torch.long)
        self.is_empty = True
        self.window = torch.full((batch, tower.table.window), c.bos_id, device=device)  # read again for each new token
        self.depth, self.words = zeros(batch, dtype=torch.long), zeros(batch, dtype=torch.long)
        head = (batch, c.heads, max_len, c.width // c.heads)
        self.keys, self.values = [zeros(*head) for _ in range(c.layers)], [zeros(*head) for _ in range(c.layers)]
        self.embedded, self.name = zeros(*shape, c.width), zeros(*shape, c.width)
        self.number_key, self.number_value = zeros(*shape, c.width), zeros(*shape, dtype=torch.float64)
        self.is_number = zeros(*shape, dtype=torch.bool)
        self.result_key, self.result_value = zeros(*shape, c.steps, c.width), zeros(*shape, c.steps, dtype=torch.float64)
        self.is_result = zeros(*shape, c.steps, dtype=torch.bool)
        # What the last token that was not a space offers to print, and the number being printed.
        self.hidden, self.result, self.speaks = zeros(batch, c.width), zeros(batch, dtype=torch.float64), zeros(batch, dtype=torch.bool)
        self.stream = torch.full((batch, LONGEST), -1, device=device)
        self.offset, self.gate = zeros(batch, dtype=torch.long), zeros(batch)

    # -- prefill ------------------------------------------------------------------------------------------------------

    def fill(self, tower, idx, lengths, output, kept, per_token) -> None:
        """Takes over the state after a full forward of right-padded rows (B, T) with `lengths` real tokens."""
        word, present, x, embedded, names, caches, is_number, a_at, active = kept
        rows, n = torch.arange(len(idx), device=idx.device), word.shape[1]
        self.is_empty = False
        self.words = present.sum(1)
        for layer, (k, v) in enumerate(caches):
            self.keys[layer][:, :, :n], self.values[layer][:, :, :n] = k, v
        self.embedded[:, :n], self.name[:, :n] = embedded, names
        position = torch.arange(n, device=idx.device).expand(len(idx), n)
        self.number_key[:, :n] = tower.planner.number_keys(x, position)
        self.number_value[:, :n], self.is_number[:, :n] = gather(output.reading.value, word), is_number
        self.result_key[:, :n] = tower.planner.result_keys(x, position)
        results = output.plan.slot_values[:, -a_at.shape[1] * tower.config.steps :].unflatten(1, (-1, tower.config.steps))
        at = torch.where(output.present, a_at, n)
        for target, source in ((self.result_value, results), (self.is_result, active & output.present[..., None])):
            wide = torch.zeros(len(idx), n + 1, tower.config.steps, dtype=target.dtype, device=idx.device)
            target[:, :n] = wide.scatter(1, at[..., None].expand_as(source), source.to(target.dtype))[:, :n]
        last = (lengths - 1).clamp(min=0)
        self.depth = output.reading.depth[rows, last]
        padded = torch.cat([self.window, idx], dim=1)
        self.window = padded.gather(1, lengths[:, None] + torch.arange(self.window.shape[1], device=idx.device))
        hidden, result, speaks = per_token
        self.hidden, self.result, self.speaks = hidden[rows, last], result[rows, last], speaks[rows, last]
        self._last = last

    # -- one token ----------------------------------------------------------------------------------------------------

    def extend(self, tower, idx, x):
        """Reads the new tokens idx (B, T) with the model's hidden state x (B, T, H), one after the other."""
        self.is_empty = False
        steps = [self._extend_by_one(tower, idx[:, t : t + 1], x[:, t : t + 1]) for t in range(idx.shape[1])]
        return tuple(torch.stack(parts, dim=1) for parts in zip(*steps, strict=True))

    def _extend_by_one(self, tower, idx, x):
        config, rows, active = tower.config, torch.arange(len(idx), device=idx.device), self.new_lengths > 0
        window = torch.cat([self.window[:, 1:], idx], dim=1)
        reading = read_numbers(window, tower.table, documents_of(window, config.bos_id), last_only=True)
        fresh = (idx == config.bos_id).squeeze(1)
        depth = torch.where(fresh, 0, self.depth + tower.table.step[idx].squeeze(1))
        n = torch.where(fresh, 0, (self.words - reading.absorbs[:, -1]).clamp(min=0)).clamp(max=self.is_number.shape[1] - 1)
        self.words = torch.where(active, n + 1, self.words)
        self.depth, self.window = torch.where(active, depth, self.depth), torch.where(active[:, None], window, self.window)
        number, anchor, space = reading.number[:, -1], reading.anchor[:, -1], reading.space[:, -1]
        embedded = tower.embed(idx, number[:, None], reading.value[:, -1:], depth[:, None], x)
        h, place = self._trunk(tower, embedded, n, rows), n[:, None]
        names = self._names(tower.planner.mentions, h, embedded, n, rows)
        self.number_key[rows, n] = tower.planner.number_keys(h, place).squeeze(1)
        self.number_value[rows, n], self.is_number[rows, n] = reading.value[:, -1], number
        result = self._plan(tower, h, names[:, :, 1:], n, anchor, rows)
        keep = space | ~active
        self.hidden = torch.where(keep[:, None], self.hidden, torch.where(anchor[:, None], h.squeeze(1), 0.0))
        self.result = torch.where(keep, self.result, torch.where(anchor, result, torch.nan))
        self.speaks = torch.where(keep, self.speaks, anchor)
        return self.hidden, self.result, self.speaks

    def _trunk(self, tower, x, n, rows):
        longest = int(n.max()) + 1
        seen = (torch.arange(longest, device=n.device) <= n[:, None])[:, None, None]
        for layer, block in enumerate(tower.blocks):
            q, k, v = block.project(x, n[:, None])
            self.keys[layer][rows, :, n], self.values[layer][rows, :, n] = k.squeeze(2), v.squeeze(2)
            y = F.scaled_dot_product_attention(q, self.keys[layer][:, :, :longest], self.values[layer][:, :, :longest], attn_mask=seen)
            x = block.finish(x, y)
        return F.rms_norm(x, (x.shape[-1],))

    def _names(self, mentions, h, embedded, n, rows):
        """Names (B, 1, names, d) at the new word; keeps its own."""
        self.embedded[rows, n] = embedded.squeeze(1)
        at = n[:, None] + torch.arange(1 - WINDOW, 1, device=n.device)
        near = self.embedded[rows[:, None], at.clamp(min=0)][:, None]
        names = mentions.read(h[:, None], near, mentions.key(near), (at >= 0)[:, None, None])[:, 0]
        self.name[rows, n] = names[:, 0, 0]
        return names

    def _plan(self, tower, h, asked, n, anchor, rows):
        """Plans and executes at the new word; its result (B,), NaN where there is none."""
        planner, steps = tower.planner, tower.config.steps
        logits, operation, active = planner.choose_operations(h)
        self.result_key[rows, n] = planner.result_keys(h, n[:, None]).squeeze(1)
        self.is_result[rows, n] = active.squeeze(1) & anchor[:, None]
        self.result_value[rows, n] = torch.nan
        longest = int(n.max()) + 1
        position = torch.arange(longest, device=n.device).expand(len(n), longest)
        inside = position <= n[:, None]
        results = (self.is_result[:, :longest] & inside[..., None]).flatten(1)
        step = torch.arange(steps, device=n.device).expand(len(n), longest, steps).flatten(1)
        slots = Slots(
            key=torch.cat([self.number_key[:, :longest], self.result_key[:, :longest].flatten(1, 2)], dim=1),
            name=torch.cat([self.name[:, :longest], self.name[:, :longest].repeat_interleave(steps, dim=1)], dim=1),
            word=torch.cat([position, position.repeat_interleave(steps, dim=1)], dim=1),
            step=torch.cat([torch.full_like(position, -1), step], dim=1),
            document=torch.zeros(len(n), longest * (steps + 1), dtype=torch.long, device=n.device),
            present=torch.cat([self.is_number[:, :longest] & inside, results], dim=1),
        )
        plan = planner(h, asked, n[:, None], torch.zeros_like(n)[:, None], logits, operation, slots)
        values = torch.cat(
            [tower.constants.expand(len(n), -1), self.number_value[:, :longest], self.result_value[:, :longest].flatten(1)], dim=1
        )
        own = len(CONSTANTS) + longest + n * steps
        result = torch.full_like(values[:, 0], torch.nan)
        for s in range(steps):
            o, a, b = (t[:, 0, s, None] for t in (plan.operation, plan.operand1, plan.operand2))
            new = apply(o, values.gather(1, a), values.gather(1, b)).squeeze(1)
            values[rows, own + s] = new
            computed = active[:, 0, s] | (s == 0)
            result = torch.where(computed, new, result)
            self.result_value[rows, n, s] = new
        return result

    # -- printing -----------------------------------------------------------------------------------------------------

    def follow(self, idx, speaks, stream, gate):
        """The incremental form of `emission.latch`: following (B, T) and the gate it is copied with (B, T)."""
        if hasattr(self, "_last"):
            source, following = latch(idx, speaks, stream)
            rows, last = torch.arange(len(idx), device=idx.device), self._last
            at = source[rows, last]
            carried = gate.gather(1, source.clamp(min=0))
            inside = following[rows, last] >= 0
            self.stream = torch.where(inside[:, None], stream[rows, at.clamp(min=0)], -1)
            self.offset, self.gate = last - at, carried[rows, last]
            del self._last
            return following, carried
        out, active = [], self.new_lengths > 0
        for t in range(idx.shape[1]):
            said = self.stream.gather(1, self.offset.clamp(max=LONGEST - 1)[:, None]).squeeze(1)
            agrees = (said == idx[:, t]) & (said >= 0)
            begins = speaks[:, t] & active
            self.stream = torch.where(begins[:, None], stream[:, t], torch.where((agrees | ~active)[:, None], self.stream, -1))
            self.offset = torch.where(begins, 0, (self.offset + active.long()).clamp(max=LONGEST - 1))
            self.gate = torch.where(begins, gate[:, t], self.gate)
            out.append((self.stream.gather(1, self.offset[:, None]).squeeze(1), self.gate))
        return tuple(torch.stack(x, dim=1) for x in zip(*out, strict=True))

    def offered(self) -> list[list[int]]:
        """For each row the tokens of the number that an open gate would print next, those already said left out; [] for none."""
        rows = zip(self.stream.tolist(), self.offset.tolist(), (self.gate > 0).tolist(), strict=True)
        return [[token for token in stream[offset:] if token >= 0] if is_open else [] for stream, offset, is_open in rows]
