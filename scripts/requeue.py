"""May this Slurm job start again? slurm/job.sh asks when the time limit came before the end; people need not.

python -m scripts.requeue --job=4711        # one sentence; exit code 0: start it again, 1: do not,
                                           # 75: somebody wanted it to stop
python -m scripts.requeue --warning         # seconds before its end at which a job should be warned, from measured steps and saves
"""

import os
from dataclasses import dataclass

from nanochat import common
from nanochat.common import UserError
from nanochat.config import option, parse
from nanochat.pipeline import requeue
from nanochat.pipeline.explain import explain
from nanochat.pipeline.stage import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE


@dataclass
class Config:
    job: str = option("", "the job that ended before its time: the id under which it was first submitted")
    warning: bool = option(False, "print only the seconds of warning that a job needs")


def main(argv: list[str] | None = None) -> int:
    try:
        config = parse(Config, "requeue", argv)
        if config.warning:
            print(requeue.warning_seconds())
            return EXIT_DONE
        if not config.job or "/" in config.job:
            raise UserError("name the job: python -m scripts.requeue --job=ID")
        decision = requeue.decide(config.job, max_restarts())
        print(decision.reason)
        return EXIT_DONE if decision.again else EXIT_FAILED if decision.failed else EXIT_INTERRUPTED
    except (UserError, OSError) as error:
        common.say(f"requeue: {explain(error)}")
        return EXIT_USAGE


def max_restarts() -> int:
    """NANOCHAT_MAX_RESTARTS, or its default."""
    text = os.environ.get("NANOCHAT_MAX_RESTARTS", "")
    if text and not text.isdigit():
        raise UserError(f"NANOCHAT_MAX_RESTARTS must be a whole number, not {text!r}")
    return int(text) if text else requeue.MAX_RESTARTS


if __name__ == "__main__":
    raise SystemExit(main())
