"""Content digests of files and folders, each byte read once: what tells a stage that nothing changed.

A digest is remembered under the file's path, inode, size and times of last change, in memory and, for large files, in
`<base>/digests.json`. A file changed within the last moments is not trusted to show its next change in its times, so its
digest is not remembered yet.
"""

import contextlib
import hashlib
import os
import time
from pathlib import Path

from nanochat import common

LARGE = 1 << 20  # bytes; smaller files are read again rather than remembered on disk
SETTLED = 2.0  # seconds; longer than the resolution of any file system's times

_known: dict[str, str] = {}


def digest(path: Path) -> str:
    """Hex digest of a file's bytes, or of a folder: the digest of its files' names and digests in order.

    Hidden files (`.name`: work in progress of a writer) do not count. A file that vanishes meanwhile does not either.
    """
    path = Path(path)
    if not path.is_dir():
        return _file_digest(path)
    lines = []
    for child in sorted(path.rglob("*")):
        name = child.relative_to(path)
        if child.is_file() and not any(part.startswith(".") for part in name.parts):
            with contextlib.suppress(FileNotFoundError):
                lines.append(f"{name} {_file_digest(child)}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    key, settled = _key(path)
    if key not in _known and not _known:
        _known.update(common.read_json(common.base_dir() / "digests.json") or {})
    if key in _known:
        return _known[key]
    value = common.sha256(path)
    if settled and _key(path)[0] == key:
        _known[key] = value
        if _size(key) >= LARGE:
            _remember()
    return value


def _key(path: Path) -> tuple[str, bool]:
    stat = path.stat()
    changed = max(stat.st_mtime, stat.st_ctime)
    return f"{os.path.abspath(path)}|{stat.st_ino}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ctime_ns}", time.time() - changed > SETTLED


def _size(key: str) -> int:
    return int(key.rsplit("|", 3)[1])


def _remember() -> None:
    """Keeps the digests of large files that are still there; only a convenience, so a read-only disk is no error."""
    if common.rank() == 0 and common.base_dir().is_dir():
        kept = {k: v for k, v in _known.items() if _size(k) >= LARGE and os.path.exists(k.rsplit("|", 4)[0])}
        with contextlib.suppress(OSError):
            common.write_json(common.base_dir() / "digests.json", kept)
