"""Jobs that heal themselves: whether a job that was stopped before its end may start again, and how early it must be warned.

One line for each end of a job stands in `<base>/slurm/<job>.jsonl`: when, which restart, and how far everything had got. A
job starts again unless it did so often enough, a file STOP lies in the base directory, or two restarts in a row made nothing
new: then something is wrong that a third would not mend, and the allocation is worth more than the hope.
"""

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

from nanochat import common
from nanochat.pipeline.ledger import append_line, read_lines

MAX_RESTARTS = 20  # unless NANOCHAT_MAX_RESTARTS says otherwise
USELESS_RESTARTS = 2  # so many in a row without anything new are the last
# Seconds of warning before the time limit, where nothing is measured yet; at least; at most.
WARNING, SHORTEST, LONGEST = 600, 120, 3600


@dataclass(frozen=True)
class Decision:
    """`again`: whether the job is to start again; else whether it `failed` or somebody wanted it to stop. `reason`: one sentence."""

    again: bool
    failed: bool
    reason: str


def decide(job: str, limit: int = MAX_RESTARTS) -> Decision:
    """Writes down how far `job` has got and says whether it may start again; `limit`: how often it may do so."""
    path = common.base_dir() / "slurm" / f"{job}.jsonl"
    ends = read_lines(path)
    reached = progress()
    useless = 0
    for end in reversed(ends):
        if end.get("reached") != reached:
            break
        useless += 1
    path.parent.mkdir(parents=True, exist_ok=True)
    append_line(
        path, {"time": round(time.time(), 3), "restart": len(ends), "slurm_job_id": os.environ.get("SLURM_JOB_ID"), "reached": reached}
    )
    return _judge(len(ends), useless, limit, _newest(reached))


def _judge(restarts: int, useless: int, limit: int, where: str) -> Decision:
    stop = common.base_dir() / "STOP"
    if stop.exists():
        return Decision(False, False, f"not started again: {stop} is there; remove it and submit the job again to go on ({where})")
    if useless >= USELESS_RESTARTS:
        return Decision(
            False,
            True,
            f"not started again: {useless} restarts in a row made nothing new ({where}); give the job more time (SITE_TIME) or look above "
            "for what keeps it",
        )
    if restarts >= limit:
        return Decision(
            False, True, f"not started again: it was {restarts} times, and NANOCHAT_MAX_RESTARTS is {limit}; submit it again ({where})"
        )
    return Decision(True, False, f"starts again, number {restarts + 1} of at most {limit} ({where})")


def progress() -> list[str]:
    """What is there so far: finished stages, checkpoints and other whole artifacts, as sorted paths in the base directory."""
    base = common.base_dir()
    done = [f"stages/{p.parent.name}" for p in base.glob("stages/*/status.json") if (common.read_json(p) or {}).get("state") == "done"]
    patterns = ("tokenizer/COMPLETE", "tokens/**/COMPLETE", "checkpoints/*/*/*/COMPLETE")
    whole = [p.parent.relative_to(base).as_posix() for pattern in patterns for p in base.glob(pattern) if not p.parent.name.startswith(".")]
    return sorted([*done, *whole])


def _newest(reached: list[str]) -> str:
    """The newest checkpoint in a few words."""
    base = common.base_dir()
    checkpoints = [base / name for name in reached if name.startswith("checkpoints/")]
    newest = max(checkpoints, key=lambda p: (p / "COMPLETE").stat().st_mtime, default=None)
    done = sum(name.startswith("stages/") for name in reached)
    return f"{done} stages done, newest checkpoint {newest.relative_to(base / 'checkpoints') if newest else 'none'}"


# ---------------------------------------------------------------------------------------------------------------------
# The warning before the time limit


def warning_seconds() -> int:
    """How long before its end a job must be warned: twice the longest step, evaluation and save that was measured here, and a minute.

    Before the pretraining has been measured, whose steps and checkpoints are the largest, at least ten minutes.
    """
    stages = common.base_dir() / "stages"
    longest = max((_longest(folder) for folder in stages.glob("*") if folder.is_dir()), default=0.0)
    seconds = max(SHORTEST, 60 + 2 * longest)
    if not _longest(stages / "base_train"):
        seconds = max(seconds, WARNING)
    return min(LONGEST, math.ceil(seconds / 10) * 10)


def _longest(folder: Path) -> float:
    """The seconds that a stage went without looking for a request to stop, and then to save: step + evaluation + checkpoint."""
    lines = read_lines(folder / "metrics.jsonl")
    step = max((line["dt"] for line in lines if isinstance(line.get("dt"), (int, float))), default=0.0)
    metrics = (common.read_json(folder / "status.json") or {}).get("metrics") or {}
    return step + sum(metrics.get(name) or 0.0 for name in ("eval_seconds", "save_seconds")) if step else 0.0
