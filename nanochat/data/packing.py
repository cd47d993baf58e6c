"""Which documents and conversations go into which row. Plans only, in terms of indices and lengths: cheap enough that every
process plans all rows of the run and fetches only its own, so the order of the data does not depend on the number of processes.

Both packers give rows for ever, epoch after epoch, in an order decided by the seed. Their state is a few integers and the
short list of what waits, and going on from it gives the same rows as never having stopped.

A row begins with the piece that has waited longest, so that nothing starves; then, as often as anything fits, comes the largest
piece that fits (best fit). Text is planned for thousands of documents at a time, all of their rows at once.
"""

import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nanochat.common import derive_seed

BLOCK = 4096  # documents planned together
SPARE = 64  # pieces that a block leaves to the next, so that the last rows still have something to choose from
NOTHING = np.empty((0, 3), dtype=np.int64)  # no pieces
ITEMS = 1024  # items measured at a time; half as many left means it is time for more


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """(n,) the order in which an epoch visits 0..n-1."""
    return np.random.default_rng(derive_seed(seed, "data order", epoch)).permutation(n)


# ---------------------------------------------------------------------------------------------------------------------
# Text: pieces of documents, (P, 3) integers each. A piece (document, start, end) is written as a <|bos|> and the document's tokens
# start..end-1, which is end - start + 1 tokens. A whole document has start 1, for its own <|bos|> is its token 0.


@dataclass
class Block:
    """The rows of a block of documents: row r is pieces[begins[r] : begins[r + 1]]. `rest` waits for the next block, the longest wait
    first; `taken` documents have been taken up by its end, counted from the first epoch's first."""

    pieces: np.ndarray
    begins: np.ndarray
    rest: np.ndarray
    taken: int

    @property
    def rows(self) -> int:
        return len(self.begins) - 1


class TextPacker:
    """Rows of exactly `capacity` tokens from documents of the given lengths (<|bos|> counted), every row beginning with <|bos|>.

    When nothing fits the room left in a row, a piece is cut there and its rest waits for another row: no token is dropped, no row is
    padded. The rows of a block come in random order.
    """

    def __init__(self, lengths: Sequence[int], capacity: int, seed: int, block: int = BLOCK):
        if capacity < 2 or len(lengths) == 0:
            raise ValueError(f"packing needs documents and rows of at least 2 tokens, not {len(lengths)} documents and {capacity}")
        self.lengths, self.capacity, self.seed, self.block = np.asarray(lengths), capacity, seed, block
        self._order: tuple[int, np.ndarray] = (-1, self.lengths)  # the epoch it is of, and its order
        self.load_state_dict({"taken": 0, "row": 0, "waiting": []})

    def next_rows(self, n: int) -> np.ndarray:
        """(P, 3) the pieces of the next n rows, one row after the other."""
        return np.concatenate([NOTHING, *self._advance(n)])

    def skip(self, n: int) -> None:
        """Passes over the next n rows."""
        for _ in self._advance(n):
            pass

    def _advance(self, n: int) -> Iterator[np.ndarray]:
        """Gives n rows, those of a block at a time."""
        while n > 0:
            block = self._planned = self._planned or self._plan()
            begin, end = self.row, min(self.row + n, block.rows)
            n, self.row = n - (end - begin), end
            if end == block.rows:
                self.taken, self.row, self.waiting, self._planned = block.taken, 0, block.rest, None
            yield block.pieces[block.begins[begin] : block.begins[end]]

    def _plan(self) -> Block:
        """Rows for the next documents: a block of an epoch or what is left of it; of very short epochs several."""
        taken, pieces, tokens = self.taken, [self.waiting], 0
        while tokens < 2 * self.capacity:
            documents = self._documents(taken)
            pieces.append(np.stack([documents, np.ones_like(documents), self.lengths[documents]], axis=1))
            taken, tokens = taken + len(documents), tokens + int(pieces[-1][:, 2].sum())
        spare = SPARE if taken % len(self.lengths) else 0  # an epoch is read to its end before the next begins
        rng = np.random.default_rng(derive_seed(self.seed, "rows", self.taken))
        return Block(*pack(np.concatenate(pieces), len(self.waiting), spare, self.capacity, rng), taken)

    def _documents(self, taken: int) -> np.ndarray:
        epoch, cursor = divmod(taken, len(self.lengths))
        if self._order[0] != epoch:
            self._order = epoch, epoch_order(len(self.lengths), self.seed, epoch)
        return self._order[1][cursor : cursor + self.block]

    @property
    def documents_read(self) -> int:
        """Documents in the rows given so far, counted from the first epoch's first: of a block begun its share."""
        return self.taken + (self._planned.taken - self.taken) * self.row // self._planned.rows if self._planned else self.taken

    def state_dict(self) -> dict:
        """Plain integers and lists: documents taken up before the present block, its rows given so far, and what waited before it."""
        return {"taken": self.taken, "row": self.row, "waiting": self.waiting.tolist()}

    def load_state_dict(self, state: dict) -> None:
        self.taken, self.row = state["taken"], state["row"]
        self.waiting = np.array(state["waiting"], dtype=np.int64).reshape(-1, 3)
        self._planned: Block | None = None
        self._planned = self._plan() if self.row else None


