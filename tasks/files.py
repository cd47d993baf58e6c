"""Reading rows of task data from local files: JSONL, JSON, CSV and Parquet, plain or gzipped. Never from the network."""

import csv
import gzip
import json
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from nanochat.common import UserError
from nanochat.pipeline import watch


def open_text(path: Path):
    """A text stream of a plain or `.gz` file in UTF-8; a byte-order mark is skipped."""
    opener = gzip.open if path.suffix == ".gz" else open
    return opener(path, "rt", encoding="utf-8-sig", newline="")


class ArrowRows(Sequence):
    """The rows of a Parquet file, kept in Arrow's columns and made into dictionaries one at a time.

    Half a million conversations are 1 GB this way and would be several as Python objects, in every process.
    """

    def __init__(self, table):
        self.table = table

    def __len__(self) -> int:
        return self.table.num_rows

    def __getitem__(self, index: int) -> dict:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self.table.slice(index % len(self), 1).to_pylist()[0]

    def __iter__(self):
        for batch in self.table.to_batches(max_chunksize=1024):
            yield from batch.to_pylist()


def join(parts: list[Sequence]) -> Sequence:
    """Several files' rows as one sequence."""
    if len(parts) > 1 and all(isinstance(p, ArrowRows) for p in parts):
        import pyarrow

        return ArrowRows(pyarrow.concat_tables([p.table for p in parts], promote_options="default"))
    return parts[0] if len(parts) == 1 else [row for part in parts for row in part]


def select(rows: Sequence, keep: Iterable[bool]) -> Sequence:
    """The rows whose `keep` is true."""
    keep = list(keep)
    if isinstance(rows, ArrowRows):
        import pyarrow

        return ArrowRows(rows.table.filter(pyarrow.array(keep)))
    return [row for row, wanted in zip(rows, keep, strict=True) if wanted]


def read_rows(path: Path) -> Sequence:
    """All rows of a file as dictionaries (a CSV file, which has no header line here: lists of texts).

    UserError naming the file (and the line, for JSONL) when it is damaged, empty or of an unknown kind.
    """
    path = Path(path)
    kind = next((s for s in reversed(path.suffixes) if s != ".gz"), "")
    if kind not in READERS:
        raise UserError(f"{path} is not of a kind that can be read; legal endings: {', '.join(READERS)}, each also with .gz")
    try:
        rows = READERS[kind](path)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); fetch it again") from None
    if not len(rows):
        raise UserError(f"{path} holds no rows; fetch it again")
    return rows


def _read_jsonl(path: Path) -> list[dict]:
    rows = []
    with open_text(path) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    rows.append(json.loads(line))
                except ValueError as error:
                    raise ValueError(f"line {number}: {error}") from None
    return rows


def _read_json(path: Path) -> list[dict]:
    """A JSON list of rows, or a dictionary with one such list in it."""
    with open_text(path) as f:
        value = json.load(f)
    if isinstance(value, dict):
        value = next((v for v in value.values() if isinstance(v, list)), None)
    if not isinstance(value, list):
        raise ValueError("no list of rows in it")
    return value


def _read_csv(path: Path) -> list[list[str]]:
    with open_text(path) as f:
        return [row for row in csv.reader(f, strict=True) if row]


def _read_parquet(path: Path) -> ArrowRows:
    import pyarrow
    import pyarrow.parquet

    watch.reading(path)
    try:
        return ArrowRows(pyarrow.parquet.ParquetFile(path).read())
    except pyarrow.ArrowException as error:
        raise ValueError(str(error).splitlines()[0]) from None


READERS = {".jsonl": _read_jsonl, ".json": _read_json, ".csv": _read_csv, ".parquet": _read_parquet}
