"""What Slurm says about this job: how long it may still run. Works without Slurm, and with versions that set no end time."""

import os
import re
import subprocess
import time
from datetime import datetime

from nanochat.common import UserError

PATIENCE = 10.0  # seconds to wait for a controller that does not answer
FORMS = "minutes, HH:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS, as for sbatch --time"


def parse_time(text: str) -> float:
    """Seconds of a time limit in one of Slurm's forms; UserError naming them for anything else."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text.strip())
    if not match:
        raise UserError(f"'{text}' is no time limit; write {FORMS}")
    days, *parts = match.groups()
    numbers = [int(part) for part in parts if part is not None]
    if days is not None:  # D-HH[:MM[:SS]]
        hours, minutes, seconds = numbers + [0] * (3 - len(numbers))
        return 86400 * int(days) + 3600 * hours + 60 * minutes + seconds
    padded = {1: [0, *numbers, 0], 2: [0, *numbers], 3: numbers}[len(numbers)]  # MM, MM:SS, HH:MM:SS
    return float(3600 * padded[0] + 60 * padded[1] + padded[2])


def job_end() -> float | None:
    """When this job will be stopped (Unix time), None outside a job or where nobody knows."""
    job = os.environ.get("SLURM_JOB_ID")
    if not job:
        return None
    given = os.environ.get("SLURM_JOB_END_TIME", "")  # since Slurm 23.02
    return float(given) if given.isdigit() else end_of(job)


def end_of(job: str) -> float | None:
    """When a job will be stopped, as the controller says; None if it is unknown, has no limit, or nobody answers."""
    try:
        told = subprocess.run(["scontrol", "-o", "show", "job", job], capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\bEndTime=(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)", told.stdout)
    return datetime.fromisoformat(found.group(1)).timestamp() if found else None


def seconds_left() -> float | None:
    """How long this job may still run, None outside a job."""
    end = job_end()
    return None if end is None else end - time.time()
