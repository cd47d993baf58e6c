"""Which documents and conversations go into which row. Plans only, in terms of indices and lengths: cheap enough that every
process plans all rows of the run and fetches only its own, so the order of the data does not depend on the number of processes.

Both packers yield rows for ever, epoch after epoch, in an order decided by the seed. Their state is a few integers and the
short list of what waits in the buffer, and going on from it gives the same rows as never having stopped.

A row begins with the piece that has waited longest, so that nothing starves; then, as often as anything fits, comes the largest
piece that fits (best fit).
"""

import bisect
from collections.abc import Callable, Sequence

import numpy as np

from nanochat.common import derive_seed

PIECES = 256  # pieces of documents to choose from
ITEMS = 1024  # items measured at a time; half as many left means it is time for more


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """(n,) the order in which an epoch visits 0..n-1."""
    return np.random.default_rng(derive_seed(seed, "data order", epoch)).permutation(n)


class NothingToPlace(ValueError):
    """Not one item of an epoch can be placed."""


class Waiting:
    """The buffer: entries with a length, found by longest wait or by best fit, in O(log n)."""

    def __init__(self):
        self._by_arrival: dict[int, tuple] = {}  # arrival -> (length, arrival, *entry); dicts keep their order
        self._by_length: list[tuple] = []
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._by_length)

    def add(self, length: int, *entry: int) -> None:
        item = (length, self._arrivals, *entry)
        self._arrivals += 1
        self._by_arrival[item[1]] = item
        bisect.insort(self._by_length, item)

    def oldest(self) -> tuple[int, ...]:
        """Takes out the entry that has waited longest: (length, *entry)."""
        return self._take(bisect.bisect_left(self._by_length, next(iter(self._by_arrival.values()))))

    def largest(self, limit: int | None = None) -> tuple[int, ...] | None:
        """Takes out the longest entry (the newest of equals) of at most `limit`; None if there is none."""
        at = len(self._by_length) if limit is None else bisect.bisect_left(self._by_length, (limit + 1,))
        return self._take(at - 1) if at else None

    def entries(self) -> list[list[int]]:
        """All entries in order of arrival, without their lengths."""
        return [list(item[2:]) for item in self._by_arrival.values()]

    def _take(self, at: int) -> tuple[int, ...]:
        length, arrival, *entry = self._by_length.pop(at)
        del self._by_arrival[arrival]
        return (length, *entry)


class TextPacker:
    """Rows of exactly `capacity` tokens from documents of the given lengths (<|bos|> counted), every row beginning with <|bos|>.

    `next_row()` is a list of pieces (document, start, end). A piece with start > 0 continues a document and is written with
    a <|bos|> of its own before it. When nothing fits the room left, the largest waiting piece is cut there and its rest waits for
    another row: no token is dropped, no row is padded.
    """

    def __init__(self, lengths: Sequence[int], capacity: int, seed: int, buffer: int = PIECES):
        if capacity < 2 or len(lengths) == 0:
            raise ValueError(f"packing needs documents and rows of at least 2 tokens, not {len(lengths)} documents and {capacity}")
        self.lengths, self.capacity, self.seed = lengths, capacity, seed
        self.buffer = min(buffer, len(lengths))  # more would hold the same document several times over
        self.load_state_dict({"epoch": 0, "cursor": 0, "waiting": []})

    def next_row(self) -> list[tuple[int, int, int]]:
        self._fill()
        length, *piece = self._waiting.oldest()
        row, room = [], self.capacity
        while True:
            row.append(self._place(piece, length, room))
            room -= min(length, room)
            if room == 0:
                return row
            self._fill()
            length, *piece = self._waiting.largest(room) or self._waiting.largest()

    def _place(self, piece: list[int], length: int, room: int) -> tuple[int, int, int]:
        """The part of `piece` that fits into `room`; the rest goes back to the buffer."""
        document, start, end = piece
        if length <= room:
            return document, start, end
        cut = end - (length - room)  # equals start if there is room for the <|bos|> of a continued piece and no more
        self._wait(document, cut, end)
        return document, start, cut

    def _wait(self, document: int, start: int, end: int) -> None:
        self._waiting.add(end - start + (start > 0), document, start, end)

    def _fill(self) -> None:
        while len(self._waiting) < self.buffer:
            if self.cursor == len(self.lengths):
                self.epoch, self.cursor = self.epoch + 1, 0
                self._order = epoch_order(len(self.lengths), self.seed, self.epoch)
            document = int(self._order[self.cursor])
            self._wait(document, 0, int(self.lengths[document]))
            self.cursor += 1

    @property
    def progress(self) -> float:
        """Share of the current epoch's documents taken up, 0..1."""
        return self.cursor / len(self.lengths)

    def state_dict(self) -> dict:
        """Plain integers and lists."""
        return {"epoch": self.epoch, "cursor": self.cursor, "waiting": self._waiting.entries()}

    def load_state_dict(self, state: dict) -> None:
        self.epoch, self.cursor = state["epoch"], state["cursor"]
        self._order = epoch_order(len(self.lengths), self.seed, self.epoch)
        self._waiting = Waiting()
        for document, start, end in state["waiting"]:
            self._wait(document, start, end)


