"""Files as they lie on the disk: how large, how many rows, and whether they are what their name promises.

Nothing is held in memory but one row group of a parquet file, or one line.
"""

import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path


class Damaged(Exception):
    """A file that cannot be read as what its name promises; the message says why."""


def size(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    path = Path(path)
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) if path.is_dir() else path.stat().st_size


def damage(path: Path, name: str, thorough: bool = True) -> str:
    """What is wrong with a file judged by the format that `name` promises, "" if nothing is seen.

    Thorough: every line and every row group is decoded; else only the first line, the footer.
    """
    if path.stat().st_size == 0:
        return "is empty"
    packed = name.endswith(".gz")
    try:
        if name.endswith(".parquet"):
            _parquet(path, decode=thorough)
        elif name.endswith((".jsonl", ".jsonl.gz")):
            for line in filter(bytes.strip, _lines(path, packed)):
                json.loads(line)
                if not thorough:
                    break
        elif name.endswith((".gz", ".csv", ".tiktoken", ".txt")):
            lines = _lines(path, packed)
            next(lines, None)
            if thorough:
                _count(lines)
    except (OSError, EOFError, ValueError, zlib.error, Damaged) as error:
        return str(error) if isinstance(error, Damaged) else f"cannot be read ({error})"
    return ""


def rows(path: Path, name: str = "") -> int | None:
    """Rows of a table, lines of a rank file, problems of ASDiv; None of a kind that has none, or that cannot be read.

    `name` is what the file will be called, where it is not yet.
    """
    name = name or path.name
    packed, ending = name.endswith(".gz"), name.removesuffix(".gz")
    try:
        return next((count(path, packed) for kind, count in COUNTERS.items() if ending.endswith(kind)), None)
    except (OSError, EOFError, ValueError, zlib.error, Damaged):
        return None


def _parquet(path: Path, decode: bool) -> int:
    """Rows by the footer; Damaged if there is none, or if a row group cannot be decoded."""
    with open(path, "rb") as f:
        head = f.read(4)
        f.seek(max(4, path.stat().st_size - 4))
        if head != b"PAR1" or f.read() != b"PAR1":
            raise Damaged("is not a whole parquet file")
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path, pre_buffer=False, page_checksum_verification=decode) as file:
            for group in range(file.num_row_groups if decode else 0):
                file.read_row_group(group, use_threads=False)
            return file.metadata.num_rows
    except (pyarrow.ArrowException, OSError) as error:
        raise Damaged(f"is not a whole parquet file ({str(error).splitlines()[0][:120]})") from None


def _open(path: Path, packed: bool, mode: str = "rb", **how):
    return (gzip.open if packed else open)(path, mode, **how)


def _lines(path: Path, packed: bool) -> Iterator[bytes]:
    with _open(path, packed) as f:
        yield from f


def _count(lines) -> int:
    return sum(1 for _ in lines)


def _filled_lines(path: Path, packed: bool) -> int:
    return _count(line for line in _lines(path, packed) if line.strip())


def _csv_rows(path: Path, packed: bool) -> int:
    with _open(path, packed, "rt", encoding="utf-8-sig", newline="") as f:
        return _count(row for row in csv.reader(f) if row)


def _json_rows(path: Path, packed: bool) -> int | None:
    """Items of a list, or of the first list in a dictionary."""
    with _open(path, packed) as f:
        value = json.load(f)
    if isinstance(value, dict):
        value = next((v for v in value.values() if isinstance(v, list)), None)
    return len(value) if isinstance(value, list) else None


def _problems(path: Path, packed: bool) -> int:
    return _count(line for line in _lines(path, packed) if b"<Problem " in line)


def _footer_rows(path: Path, _packed: bool) -> int:
    return _parquet(path, decode=False)


COUNTERS = {
    ".parquet": _footer_rows,
    ".jsonl": _filled_lines,
    ".tiktoken": _filled_lines,
    ".csv": _csv_rows,
    ".json": _json_rows,
    ".xml": _problems,
}
