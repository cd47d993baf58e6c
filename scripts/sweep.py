"""Reads the file of a sweep before it is submitted: every line must be a run that can begin. Computes nothing.

    python -m scripts.sweep --file=runs.txt

A line is a stage with options and a tag of its own, `base_train --tag=depth6 --depth=6`, or options of scripts.speedrun for a whole run,
`--profile=variants/wide.toml`; see slurm/sweep.slurm. Exit code 2 if a line has an unknown stage or option, a value that
cannot be, no tag, or the tag of another line.
"""

import importlib
import shlex
from dataclasses import dataclass
from pathlib import Path

from nanochat import common
from nanochat.common import UserError
from nanochat.config import SCRIPTS_DIR, nearest, option, parse
from nanochat.pipeline import plan
from nanochat.pipeline.explain import explain
from scripts import speedrun


@dataclass
class Config:
    file: str = option("", "text file with one run on each line; empty lines and those that begin with # do not count")


def main(argv: list[str] | None = None) -> int:
    try:
        faults = check(lines_of(Path(parse(Config, "sweep", argv).file)))
        for fault in faults:
            common.say(fault)
        return 2 if faults else 0
    except (UserError, OSError) as error:
        common.say(f"sweep: {explain(error)}")
        return 2


def lines_of(path: Path) -> list[str]:
    """The lines of a sweep, as slurm/job.sh counts them."""
    lines = [line.rstrip("\r").lstrip() for line in path.read_text(encoding="utf-8").split("\n")]
    return [line for line in lines if line and not line.startswith("#")]


def check(lines: list[str]) -> list[str]:
    """One sentence for each line that could not run, or would run into the folder of another."""
    faults, seen = [], {}
    for number, line in enumerate(lines, 1):
        try:
            label = look(line)
            if label and label in seen:
                raise UserError(f"{label} is run {seen[label]} already; give each its own --tag")
            seen[label] = number
        except UserError as error:
            faults.append(f"run {number} ({line}): {error}")
    return faults


def look(line: str) -> str:
    """stage.tag of a line with a stage, "" for a whole run, whose folder is named by its number; UserError if it cannot begin."""
    try:
        first, *rest = shlex.split(line)
    except ValueError as error:
        raise UserError(f"a quote is not closed ({error})") from None
    if first.startswith("-") or "=" in first:
        config = parse(speedrun.Config, "speedrun", [first, *rest])
        plan.choose(plan.make_plan(config.profile, config.data_dir, 1), config.first, config.only)
        return ""
    stage = getattr(importlib.import_module(f"scripts.{first}"), "STAGE", None) if first in names() else None
    if stage is None:
        raise UserError(f"there is no stage '{first}'{nearest(first, names())}; write a stage with options, or --profile=...")
    config = stage.configure(rest)
    if not config.tag:
        raise UserError("it needs a --tag=..., or it would overwrite the others")
    return f"{first}.{config.tag}"


def names() -> list[str]:
    """The scripts, of which some are stages."""
    return sorted(path.stem for path in SCRIPTS_DIR.glob("[a-z]*.py"))


if __name__ == "__main__":
    raise SystemExit(main())
