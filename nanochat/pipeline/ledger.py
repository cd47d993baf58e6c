"""What is written down about stages: status.json per stage, and the ledger with one line per start and end."""

import json
import os
import platform
import socket
import subprocess
from importlib import metadata
from pathlib import Path

from nanochat import common
from nanochat.pipeline import machine

PACKAGES = ("torch", "numpy", "tiktoken", "rustbpe", "pyarrow")


def stage_label(stage: str, tag: str = "") -> str:
    """Name of a stage's folder under stages/: `stage` or `stage.tag`."""
    return f"{stage}.{tag}" if tag else stage


def stage_folder(stage: str, tag: str = "") -> Path:
    """`<base>/stages/<stage>[.<tag>]`."""
    return common.base_dir() / "stages" / stage_label(stage, tag)


def read_status(stage: str, tag: str = "") -> dict | None:
    """status.json of a stage, None if it never started or it cannot be read."""
    status = common.read_json(stage_folder(stage, tag) / "status.json")
    return _portable_names(status) if isinstance(status, dict) else None


def portable(path: Path | str, data: Path | None = None) -> str:
    """A path as status.json names it: in the base directory relative to that, in the folder `data` as `<data>/...`, else as it is.

    So both folders can be moved or copied and what was done there still counts.
    """
    roots = [(common.base_dir(), "")] + ([(data, "<data>/")] if data else [])
    for root, name in sorted(roots, key=lambda root: -len(root[0].parts)):  # the inner one first, if one holds the other
        if Path(path).is_relative_to(root):
            return name + Path(path).relative_to(root).as_posix()
    return str(path)


def located(name: str) -> Path:
    """Where the output is that status.json names."""
    return common.base_dir() / name


def _portable_names(status: dict) -> dict:
    """A status with portable names, for one that an earlier version wrote with absolute paths."""
    config = status.get("config")
    data = common.data_dir(str(config.get("data_dir") or "") if isinstance(config, dict) else "")
    for key, folder in (("inputs", data), ("outputs", None)):
        if isinstance(status.get(key), dict):
            status[key] = {portable(path, folder): value for path, value in status[key].items()}
    return status


def append_line(path: Path, entry: dict) -> None:
    """Appends one JSON line. A line that a killed writer left half-written is closed first, so it spoils no other."""
    with open(path, "ab+") as f:
        if f.tell() and not _ends_with_newline(f):
            f.write(b"\n")
        f.write((json.dumps(entry, allow_nan=False, default=str) + "\n").encode())


def _ends_with_newline(f) -> bool:
    f.seek(-1, os.SEEK_END)
    return f.read(1) == b"\n"


def read_lines(path: Path) -> list[dict]:
    """The objects in a file of JSON lines; lines that are not whole are left out, a missing file is an empty list."""
    entries = []
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    for line in text.split("\n"):  # not splitlines: a JSON text may hold other line ends, such as U+2028
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue
    return [e for e in entries if isinstance(e, dict)]


def record(event: str, stage: str, tag: str, **values) -> None:
    """One line in `<base>/ledger.jsonl`: what happened to which stage, and where: commit, host, versions, Slurm job."""
    if common.rank() == 0:
        append_line(common.base_dir() / "ledger.jsonl", {"event": event, "stage": stage, "tag": tag, **values, **where()})


def holder(stage: str, tag: str = "") -> str:
    """Who started a stage last, and how to stop that, for one that finds it running."""
    starts = [
        e for e in read_lines(common.base_dir() / "ledger.jsonl") if (e.get("event"), e.get("stage"), e.get("tag")) == ("start", stage, tag)
    ]
    last, status = starts[-1] if starts else {}, read_status(stage, tag) or {}
    if job := last.get("slurm_job_id"):
        return f"job {job}; wait for it, or stop it first: scancel {job}"
    return f"process {status.get('pid', 'unknown')} on {last.get('host', 'an unknown machine')}; wait for it or stop it first"


def where() -> dict:
    """This code's commit, this host, the versions of what decides results, the Slurm job, the number of processes."""
    return {
        "commit": git_commit(),
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "packages": {package: _version(package) for package in PACKAGES},
        "slurm_job_id": os.environ.get("SLURM_JOB_ID"),
        "slurm_job_end": _number(os.environ.get("SLURM_JOB_END_TIME")),
        "world": common.world_size(),
        "machine": machine.describe(),
    }


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def git_commit() -> str | None:
    """The commit this code is at (`-dirty` if changed since), None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        out = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return out.stdout.strip() or None
