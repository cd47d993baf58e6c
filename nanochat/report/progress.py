"""How far a run is, in plain text, while it runs and after: stages, steps, curve of the loss, speed, time left, checkpoints, the job's end.

Read from what the stages write anyway, on any machine that sees the base directory.
"""

import math
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from nanochat import common
from nanochat.pipeline import slurm
from nanochat.pipeline.ledger import read_lines
from nanochat.report.collect import DONE, INTERRUPTED, NOT_RUN, RUNNING, Results, StageResult
from nanochat.report.text import is_number, number, shorten

BARS = "▁▂▃▄▅▆▇█"
COLUMNS = 24  # of a sparkline
RECENT = 40  # lines of metrics from which the present speed is taken
QUIET = 300.0  # seconds without a line after which a stage without a lock counts as dead: some network file systems have no locks


@dataclass(frozen=True)
class Progress:
    """One stage now: its state, the step and of how many (0: not known), seconds left (None: not known), its newest checkpoint's age."""

    stage: StageResult
    state: str
    step: int = 0
    steps: int = 0
    left: float | None = None
    checkpoint: float | None = None


def progress_of(stage: StageResult, now: float) -> Progress:
    """Where a stage stands at the time `now`."""
    rows = [row for row in read_lines(stage.folder / "metrics.jsonl") if is_number(row.get("step"))]
    state = stage.state
    recent = bool(rows) and now - rows[-1].get("time", 0) < QUIET
    if state == INTERRUPTED and stage.status.get("state") == RUNNING and recent and not _is_gone(stage):
        state = RUNNING
    step = int(rows[-1]["step"]) if rows else 0
    shared = [row for row in rows if is_number(row.get("progress")) and is_number(row.get("time"))][-RECENT:]
    share = shared[-1]["progress"] if shared else 0.0
    steps = int(stage.config.get("steps") or 0) or (round(shared[-1]["step"] / share) if share else 0)
    left = _left(shared, now) if state == RUNNING else None
    return Progress(stage, state, step, steps, left, _checkpoint_age(stage, now))


def _is_gone(stage: StageResult) -> bool:
    """Whether the stage's process was one of this machine and is no longer there."""
    start, pid = (stage.attempts[-1].start or {}) if stage.attempts else {}, stage.status.get("pid")
    if start.get("host") != socket.gethostname() or not isinstance(pid, int) or pid < 1:
        return False
    try:
        os.kill(pid, 0)  # no signal, only whether there is somebody to send one to
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # somebody else's, or no process could have that number
        pass
    return False


def _left(shared: list[dict], now: float) -> float | None:
    """Seconds until the end at the speed of the recent lines."""
    if len(shared) < 2 or shared[-1]["progress"] <= shared[0]["progress"]:
        return None
    speed = (shared[-1]["progress"] - shared[0]["progress"]) / max(shared[-1]["time"] - shared[0]["time"], 1e-9)
    return max(0.0, (1 - shared[-1]["progress"]) / speed - (now - shared[-1]["time"]))


def _checkpoint_age(stage: StageResult, now: float) -> float | None:
    folder = common.base_dir() / "checkpoints" / stage.name / (stage.tag or "default")
    times = [marker.stat().st_mtime for marker in folder.glob("step_*/COMPLETE")]
    return now - max(times) if times else None


# ---------------------------------------------------------------------------------------------------------------------
# In words


def overview(results: Results, found: list[Progress]) -> list[str]:
    """A heading, a line per stage, and the stop files that lie there."""
    heading = f"profile {results.profile} · {results.base} · {sum(p.state == DONE for p in found)} of {len(found)} stages done"
    return [heading, *(_line(progress) for progress in found), *_stops(results.base)]


