"""One sentence for what a machine refuses: full disk, quota, permission, memory."""

import errno
import shutil
from pathlib import Path

from nanochat import common


def explain(error: Exception) -> str:
    """One sentence with a remedy for what a machine refuses: disk, quota, permission, memory; else the error's own words."""
    if isinstance(error, common.UserError):
        return str(error)
    base = common.base_dir()
    number = error.errno if isinstance(error, OSError) else None
    where = getattr(error, "filename", None) or base
    of_torch = "write failed" in str(error) or "inline_container" in str(error)  # it tells its own position instead of the reason
    if number == errno.ENOSPC or "No space left on device" in str(error) or (of_torch and _is_full(base)):
        return (
            f"the disk holding {where} is full; free some space or set NANOCHAT_BASE_DIR to another disk, then run the same command again"
        )
    if number == errno.EDQUOT or "Disk quota exceeded" in str(error):
        return f"the disk quota for {where} is used up; free some space or set NANOCHAT_BASE_DIR to another disk, then run again"
    if number in (errno.EROFS, errno.EACCES, errno.EPERM) and Path(where).is_relative_to(base):
        return f"{where} cannot be written; set NANOCHAT_BASE_DIR to a folder that can"
    if number == errno.ENOENT and base.is_relative_to(where):
        return f"{where} cannot be made; set NANOCHAT_BASE_DIR to a folder that can"
    if number in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"there is no permission for {where}; change it (chmod, chown) or use another place"
    if number in (errno.ENOTDIR, errno.EEXIST) and (Path(where).is_relative_to(base) or base.is_relative_to(where)):
        return f"{where} is not a folder; set NANOCHAT_BASE_DIR to a folder"
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return f"memory ran out ({own_words(error).splitlines()[0]}); use a smaller batch per step, a smaller model, or more memory"
    return own_words(error)


def _is_full(folder: Path) -> bool:
    return folder.is_dir() and shutil.disk_usage(folder).free < 1 << 20


def own_words(error: Exception) -> str:
    """The error's own message, with its type where the message alone would not tell."""
    return str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
