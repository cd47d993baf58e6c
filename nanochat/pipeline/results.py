"""Results that stand: what decides a stage's result, whether a finished one is what would be made now, and its return after attempts
that came to nothing."""

import dataclasses
import json
import os
from pathlib import Path

from nanochat import common
from nanochat.pipeline.digests import digest
from nanochat.pipeline.inputs import Input, absent
from nanochat.pipeline.ledger import located, portable, read_status, stage_folder

# Options that change where and whether a stage runs and what it keeps meanwhile, but not what it produces.
NOT_PART_OF_THE_RESULT = {
    "profile",
    "data_dir",
    "device",
    "resume",
    "force",
    "wandb",
    "run_name",
    "max_epochs",
    "compile",
    "eval_every",
    "log_every",
    "save_every",
    "save_minutes",
    "keep",
    "keep_best",
    "workers",
    "spike",
    "on_spike",
    "hang_minutes",
}


def deciding(config) -> dict:
    """The settings that decide a result, as JSON holds them."""
    settings = {k: v for k, v in dataclasses.asdict(config).items() if k not in NOT_PART_OF_THE_RESULT}
    if settings.get("total_batch"):  # a step is what it is, in however many passes
        settings.pop("device_batch", None)
    return json.loads(json.dumps(settings, default=str))


def fingerprint(config, inputs: list[Input]) -> dict:
    """What decides a result: the settings that count, and the digest of every input."""
    data, without = common.data_dir(config.data_dir), absent(inputs)
    digests = {portable(i.path, data): digest(i.path) for i in inputs if i not in without}
    return {"result_config": deciding(config), "inputs": digests}


def finished(status: dict | None) -> dict | None:
    """The record of the last finished result: the status, or what it was before attempts that did not finish; None without any."""
    if not status:
        return None
    return status if status.get("state") == "done" else status.get("finished")


def outdated(stage, config, inputs: list[Input]) -> str:
    """Why a stage (stage.py) with this configuration would run, "" if it would be skipped."""
    found = finished(read_status(stage.name, config.tag))
    if not found:
        return "it was never done"
    return "--force" if config.force else difference(found, fingerprint(config, inputs))


def difference(found: dict, now: dict) -> str:
    """The first setting, input or output by which a finished result differs from what would be made now, "" if none does."""
    for key, kind in (("result_config", "--"), ("inputs", "input ")):
        old, new = found.get(key, {}), now[key]
        for name in [*new, *(name for name in old if name not in new)]:
            if name not in old or name not in new:
                return f"{kind}{name} is {'new' if name in new else 'gone'}"
            if old[name] != new[name]:
                values = f"{old[name]!r} and is {new[name]!r}"
                return f"{kind}{name} was {values}" if key == "result_config" and len(values) < 80 else f"{kind}{name} changed"
    for name, value in found.get("outputs", {}).items():
        if not located(name).exists():
            return f"output {name} is gone"
        if digest(located(name)) != value:
            return f"output {name} changed"
    return ""


def curves(folder: Path, status: dict) -> Path:
    """Where the curves of a run are set aside while a run with other settings stands in its place."""
    return folder / f"metrics.{status.get('identity') or 'earlier'}.jsonl"


def exchange_curves(folder: Path, before: dict, now: dict) -> None:
    """Sets the curves of the run with status `before` aside, and brings those of the run `now` back, if they are others and there."""
    current = folder / "metrics.jsonl"
    if curves(folder, before) != curves(folder, now):
        for old, new in ((current, curves(folder, before)), (curves(folder, now), current)):
            if old.exists():
                os.replace(old, new)


def forget_curves(folder: Path) -> None:
    """Removes all that were set aside: a finished result stands alone."""
    for path in folder.glob("metrics.*.jsonl"):
        path.unlink()


def reinstate(stage: str, tag: str) -> None:
    """Makes the finished result the stage's status again, after attempts that did not finish."""
    folder, status = stage_folder(stage, tag), read_status(stage, tag) or {}
    if status.get("state") != "done" and finished(status):
        exchange_curves(folder, status, finished(status))
        forget_curves(folder)
        common.write_json(folder / "status.json", finished(status))
