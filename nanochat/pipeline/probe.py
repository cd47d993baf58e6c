"""Does a file hold what its name promises? Opens it and reads its first rows, and its end where a cut would show.

    unreadable(Path("gsm8k/train.parquet"))      # "" or the reason: "is empty", "is a web page, not data", ...

Cheap on purpose: no file is hashed. What a file lost in its middle only the lock file of the data folder can tell.
"""

import base64
import csv
import gzip
import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path

WHOLE = 32 << 20  # bytes on disk; smaller text files are read to their end
ROWS = 8  # rows of a parquet file's first and last group
EDGE = 64 << 10  # bytes looked at where a large file is not read whole
LONGEST_LINE = 32 << 20  # bytes
LFS_POINTER = b"version https://git-lfs.github.com"
WEB_PAGE = (b"<!doctype html", b"<html")
ANSWERS_OF_SERVERS = (b"<?xml version", b"accessdenied", b"access to ", b"repository not found", b"entry not found", b"invalid username")


def unreadable(path: Path) -> str:
    """Why a file (or folder of files) that is there cannot be used, in a few words after its name; "" if nothing is seen."""
    path = Path(path)
    try:
        return _folder(path) if path.is_dir() else _file(path)
    except PermissionError:
        return "may not be read (ls -l shows its owner; chmod u+r mends your own)"
    except (OSError, EOFError, ValueError, zlib.error, LookupError) as error:
        return f"is damaged ({_words(error)})"


def _folder(path: Path) -> str:
    if path.suffix in READERS or path.suffix == ".gz":
        return "is a folder, where a file should be"
    children = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
    if not children:
        return "is an empty folder"
    reasons = ((child, unreadable(child)) for child in children)
    return next((f"holds {child.relative_to(path)}, which {reason}" for child, reason in reasons if reason), "")


def _file(path: Path) -> str:
    size = path.stat().st_size
    if not size:
        return "is empty"
    with open(path, "rb") as f:
        head = f.read(512)
    if head.startswith(LFS_POINTER):
        return "is a Git LFS pointer, not the data"
    start = head.lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    if start.startswith(WEB_PAGE):
        return "is a web page, not data"
    kind = _kind(path)
    if start.startswith(ANSWERS_OF_SERVERS) and kind not in (".xml", ".txt"):
        return "is the answer of a server, not data"
    READERS.get(kind, _read_any)(path)
    return ""


def _kind(path: Path) -> str:
    return next((s for s in reversed(path.suffixes) if s != ".gz"), "")


def _words(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120] or type(error).__name__


# ---------------------------------------------------------------------------------------------------------------------
# One reader per kind: nothing happens, or ValueError and its like


def _read_parquet(path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            groups = file.metadata.num_row_groups
            if not file.metadata.num_rows:
                raise ValueError("it has no rows")
            for group in {0, groups - 1}:
                next(file.iter_batches(batch_size=ROWS, row_groups=[group]))
    except (pyarrow.ArrowException, StopIteration) as error:
        raise ValueError(_words(error)) from None


def _lines(path: Path):
    """(number, line) of the whole file, or of its beginning if it is large."""
    opener, large = (gzip.open if path.suffix == ".gz" else open), path.stat().st_size > WHOLE
    with opener(path, "rb") as f:
        number = read = 0
        while (read < EDGE or not large) and (line := f.readline(LONGEST_LINE)):
            read, number = read + len(line), number + 1
            yield number, line


def _read_jsonl(path: Path) -> None:
    rows = 0
    for number, line in _lines(path):
        if line.strip():
            rows += 1
            _object(line, f"line {number}")
    if not rows:
        raise ValueError("it has no rows")
    if path.suffix != ".gz" and path.stat().st_size > WHOLE:
        _object(_last_line(path), "its last line")


def _object(line: bytes, where: str) -> None:
    try:
        json.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except ValueError:
        raise ValueError(f"{where} is no JSON") from None


def _last_line(path: Path) -> bytes:
    with open(path, "rb") as f:
        f.seek(max(0, os.fstat(f.fileno()).st_size - LONGEST_LINE))
        return f.read().rstrip(b"\n").rpartition(b"\n")[2]


def _read_json(path: Path) -> None:
    """Whole: a JSON file that was cut is seen only at its end."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as f:
        if not json.loads(f.read()):
            raise ValueError("it holds nothing")


def _read_csv(path: Path) -> None:
    text = (line.decode("utf-8-sig" if number == 1 else "utf-8") for number, line in _lines(path))
    if not any(csv.reader(text, strict=True)):
        raise ValueError("it has no rows")


def _read_text(path: Path) -> None:
    for _, line in _lines(path):
        line.decode("utf-8-sig")


def _read_ranks(path: Path) -> None:
    ranks = 0
    for number, line in _lines(path):
        token, _, rank = line.strip().partition(b" ")
        if not rank.isdigit() or not base64.b64decode(token, validate=True):
            raise ValueError(f"line {number} is not '<base64> <rank>'")
        ranks += 1
    if ranks < 256:
        raise ValueError(f"it has {ranks} tokens, fewer than there are bytes")


def _read_yaml(path: Path) -> None:
    import yaml

    try:
        if not yaml.safe_load(path.read_text(encoding="utf-8")):
            raise ValueError("it holds nothing")
    except yaml.YAMLError as error:
        raise ValueError(_words(error)) from None


def _read_any(path: Path) -> None:
    with open(path, "rb") as f:
        f.read(EDGE)
        f.seek(max(0, os.fstat(f.fileno()).st_size - EDGE))
        f.read(EDGE)


READERS: dict[str, Callable[[Path], None]] = {
    ".parquet": _read_parquet,
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".txt": _read_text,
    ".tiktoken": _read_ranks,
    ".yaml": _read_yaml,
}
