"""Folders that appear whole: built aside, flushed, marked with COMPLETE, renamed. Without the marker they do not exist."""

import contextlib
import os
import shutil
from pathlib import Path

COMPLETE = "COMPLETE"


def is_complete(folder: Path) -> bool:
    """True if `folder` was finished by `new_artifact` (or another writer that leaves the marker last)."""
    return (Path(folder) / COMPLETE).is_file()


@contextlib.contextmanager
def new_artifact(folder: Path):
    """Yields an empty folder beside `folder`; on success it is flushed, marked and takes the place of `folder`.

    On failure nothing of it stays and an older `folder` is as it was. What a killed writer of the same folder left is removed;
    two may not write the same folder at the same time.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    replaced = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    for left in folder.parent.glob(f".{folder.name}.*"):
        if left.suffix in (".tmp", ".old") and left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
    aside.mkdir()
    try:
        yield aside
        (aside / COMPLETE).touch()
        for path in aside.iterdir():
            with open(path, "rb") as f:
                os.fsync(f.fileno())
        if folder.exists():
            os.replace(folder, replaced)
        os.replace(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)
