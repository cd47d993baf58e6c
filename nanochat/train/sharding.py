"""Who keeps what: the optimizer's state lies spread over the processes, so that each keeps about as many bytes.

Muon needs a whole matrix: each belongs to one process, so that all have about as much to multiply. AdamW goes element by element: what it
trains is cut where it suits, so that the bytes of all come out equal. A process alone keeps everything, by the same rules.
"""

from collections.abc import Collection
from dataclasses import dataclass

from torch import Tensor

GRAIN = 1024  # cuts fall on multiples of so many elements of a parameter: smaller ones stay whole, larger ones aligned
MATRIX_BYTES, OTHER_BYTES = 4, 8  # of state for an element: Muon's momentum (its variance is a vector), AdamW's two moments


@dataclass(frozen=True)
class Piece:
    """The elements `start` to `stop` of a flattened parameter, and the process that updates them."""

    name: str
    start: int
    stop: int
    owner: int

    def __len__(self) -> int:
        return self.stop - self.start

    def of(self, tensor: Tensor) -> Tensor:
        """These elements of the parameter, of its gradient or of anything of its shape: a view, flat."""
        return tensor.view(-1)[self.start : self.stop]


def share_matrices(shapes: dict[str, tuple[int, int]], processes: int) -> list[Piece]:
    """One piece per matrix, in the order given. The most work first, each to the process that has the least so far (Graham 1969)."""
    load, owners = [0] * processes, {}
    for name in sorted(shapes, key=lambda name: -_work(*shapes[name])):
        owners[name] = owner = min(range(processes), key=load.__getitem__)
        load[owner] += _work(*shapes[name])
    return [Piece(name, 0, rows * columns, owners[name]) for name, (rows, columns) in shapes.items()]


def _work(rows: int, columns: int) -> int:
    """Multiplications of an iteration of `polar`, up to a factor: two products with the long side, one of small squares."""
    short, long = sorted((rows, columns))
    return short * short * (2 * long + short)


def share_others(sizes: dict[str, int], kept: list[int]) -> list[Piece]:
    """Pieces of parameters with so many elements, in the order given, each process's share in a row. `kept`: the bytes of state that each
    process has already; those with the least are filled up first."""
    total, ends = sum(sizes.values()), [0.0]
    for room in _rooms(kept, total):
        ends.append(ends[-1] + room)
    pieces, before = [], 0
    for name, size in sizes.items():
        start = 0
        for owner, end in enumerate(ends[1:]):
            stop = min(size, max(start, round((end - before) / GRAIN) * GRAIN)) if owner + 1 < len(kept) else size
            if stop > start:
                pieces.append(Piece(name, start, stop, owner))
            start = stop
        if size == 0:
            pieces.append(Piece(name, 0, 0, 0))
        before += size
    return pieces


def _rooms(kept: list[int], elements: int) -> list[float]:
    """How many elements each process takes, so that those who take any end up with equally many bytes."""
    least = sorted(kept)
    for n in range(len(kept), 0, -1):
        level = (sum(least[:n]) + OTHER_BYTES * elements) / n
        if level >= least[n - 1]:
            break
    return [max(0.0, level - bytes_) / OTHER_BYTES for bytes_ in kept]


def state_bytes(pieces: list[Piece], matrices: Collection[str], processes: int) -> list[int]:
    """Bytes of optimizer state that each process keeps; `matrices` names what Muon trains."""
    kept = [0] * processes
    for piece in pieces:
        kept[piece.owner] += len(piece) * (MATRIX_BYTES if piece.name in matrices else OTHER_BYTES)
    return kept
