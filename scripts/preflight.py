"""Finds what would stop a run before it starts: on the login node, and as the first step of a job.

    python -m scripts.preflight --profile=d20_a100x8
    python -m scripts.preflight --profile=d20_a100x8 --time_limit=12:00:00
    python -m scripts.preflight --profile=d20_a100x8 --only=dag_eval.sft     # one stage

Opens every file of every stage offline, imports every package, checks the tokenizer against the checkpoints, the GPUs, the base
directory, and compares memory, disk and time limit with the forecast. One line for each finding, with its remedy. Exit code 0: all
is well; 1: warnings only; 2: something would stop the run.
"""

import os
import time
from dataclasses import dataclass

from nanochat import common
from nanochat.common import UserError
from nanochat.config import option, parse
from nanochat.pipeline import plan, preflight
from nanochat.pipeline.explain import explain
from nanochat.pipeline.inputs import check_data_dir
from nanochat.pipeline.slurm import parse_time
from nanochat.pipeline.verdicts import BAD, Verdict, count, exit_code


@dataclass
class Config:
    profile: str = option("", "profile in config/, or a path to a TOML file; default: the base directory's or this machine's")
    data_dir: str = option("", "folder with the original data files; default: NANOCHAT_DATA_DIR, then <base directory>/data")
    first: str = option("", "stage to begin with", flag="from")
    only: str = option("", "the one stage to look at")
    time_limit: str = option("", "time limit of the job to come; default: that of the job this runs in", unit="HH:MM:SS")


def main(argv: list[str] | None = None) -> int:
    began, found = time.time(), []
    try:
        common.stay_home()
        config = parse(Config, "preflight", argv)
        check_data_dir(config.data_dir)
        seconds = limit(config.time_limit) if config.time_limit else None
        steps = plan.choose(plan.make_plan(config.profile, config.data_dir), config.first, config.only)
        for verdict in preflight.examine(config.profile, steps, seconds):
            found.append(verdict)
            print(verdict, flush=True)
    except (UserError, ImportError, OSError) as error:
        found.append(Verdict(BAD, explain(error) if not isinstance(error, ImportError) else f"{error}; run: bash setup_environment.sh"))
        print(found[-1], flush=True)
    print(f"preflight: {count(found)}, {common.duration(time.time() - began)}", flush=True)
    return exit_code(found)


def limit(text: str) -> float:
    """Seconds of a time limit; UserError naming where it comes from, if it is none."""
    try:
        return parse_time(text)
    except UserError as error:
        where = "SITE_TIME" if text == os.environ.get("SITE_TIME") else "--time_limit"
        raise UserError(f"{where}: {error}") from None


if __name__ == "__main__":
    raise SystemExit(main())
