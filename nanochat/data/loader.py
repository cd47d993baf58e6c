"""Batches for training: rows of text, and rows of conversations with what is trained in them.

Both loaders are endless iterators with the same protocol: `tokens_per_step` (of one micro step over all processes), `epoch`,
`progress` of the epoch in 0..1, and `state_dict()` / `load_state_dict()` of plain integers and lists after which the batches
go on exactly. Every process plans all rows and takes its own, so the state is the same in each of them and a run may go on
with another number of processes, or with smaller batches (`resize`).

`sources` says what the last batch was made of: for each row the numbers of its documents or conversations; `noun` is what these are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from nanochat.common import UserError, all_reduce_sum
from nanochat.data.ahead import Lookahead
from nanochat.data.conversations import Rendered, render
from nanochat.data.packing import ItemPacker, NothingToPlace, TextPacker
from nanochat.data.shards import TokenShard
from nanochat.data.tokenizer import Tokenizer

IGNORE = -1  # target of a position that is not trained
AHEAD = 2  # batches of text made before they are asked for


@dataclass
class ConversationBatch:
    """inputs (B, T) int64; targets (B, T) int64, IGNORE where nothing is trained; documents: for each row the conversations in
    it with the column of their first token; labels: of their plans, if a branch has made them."""

    inputs: torch.Tensor
    targets: torch.Tensor
    documents: list[list[tuple[int, Rendered]]]
    labels: object | None = None


class _Loader:
    """What both loaders share: row counting, epochs, state."""

    noun = "document"

    def __init__(self, name: str, batch: int, T: int, seed: int, rank: int, world: int, device):
        if min(batch, T, world) < 1 or not 0 <= rank < world:
            raise UserError(
                f"a loader needs batch and row length of at least 1 and a rank below the number of processes, "
                f"not batch {batch}, length {T}, rank {rank} of {world}"
            )
        self.name, self.batch, self.T, self.seed, self.rank, self.world = name, batch, T, seed, rank, world
        self.device = torch.device(device)
        if self.device.type == "cuda" and self.device.index is None:
            self.device = torch.device("cuda", torch.cuda.current_device())
        self.packer: TextPacker | ItemPacker
        self.sources: list[list[int]] = []

    def __iter__(self):
        return self

    @property
    def tokens_per_step(self) -> int:
        """Tokens of one micro step over all processes, padding included."""
        return self.batch * self.T * self.world

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        return self.packer.epoch

    @property
    def progress(self) -> float:
        """Share of the current epoch, 0..1."""
        return self.packer.progress

    def state_dict(self) -> dict:
        """Plain integers and lists; the same in every process."""
        return {**self._where(), "seed": self.seed, "items": self.size}

    def _where(self) -> dict:
        """Where in the data the batches given out end."""
        return self.packer.state_dict()

    def load_state_dict(self, state: dict) -> None:
        """Goes on exactly where `state` was taken. Every process must call it. UserError if the data is not the same."""
        if state.keys() != self.state_dict().keys():
            raise UserError("the checkpoint notes its place in the data in another version's way; start again with --resume=off")
        if (state["seed"], state["items"]) != (self.seed, self.size):
            raise UserError(
                f"the checkpoint was reading {state['items']} items with seed {state['seed']} but {self.name} now has {self.size} "
                f"with seed {self.seed}; restore the data and the seed, or start again with --resume=off"
            )
        self.packer.load_state_dict(state)

    def resize(self, batch: int) -> None:
        """From the next batch on `batch` rows each; their order stays. Only where a step of training ends, which all processes reach."""
        self.batch = batch

    def _move(self, rows: torch.Tensor) -> torch.Tensor:
        return rows.to(self.device, non_blocking=rows.is_pinned())


class TokenLoader(_Loader):
    """Batches (inputs, targets), each (B, T) int64, from tokenised text. Every row begins with <|bos|> and is full.

    A thread makes the next `ahead` batches while one is used. Epochs, progress and state are those of the batches given out.
    """

    def __init__(self, shard: TokenShard, batch: int, T: int, seed: int = 0, rank: int = 0, world: int = 1, device="cpu",
                 ahead: int = AHEAD):  # fmt: skip
        super().__init__(shard.name, batch, T, seed, rank, world, device)
        self.shard, self.size, self.ahead = shard, len(shard), ahead
        self.packer = TextPacker(shard.lengths, T + 1, seed)
        self._maker = _RowMaker(self.packer, shard, batch, rank, world, self.device)
        self._begin()

    def resize(self, batch: int) -> None:
        super().resize(batch)
        self._maker = _RowMaker(self.packer, self.shard, batch, self.rank, self.world, self.device)
        self.load_state_dict(self.state_dict())  # what was made in the old size is made again

    def _begin(self) -> None:
        self._state, self._read = self.packer.state_dict(), self.packer.documents_read
        self._coming = Lookahead(self._maker.make, self.ahead)

    def __next__(self) -> tuple[torch.Tensor, torch.Tensor]:
        rows, self._state, self._read, self.sources = self._coming.get()
        rows = self._move(rows)  # (B, T + 1)
        return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()  # (B, T), (B, T)

    @property
    def epoch(self) -> int:
        return self._read // self.size

    @property
    def progress(self) -> float:
        return self._read % self.size / self.size

    def _where(self) -> dict:
        return self._state

    def load_state_dict(self, state: dict) -> None:
        self._coming.close()  # the thread uses the packer
        super().load_state_dict(state)
        self._begin()


class _RowMaker:
    """Makes one batch of a process after the other. It runs ahead of what its loader has given out and knows nothing of it."""

    def __init__(self, packer: TextPacker, shard: TokenShard, batch: int, rank: int, world: int, device: torch.device):
        self.packer, self.shard, self.bos_id = packer, shard, int(shard[0][0])
        self.batch, self.before, self.after = batch, rank * batch, (world - 1 - rank) * batch
        self.device, self.pinned = device, device.type == "cuda"

    def make(self) -> tuple[torch.Tensor, dict, int, list[list[int]]]:
        """(B, T + 1) tokens, the packer's state and number of documents read after them, and the documents in each row."""
        if self.pinned:
            torch.cuda.set_device(self.device)  # of this thread; pinning would otherwise begin a context on the first GPU
        self.packer.skip(self.before)
        pieces = self.packer.next_rows(self.batch)
        self.packer.skip(self.after)
        rows = torch.empty((self.batch, self.packer.capacity), dtype=torch.int64, pin_memory=self.pinned)
        ends = self._write(rows.numpy().reshape(-1), pieces)
        first_of_rows = np.flatnonzero(ends % self.packer.capacity == 0)[:-1] + 1
        sources = [documents.tolist() for documents in np.split(pieces[:, 0], first_of_rows)]
        return rows, self.packer.state_dict(), self.packer.documents_read, sources

    def _write(self, tokens: np.ndarray, pieces: np.ndarray) -> np.ndarray:
        """Pieces fill rows exactly, so that all rows are written as one. Where each piece ends."""
        ends = np.cumsum(pieces[:, 2] - pieces[:, 1] + 1)
        at = 0
        for (document, start, end), until in zip(pieces.tolist(), ends.tolist(), strict=True):
            tokens[at:until] = self.shard[document][start - 1 : end]
            at = until
        tokens[ends[:-1]] = self.bos_id  # where the next piece begins: a document continued has the token before it there
        tokens[0] = self.bos_id
        return ends