def pack(pieces: np.ndarray, waiting: int, spare: int, capacity: int, rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of exactly `capacity` tokens from (P, 3) pieces, the first `waiting` of which have waited: the rows' pieces one after the
    other, where each row begins, and the pieces that are left: about `spare`, at most half, and what gives no whole row. At least one
    row if the pieces have twice as many tokens as a row."""
    full, pieces = _split(pieces, capacity)
    row, placed, rest = _fill(pieces, waiting, spare, capacity)
    row, placed = np.concatenate([np.arange(len(full)), len(full) + row]), np.concatenate([full, placed])
    number = int(row.max(initial=-1)) + 1
    row = rng.permutation(number)[row]
    order = rng.permutation(len(row))  # within a row too: otherwise it would always begin with the longest
    order = order[np.argsort(row[order], kind="stable")]
    return placed[order], np.searchsorted(row[order], np.arange(number + 1)), rest


def _split(pieces: np.ndarray, capacity: int) -> tuple[np.ndarray, np.ndarray]:
    """What of each piece fills rows of its own, a piece for each such row, and what is left: pieces shorter than a row."""
    document, start, end = pieces.T
    inner = capacity - 1
    times = (end - start) // inner
    of = np.repeat(np.arange(len(pieces)), times)
    begin = start[of] + inner * (np.arange(len(of)) - np.repeat(np.cumsum(times) - times, times))
    left = start + inner * times
    keep = (left < end) | (times == 0)
    return np.stack([document[of], begin, begin + inner], axis=1), np.stack([document, left, end], axis=1)[keep]


def _fill(pieces: np.ndarray, waiting: int, spare: int, capacity: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows from pieces shorter than a row: the row of each piece placed, these pieces, and the pieces left."""
    lengths, n = pieces[:, 2] - pieces[:, 1] + 1, len(pieces)
    rows = int(lengths.sum()) * (n - min(spare, n // 2)) // (n * capacity) if n else 0
    first = np.argsort(np.where(np.arange(n) < waiting, -capacity, -lengths), kind="stable")
    begun, left = first[:rows], first[rows:]
    room, row, placed = capacity - lengths[begun], [np.arange(rows)], [pieces[begun]]
    while len(unfilled := np.flatnonzero(room)):
        best = best_fit(room[unfilled], lengths[left])
        fits = best >= 0
        into, taken = unfilled[fits], left[best[fits]]
        room[into] -= lengths[taken]
        row.append(into)
        placed.append(pieces[taken])
        left = np.delete(left, best[fits])
        again = left[pieces[left, 1] > 1]  # what was cut before, as long as there is any, rather than a whole document
        cut = again if len(again) else left
        cut = cut[np.argsort(-lengths[cut], kind="stable")[: np.count_nonzero(~fits)]]
        into = unfilled[~fits][: len(cut)]  # nothing is as short as the room left here, so that every piece is long enough
        until = pieces[cut, 1] + room[into] - 1  # equals start if there is room for a <|bos|> and no more
        row.append(into)
        placed.append(np.stack([pieces[cut, 0], pieces[cut, 1], until], axis=1))
        pieces[cut, 1], lengths[cut], room[into] = until, lengths[cut] - room[into] + 1, 0
    return np.concatenate(row), np.concatenate(placed), pieces[np.sort(left)]


def best_fit(rooms: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(R,) for each room the index of the piece it takes, -1 for none: from the smallest room on, each takes the longest piece that is
    left and fits.

    On a line of all rooms and pieces by size, pieces are opening brackets and rooms closing ones; each room takes the piece whose
    bracket it closes. Brackets belong together when they are neighbours among those of the same depth.
    """
    n = len(lengths)
    order = np.argsort(np.concatenate([lengths, rooms]), kind="stable")  # of equals pieces come first: they fit
    closes = order >= n
    height = np.cumsum(np.where(closes, -1, 1))
    floor = np.minimum(np.minimum.accumulate(height), 0)  # falls where a room closes nothing
    depth = height - floor + closes
    paired = np.flatnonzero(~closes | (floor == np.concatenate([[0], floor[:-1]])))
    paired = paired[np.argsort(depth[paired], kind="stable")]
    at = np.flatnonzero(closes[paired])
    found = np.full(len(rooms), -1)
    found[order[paired[at]] - n] = order[paired[at - 1]]
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Conversations: whole items


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
