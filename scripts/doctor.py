"""What to run when nothing works: looks at this machine and says what is well, what is not, and what to do about it.

    python -m scripts.doctor

Python and packages, torch and its CUDA, the driver, each GPU with a small product, NCCL, memory, folders, the disk's speed, settings
of the environment (never the values of secrets), Slurm. Exit code 0: all is well; 1: warnings only; 2: something is broken. What a
profile needs beyond that (its files above all) is looked at by scripts.preflight.
"""

import time
from dataclasses import dataclass

from nanochat import common
from nanochat.common import UserError
from nanochat.config import parse
from nanochat.pipeline import doctor
from nanochat.pipeline.explain import explain
from nanochat.pipeline.verdicts import BAD, Verdict, count, exit_code


@dataclass
class Config:
    pass


def main(argv: list[str] | None = None) -> int:
    began, found = time.time(), []
    try:
        parse(Config, "doctor", argv)
        for verdict in doctor.examine():
            found.append(verdict)
            print(verdict, flush=True)
    except (UserError, OSError) as error:
        found.append(Verdict(BAD, explain(error)))
        print(found[-1], flush=True)
    print(f"doctor: {count(found)}, {common.duration(time.time() - began)}", flush=True)
    return exit_code(found)


if __name__ == "__main__":
    raise SystemExit(main())