class ConversationLoader(_Loader):
    """Batches of packed conversations, a `ConversationBatch` each.

    `items` is a sequence of conversations or `Rendered`s, made when asked for; only `len` and `[i]` are used, and `items[i]`
    must always be the same. Items longer than a row are cropped to it, items without anything to train are left out, rows are
    filled up with <|bos|> that are not trained. `train_on`: "all" trains every token of an item, "assistant" what its mask says.
    Use `epoch` to stop: it grows when the last item of an epoch has been placed.
    """

    noun = "conversation"

    def __init__(self, items: Sequence, tokenizer: Tokenizer, batch: int, T: int, seed: int = 0, rank: int = 0, world: int = 1,
                 device="cpu", train_on: str = "assistant"):  # fmt: skip
        if train_on not in ("all", "assistant"):
            raise ValueError(f"train_on must be 'all' or 'assistant', not {train_on!r}")
        if len(items) == 0:
            raise UserError("there are no conversations to train on; check the data folder (--data_dir) and the mixture of the stage")
        super().__init__("conversations", batch, T, seed, rank, world, device)
        self.items, self.size, self.tokenizer, self.train_on = items, len(items), tokenizer, train_on
        self._cache: dict[int, Rendered] = {}
        self.examples = 0  # conversations given out by this process
        self.packer = ItemPacker(len(items), self._measure, T + 1, seed)

    def __next__(self) -> ConversationBatch:
        tokens = np.full((self.batch, self.T + 1), self.tokenizer.bos_id, dtype=np.int64)
        targets = np.full((self.batch, self.T + 1), IGNORE, dtype=np.int64)
        documents: list[list[tuple[int, Rendered]]] = []
        try:
            rows = [self.packer.next_row() for _ in range(self.batch * self.world)]
        except NothingToPlace:
            raise UserError(
                f"none of the {self.size} conversations has a token to train within the {self.T} tokens of a row; "
                "raise the row length or check the data"
            ) from None
        self.sources = rows[self.rank * self.batch : (self.rank + 1) * self.batch]
        for b, row in enumerate(self.sources):
            documents.append(list(self._place(row)))
            for at, item in documents[-1]:
                end = at + len(item)
                tokens[b, at:end] = item.ids
                targets[b, at:end] = np.where(self._trained(item), item.ids, IGNORE)
        self.examples += sum(map(len, documents))
        inputs, targets = (torch.from_numpy(array.copy()) for array in (tokens[:, :-1], targets[:, 1:]))
        if self.device.type == "cuda":
            inputs, targets = inputs.pin_memory(), targets.pin_memory()
        return ConversationBatch(self._move(inputs), self._move(targets), documents)

    def load_state_dict(self, state: dict) -> None:
        self._cache.clear()
        super().load_state_dict(state)

    def _place(self, row: list[int]) -> Iterator[tuple[int, Rendered]]:
        at = 0
        for index in row:
            item = self._cache.pop(index, None) or self._render(index)
            yield at, item
            at += len(item)

    def _trained(self, item: Rendered) -> np.ndarray:
        return np.array(item.mask if self.train_on == "assistant" else [1] * len(item), dtype=bool)

    def _render(self, index: int) -> Rendered:
        item = self.items[index]
        try:
            rendered = item if isinstance(item, Rendered) else render(self.tokenizer, item)
        except UserError as error:
            raise UserError(f"conversation {index} cannot be used: {error}") from None
        return rendered.crop(self.T + 1)

    def _measure(self, indices: list[int]) -> list[int]:
        """Length of each item within a row, 0 for one that trains nothing. Processes share the rendering."""
        shared = self.world > 1 and torch.distributed.is_available() and torch.distributed.is_initialized()
        lengths = [0.0] * len(indices)
        for k in range(self.rank, len(indices), self.world) if shared else range(len(indices)):
            item = self._render(indices[k])
            trains = self._trained(item)[1:].any()  # a row's first token is nobody's target
            lengths[k] = float(len(item) if trains else 0)
            if trains and self.world == 1:  # else most of it would be other processes' rows
                self._cache[indices[k]] = item
        return [round(n) for n in (all_reduce_sum(lengths) if shared else lengths)]


class TextItems(Sequence):
    """Documents of a shard as items for a `ConversationLoader` with train_on="all": general text among conversations."""

    def __init__(self, shard: TokenShard, limit: int | None = None):
        self.shard, self.size = shard, min(len(shard), limit or len(shard))

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Rendered:
        ids = self.shard[index].tolist()
        return Rendered(ids, [0] + [1] * (len(ids) - 1))
