"""How far a run is, while it runs and after: a line per stage with step, loss, speed, time left and the age of the last checkpoint.

    python -m scripts.status                       # the base directory of this shell
    python -m scripts.status /scratch/me/run       # another base directory
    python -m scripts.status --profile=d12         # also names the stages of a profile that has not begun

Reads what the stages have written, so it can be asked on the login node. In a Slurm job it says whether the run will be done before
the job's limit; for that the stages that have not begun are forecast (--no-forecast leaves it out, and is faster).
"""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from nanochat import common
from nanochat.common import UserError
from nanochat.config import choose_profile, load_profile, option, parse
from nanochat.pipeline.explain import explain
from nanochat.report.collect import DONE, NOT_RUN, RUNNING, Results, collect
from nanochat.report.progress import Progress, overview, progress_of, verdict


@dataclass
class Config:
    profile: str = option("", "profile in config/, or a path to a TOML file; default: the base directory's")
    base: str = option("", "base directory; default: NANOCHAT_BASE_DIR, then ~/.cache/nanochat")
    forecast: bool = option(True, "forecast the stages that have not begun, to compare with the job's limit")


def main(argv: list[str] | None = None) -> int:
    try:
        config = parse(Config, "status", spell_out(sys.argv[1:] if argv is None else argv))
        if config.base:
            if not Path(config.base).expanduser().is_dir():
                raise UserError(f"{config.base} is not a folder; give the base directory of a run")
            os.environ["NANOCHAT_BASE_DIR"] = config.base
            config.profile = common.profile_owner() or config.profile
        results = collect(config.profile, planned(config.profile), report=True)
        for line in show(config, results):
            print(line)
        return 0
    except (UserError, OSError) as error:
        common.say(f"status: {explain(error)}")
        return 2 if isinstance(error, UserError) else 1


def spell_out(words: list[str]) -> list[str]:
    """A bare folder is the base directory."""
    return [word if word.startswith("-") or "=" in word or _is_value(words, i) else f"--base={word}" for i, word in enumerate(words)]


def _is_value(words: list[str], i: int) -> bool:
    return i > 0 and words[i - 1] in ("--profile", "--base")


def planned(profile: str) -> list[str]:
    """The stages of a profile; none if its file is gone since."""
    try:
        return load_profile(choose_profile(profile)).get("stages", [])
    except UserError:
        return []


def show(config: Config, results: Results) -> list[str]:
    """The overview, and while a stage runs the verdict on the job's limit."""
    now = time.time()
    found = [progress_of(stage, now) for stage in results.stages]
    lines = overview(results, found) + nothing_yet(found)
    if not any(progress.state == RUNNING for progress in found):
        return lines
    left = [progress.stage.label for progress in found if progress.state not in (DONE, RUNNING)]
    return [*lines, verdict(results, found, later(config, left), now)]


def nothing_yet(found: list[Progress]) -> list[str]:
    """Where nothing has run and nobody named a profile: how to name it, since a cluster's jobs take another than this machine."""
    if os.environ.get("NANOCHAT_PROFILE") or common.profile_owner() or any(progress.state != NOT_RUN for progress in found):
        return []
    return ["nothing has begun here; name another profile with --profile, or NANOCHAT_PROFILE in .env.local and . slurm/env.sh"]


def later(config: Config, labels: list[str]) -> tuple[float, float, float]:
    """Seconds that these stages will take: at best, likely, at worst; nothing where it cannot be said."""
    if not config.forecast or not labels:
        return 0.0, 0.0, 0.0
    from nanochat.pipeline import forecast, plan

    try:
        steps = plan.make_plan(config.profile, processes=1)
        gpus = load_profile(config.profile).get("gpus", 0)
        stages = forecast.forecast(config.profile, steps, forecast.machine_for(gpus)).stages
    except UserError:
        return 0.0, 0.0, 0.0
    seconds = [stage.seconds for stage in stages if stage.work.label in labels]
    return sum(s.low for s in seconds), sum(s.mid for s in seconds), sum(s.high for s in seconds)


if __name__ == "__main__":
    raise SystemExit(main())
