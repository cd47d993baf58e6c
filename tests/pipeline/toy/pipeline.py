"""scripts.speedrun over the toy stages:  python -m tests.pipeline.toy.pipeline --profile=FILE.toml"""

import functools

from nanochat.pipeline import plan
from scripts import speedrun

plan.PARALLEL = {"slow"}
plan.make_plan = functools.partial(plan.make_plan, package="tests.pipeline.toy")

if __name__ == "__main__":
    raise SystemExit(speedrun.main())