class ItemPacker:
    """Rows of whole items (conversations), each placed exactly once an epoch; the rest of a row stays empty.

    `measure(indices)` gives the length of each item in tokens, at most `capacity`; 0 leaves an item out. The buffer runs
    empty at the end of an epoch, so an epoch ends at the end of a row. NothingToPlace if an epoch has no item to place.
    """

    def __init__(self, n: int, measure: Callable[[list[int]], list[int]], capacity: int, seed: int, buffer: int = ITEMS):
        if n == 0:
            raise ValueError("there are no items to pack")
        self.n, self.measure, self.capacity, self.seed, self.buffer = n, measure, capacity, seed, buffer
        self.load_state_dict({"epoch": 0, "cursor": 0, "placed": 0, "waiting": []})

    def next_row(self) -> list[int]:
        """The items of a row, in order; never empty."""
        self._fill()
        if not len(self._waiting):
            raise NothingToPlace("no item has anything to place in a row")
        length, item = self._waiting.oldest()
        row, room = [item], self.capacity - length
        while (best := self._waiting.largest(room)) is not None:
            row.append(best[1])
            room -= best[0]
        self.placed += len(row)
        self._fill()
        if not len(self._waiting):
            self.epoch, self.cursor, self.placed = self.epoch + 1, 0, 0
            self._order = epoch_order(self.n, self.seed, self.epoch)
        return row

    def _fill(self) -> None:
        """Takes up items in chunks, so that `measure` can share the work among processes."""
        while len(self._waiting) <= self.buffer // 2 and self.cursor < self.n:
            chunk = [int(i) for i in self._order[self.cursor : self.cursor + self.buffer]]
            self.cursor += len(chunk)
            self._add(chunk)

    def _add(self, items: list[int]) -> None:
        for item, length in zip(items, self.measure(items), strict=True):
            if length > self.capacity:
                raise ValueError(f"item {item} has {length} tokens, more than a row's {self.capacity}")
            if length:
                self._waiting.add(length, item)

    @property
    def progress(self) -> float:
        """Share of the current epoch's items placed, 0..1; 0 again when the next begins."""
        return self.placed / self.n

    def state_dict(self) -> dict:
        """Plain integers and lists."""
        return {"epoch": self.epoch, "cursor": self.cursor, "placed": self.placed, "waiting": [i for (i,) in self._waiting.entries()]}

    def load_state_dict(self, state: dict) -> None:
        self.epoch, self.cursor, self.placed = state["epoch"], state["cursor"], state["placed"]
        self._order = epoch_order(self.n, self.seed, self.epoch)
        self._waiting = Waiting()
        if state["waiting"]:
            self._add(list(state["waiting"]))