def _line(progress: Progress) -> str:
    stage = progress.stage
    parts = []
    if progress.step and progress.state != NOT_RUN:
        of = f"/{progress.steps}" if progress.steps and progress.state != DONE else ""
        parts.append(f"step {progress.step}{of}")
    curve = stage.curves.get("loss", []) if progress.state != NOT_RUN else []
    if curve:
        parts.append(f"loss {sparkline([value for _, value in curve])} {number(curve[-1][1])}")
    speeds = [value for _, value in stage.curves.get("tokens_per_s", []) if is_number(value)] if curve else []
    if speeds:
        parts.append(f"{number(speeds[-1])} tokens/s")
    parts += _times(progress)
    reason = stage.reason if progress.state not in (RUNNING, DONE) else ""
    parts += [shorten(reason or (str(stage.status.get("headline") or "") if not curve else ""), 100)]
    return f"{stage.label:<16} {progress.state:<12} {'  '.join(part for part in parts if part)}".rstrip()


def _times(progress: Progress) -> list[str]:
    said = []
    if progress.state == RUNNING:
        said.append(f"{common.duration(progress.left)} left" if progress.left is not None else "time left not known yet")
    elif progress.stage.seconds is not None:
        said.append(f"took {progress.stage.took}")
    if progress.checkpoint is not None and progress.state != DONE:
        said.append(f"checkpoint {common.duration(max(0.0, progress.checkpoint))} old")
    elif progress.state == RUNNING and progress.stage.curves.get("loss"):
        said.append("no checkpoint yet")
    return said


def sparkline(values: list[float], columns: int = COLUMNS) -> str:
    """A curve in one line of text; what is not finite is a blank. A loss falls most at first, so heights are those of logarithms
    where all values are above 0."""
    size = max(1, math.ceil(len(values) / columns))
    buckets = [[v for v in values[i : i + size] if is_number(v)] for i in range(0, len(values), size)]
    means = [sum(bucket) / len(bucket) if bucket else math.nan for bucket in buckets]
    finite = [mean for mean in means if is_number(mean)]
    if not finite:
        return " " * len(means)
    scale = math.log if min(finite) > 0 else float
    low, high = scale(min(finite)), scale(max(finite))
    step = (high - low) / (len(BARS) - 1) or 1.0
    return "".join(BARS[round((scale(mean) - low) / step)] if is_number(mean) else " " for mean in means)


def _stops(base: Path) -> list[str]:
    files = [path for path in (base / "STOP", *sorted(base.glob("stages/*/STOP"))) if path.exists()]
    return [f"a stop is requested: {path} is there; remove it to go on" for path in files]


# ---------------------------------------------------------------------------------------------------------------------
# The job's end


def job_of(results: Results) -> tuple[str, float | None]:
    """(id, end as Unix time) of the Slurm job in which the last attempt started, ("", None) outside Slurm; None: nobody knows."""
    starts = sorted(results.starts, key=lambda line: line.get("time") or 0)
    job = str(starts[-1].get("slurm_job_id") or "") if starts else ""
    if not job:
        return "", None
    told = starts[-1].get("slurm_job_end")
    return job, float(told) if is_number(told) else slurm.end_of(job)


def verdict(results: Results, found: list[Progress], later: tuple[float, float, float], now: float) -> str:
    """Whether the job will be done before its limit, "" if no stage runs. `later`: seconds of the stages that have not begun: at best,
    likely, at worst."""
    running = [progress for progress in found if progress.state == RUNNING]
    if not running:
        return ""
    current = sum(progress.left or 0.0 for progress in running)
    low, mid, high = (current + seconds for seconds in later)
    said = f"about {common.duration(mid)} of work left ({common.duration(low)} - {common.duration(high)})"
    job, end = job_of(results)
    if not job or end is None:
        return said + (f"; nobody knows when job {job} ends" if job else "")
    room = end - now
    if room <= 0:
        return f"{said}; job {job} has reached its limit"
    ends = f"job {job} ends in {common.duration(room)}"
    if high <= room:
        return f"{said}; {ends}: it will finish before"
    return f"{said}; {ends}: it {'may not' if low <= room else 'will not'} finish before, and goes on from its checkpoint in the next job"
