"""What must be there before a stage starts: the files it opens, a data folder, a base directory that it may write to."""

import os
from dataclasses import dataclass
from pathlib import Path

from nanochat import common
from nanochat.common import UserError


@dataclass(frozen=True)
class Input:
    """A file or folder a stage opens, and the command (or advice) that brings it into being.

    What is `optional` the stage does without; it counts as an input where it is there. What is `own` a person names in an
    option; any other file of the data folder has to be in the manifest.
    """

    path: Path
    made_by: str
    optional: bool = False
    own: bool = False


def missing(inputs: list[Input]) -> list[Input]:
    """Those of `inputs` that the stage needs and that are not there, or not whole."""
    return [item for item in inputs if not item.optional and not _present(Path(item.path))]


def absent(inputs: list[Input]) -> list[Input]:
    """Those of `inputs` that the stage will do without."""
    return [item for item in inputs if item.optional and not _present(Path(item.path))]


def require(inputs: list[Input]) -> None:
    """UserError for the first input that is missing, with the command that makes it."""
    for item in missing(inputs):
        raise UserError(f"{item.path} is missing; {item.made_by}")


def _present(path: Path) -> bool:
    if not path.is_dir():
        return path.exists()
    ours = any(path.is_relative_to(common.base_dir() / room) for room in ("tokenizer", "tokens", "checkpoints", "stages"))
    if not ours:
        return any(path.iterdir())
    if (path / "COMPLETE").exists() or any(path.glob("*/COMPLETE")):
        return True
    return (common.read_json(path / "status.json") or {}).get("state") == "done"


def check_data_dir(given: str) -> None:
    """UserError if the folder given with --data_dir is none."""
    if given and not common.data_dir(given).is_dir():
        raise UserError(f"--data_dir={given} is not a folder; give the folder that holds the data files")


def check_place() -> Path:
    """The nearest folder above the base directory that exists, or itself; UserError if that is a file."""
    base = common.base_dir()
    existing = next(p for p in (base, *base.parents) if p.exists())
    if not existing.is_dir():
        raise UserError(f"{existing} is not a folder; set NANOCHAT_BASE_DIR to a folder")
    return existing


def asked_to_stop() -> Path | None:
    """The stop file of the base directory if it is there: whatever runs is to stop, and nothing else to start."""
    path = common.base_dir() / "STOP"
    return path if path.exists() else None


def check_base(profile: str) -> None:
    """UserError if the base directory belongs to another profile, cannot be written, or asks for a stop."""
    base = common.base_dir()
    owner = common.profile_owner()
    if owner not in ("", profile):
        raise UserError(f"{base} holds a run of profile '{owner}'; set NANOCHAT_BASE_DIR to a new folder for profile '{profile}'")
    if stop := asked_to_stop():
        raise UserError(f"the stop file {stop} is there; remove it to go on")
    existing = check_place()
    if not os.access(existing, os.W_OK):
        raise UserError(f"{existing} cannot be written; set NANOCHAT_BASE_DIR to a folder that can")
