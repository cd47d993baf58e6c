"""While a stage works it may open only those files of the data folder that it declared as inputs.

Python tells an audit hook about every file it opens; libraries that read files on their own do not, so their callers say
`reading(path)` first.
"""

import contextlib
import os
import sys
from pathlib import Path

from nanochat import common
from nanochat.common import UserError

_installed = False
_root: str | None = None  # the data folder while it is watched
_declared: set[str] = set()


@contextlib.contextmanager
def only_declared(inputs: list, data_dir: Path):
    """Within it, opening a file of the data folder that is none of `inputs`, nor inside one, is a UserError."""
    global _installed, _root
    if not _installed:
        sys.addaudithook(_see)  # there is no way to take one away
        _installed = True
    before = (_root, set(_declared))
    _declared.clear()
    _declared.update(os.path.abspath(item.path) for item in inputs)
    _root = os.path.abspath(data_dir) + os.sep
    try:
        yield
    finally:
        _root = before[0]
        _declared.clear()
        _declared.update(before[1])


def reading(path: Path) -> None:
    """Says that a library is about to read `path`; UserError if that was not declared."""
    sys.audit("open", str(path), "r", 0)


def _see(event: str, arguments: tuple) -> None:
    if event != "open" or _root is None or not isinstance(arguments[0], (str, bytes)):
        return
    path = os.path.abspath(os.fsdecode(arguments[0]))
    if path.startswith(_root) and not _allowed(path):
        raise UserError(f"{path} is opened without being an input of the stage; list it in the stage's inputs and in config/manifest.toml")


def _allowed(path: str) -> bool:
    """A declared file, anything in a declared folder, and all of the base directory except its data."""
    base = str(common.base_dir()) + os.sep
    if path.startswith(base) and not path.startswith(os.path.join(base, "data") + os.sep):
        return True
    return path in _declared or os.path.isdir(path) or any(str(parent) in _declared for parent in Path(path).parents)
