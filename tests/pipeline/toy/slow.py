"""A stage for tests: counts slowly, saves when asked to stop, goes on from there; on any number of processes."""

import os
import time
from dataclasses import dataclass

from nanochat import common
from nanochat.common import Interrupted, UserError
from nanochat.config import StageConfig, option
from nanochat.pipeline.stage import Stage, execute


@dataclass
class Config(StageConfig):
    steps: int = option(5, "steps")
    pause: float = option(0.05, "time per step", "s")
    deaf: bool = option(False, "never look for a request to stop")
    break_rank: int = option(-1, "the process that breaks at step 2")


def work(config, run):
    place = common.base_dir() / "toy" / "slow.txt"
    start = int(place.read_text()) if place.exists() and config.resume == "auto" else 0
    for step in range(start, config.steps):
        if not config.deaf and run.stop_requested():
            if common.rank() == 0:
                common.write_text(place, str(step))
            raise Interrupted(f"saved at step {step}")
        if step == 2 and config.break_rank == common.rank():
            raise UserError(f"process {common.rank()} cannot go on")
        time.sleep(config.pause)
        total = common.all_reduce_sum([1.0])[0]
        run.log(step, processes=total, process=os.getpid())
    run.result(started_at=start, processes=common.world_size())
    return f"steps {start} to {config.steps}"


STAGE = Stage("slow", Config, lambda config: [], work)

if __name__ == "__main__":
    raise SystemExit(execute(STAGE))
