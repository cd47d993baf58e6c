"""Writes on from prompts: many rows of different lengths at once, a key-value cache, and tokens that are forced.

    engine = Engine(model, tokenizer)
    engine.generate([prompt_a, prompt_b], max_tokens=64)             # two lists of tokens
    for token in engine.stream(prompt, temperature=0.6, top_k=50):   # one row, token by token

The prompts go through the model together, padded on the right; then each step takes every row one token further. A row ends at
a stop token (not part of the answer), after `max_tokens`, or where the model's context ends.

A row may have to say something: the calculator's output after <|python_start|> expression <|python_end|>, or the rest of a number
that the arithmetic branch has begun to print. Then its next tokens come from a queue of its own (forced.py), one a step.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from nanochat.infer.calculator import calculate
from nanochat.infer.forced import ForcedTokens, Marks
from nanochat.infer.sampling import check_settings, row_streams, sample
from nanochat.model.cache import KVCache

PREFILL_LOGITS = {"cuda": 1 << 30, "cpu": 1 << 27}  # logits at once: 4 GB and 512 MB of float32


@dataclass
class Completion:
    """What one row said. `sampled[i]` is False where token i was forced, see forced.py.

    `ended`: "stop" at a stop token, which is `stop` and not among the tokens, "length" after max_tokens, "context" at the end of the
    model's context.
    """

    tokens: list[int] = field(default_factory=list)
    sampled: list[bool] = field(default_factory=list)
    ended: str | None = None
    stop: int | None = None


class Engine:
    """Generates with `model` (a GPT, with or without a branch). `calculator` maps an expression to its result or None;
    without one, tool calls stay unanswered."""

    def __init__(self, model, tokenizer, calculator: Callable[[str], str | None] | None = calculate):
        self.model, self.tokenizer, self.calculator = model, tokenizer, calculator
        self.marks = Marks(tokenizer)
        self.stop = (tokenizer.special("<|assistant_end|>"), tokenizer.bos_id)

    @property
    def context(self) -> int:
        """The most tokens a prompt and its answer may have together."""
        return self.model.config.sequence_len

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def generate(self, prompts: Sequence[Sequence[int]], max_tokens: int = 256, temperature: float = 0.0, top_k: int | None = None,
                 seed: int = 0, stop: Sequence[int] | None = None) -> list[list[int]]:  # fmt: skip
        """The tokens that follow each prompt, without the stop token. See `complete`."""
        return [c.tokens for c in self.complete(prompts, max_tokens, temperature, top_k, seed, stop)]

    def complete(self, prompts: Sequence[Sequence[int]], max_tokens: int = 256, temperature: float = 0.0, top_k: int | None = None,
                 seed: int | Sequence[int] = 0, stop: Sequence[int] | None = None) -> list[Completion]:  # fmt: skip
        """A Completion for each prompt.

        `temperature` 0 takes the likeliest token each time, otherwise `top_k` (None or 0: all) of the likeliest are drawn from;
        row i draws by the i-th stream of `seed`, or by the i-th of several seeds, whatever the other rows are. `stop`: tokens that end a
        row, by default <|assistant_end|> and <|bos|>. A prompt that fills the whole context keeps its first token and its end.
        """
        rows = self._rows(prompts, max_tokens, temperature, top_k, seed, stop)
        for batch in self._batches(rows):
            for _ in self._decode(batch, temperature, top_k):
                pass
        return [row.said for row in rows]

    def stream(self, prompt: Sequence[int], max_tokens: int = 256, temperature: float = 0.0, top_k: int | None = None,
               seed: int = 0, stop: Sequence[int] | None = None) -> Iterator[int]:  # fmt: skip
        """The tokens of `generate([prompt])`, each as soon as it is there."""
        rows = self._rows([prompt], max_tokens, temperature, top_k, seed, stop)
        said = 0
        for _ in self._decode(rows, temperature, top_k):
            yield from rows[0].said.tokens[said:]
            said = len(rows[0].said.tokens)

    # -- rows -----------------------------------------------------------------------------------------------------------

    def _rows(self, prompts, max_tokens, temperature, top_k, seed, stop) -> list["_Row"]:
        check_settings(temperature, top_k)
        if max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, not {max_tokens}")
        stop = frozenset(self.stop if stop is None else stop)
        fitted = [self.fit(prompt, max_tokens) for prompt in prompts]
        streams = row_streams(seed, len(fitted))
        return [_Row(self, p, min(max_tokens, self.context - len(p)), max_tokens, stop, r) for p, r in zip(fitted, streams, strict=True)]

    def fit(self, prompt: Sequence[int], max_tokens: int) -> list[int]:
        """`prompt`, or if it leaves no room for an answer its first token (BOS) and as much of its end as leaves some."""
        if not len(prompt):
            raise ValueError("a prompt needs at least one token; <|bos|> begins every document")
        if len(prompt) < self.context:
            return list(prompt)
        kept = max(1, self.context - min(max_tokens, max(1, self.context // 4)))
        return [prompt[0], *prompt[len(prompt) - kept + 1 :]]

    def _batches(self, rows: list["_Row"]) -> Iterator[list["_Row"]]:
        """Consecutive rows, so many that the logits of their prompts fit into memory."""
        device = self.device.type
        budget = PREFILL_LOGITS.get(device, PREFILL_LOGITS["cpu"]) // self.tokenizer.vocab_size
        batch, longest = [], 0
        for row in rows:
            longest = max(longest, len(row.prompt))
            if batch and (len(batch) + 1) * longest > budget:
                yield batch
                batch, longest = [], len(row.prompt)
            batch.append(row)
        if batch:
            yield batch

    # -- steps ----------------------------------------------------------------------------------------------------------

    def _decode(self, rows: list["_Row"], temperature: float, top_k: int | None) -> Iterator[None]:
        """Takes all rows to their ends; yields after every step."""
        cache = self._cache(rows)
        logits = self._prefill(cache, [row.prompt for row in rows])
        while True:
            offered = self._offered(cache, len(rows))
            tokens = self._choose(rows, logits, offered, temperature, top_k)
            for row, token, number in zip(rows, tokens, offered, strict=True):
                if row.said.ended is None:
                    row.take(token, number)
            yield
            active = [row.said.ended is None for row in rows]
            if not any(active):
                return
            logits = self._step(cache, tokens, active)

    def _offered(self, cache: KVCache, rows: int) -> list[list[int]]:
        """For each row the tokens of the number that its branch would print now, [] for none."""
        offered = getattr(cache.branch_state, "offered", None)  # a branch need not print numbers
        return offered() if offered else [[]] * rows

    def _choose(self, rows: list["_Row"], logits, offered: list[list[int]], temperature: float, top_k: int | None) -> list[int]:
        """The next token of each row: the first of its queue if there is one, else from its logits (V,). Ended rows get BOS."""
        queues = [row.forced.queue for row in rows]
        free = [row.said.ended is None and not queue for row, queue in zip(rows, queues, strict=True)]
        chosen = [None] * len(rows)
        if any(free):
            uniform = None
            if temperature > 0:
                uniform = torch.tensor([row.random.random() if f else 0.0 for row, f in zip(rows, free, strict=True)], dtype=torch.float64)
            chosen = sample(self._allowed(rows, logits, offered, free), uniform, temperature, top_k).tolist()
        bos = self.tokenizer.bos_id
        return [queue[0] if queue else c if f else bos for queue, f, c in zip(queues, free, chosen, strict=True)]

    @staticmethod
    def _allowed(rows: list["_Row"], logits, offered: list[list[int]], free: list[bool]):
        """The logits (B, V) with -inf where a row may not say a token."""
        barred = [row.forced.barred(number) if f else None for row, number, f in zip(rows, offered, free, strict=True)]
        if not any(mask is not None for mask in barred):
            return logits
        masks = torch.stack([torch.zeros(logits.shape[-1], dtype=torch.bool) if mask is None else mask for mask in barred])
        return logits.masked_fill(masks.to(logits.device), -torch.inf)

    @torch.no_grad()
    def _cache(self, rows: list["_Row"]) -> KVCache:
        most = max(len(row.prompt) + row.limit for row in rows)
        cache = KVCache(self.model.config, len(rows), most, self.model.compute_dtype, self.device)
        if self.model.branch is not None:
            cache.branch_state = self.model.branch.init_state(len(rows), most)
        return cache

    def _prefill(self, cache: KVCache, prompts: list[list[int]]):
        """Reads the prompts; the logits (B, V) after the last token of each."""
        lengths = torch.tensor([len(p) for p in prompts], device=cache.lengths.device)
        longest = max(map(len, prompts))
        ids = [p + [self.tokenizer.bos_id] * (longest - len(p)) for p in prompts]
        cache.expect(lengths)
        return self._forward(cache, ids)[torch.arange(len(prompts), device=lengths.device), lengths - 1]

    def _step(self, cache: KVCache, tokens: list[int], active: list[bool]):
        """Reads one token of each active row; the logits (B, V) after it."""
        if not all(active):
            cache.expect(torch.tensor(active, dtype=torch.long, device=cache.lengths.device))
        return self._forward(cache, [[t] for t in tokens])[:, -1]

    @torch.no_grad()
    def _forward(self, cache: KVCache, ids: list[list[int]]):
        training = self.model.training
        if training:
            self.model.eval()
        try:
            return self.model(torch.tensor(ids, device=cache.lengths.device), cache=cache).logits  # (B, T, V)
        finally:
            if training:
                self.model.train()


class _Row:
    """One prompt on its way: what it has said, and what it must say next."""

    def __init__(self, engine: Engine, prompt: list[int], limit: int, max_tokens: int, stop: frozenset[int], random: np.random.Generator):
        self.prompt, self.limit, self.stop, self.random = prompt, limit, stop, random
        self.at_limit = "length" if limit == max_tokens else "context"
        self.said, self.forced = Completion(), ForcedTokens(engine.marks, engine.calculator)

    def take(self, token: int, offered: Sequence[int] = ()) -> None:
        """The row says `token`: the first of its queue, or the model's choice. `offered`: the number that could be printed now."""
        sampled = self.forced.take(token, offered)
        if token in self.stop and sampled:
            self.said.ended, self.said.stop = "stop", token
            return
        self.said.tokens.append(token)
        self.said.sampled.append(sampled)
        if len(self.said.tokens) >= self.limit:
            self.said.ended = self.at_limit
            self.forced.queue.clear()
