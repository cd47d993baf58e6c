"""Kills training at random moments and proves that it goes on as if nothing had happened.

    python -m scripts.certify_resume                                     # all training stages, four kills each; some minutes on two cores
    python -m scripts.certify_resume --stages=base_train --kills=6 --seed=7
    python -m scripts.certify_resume --processes=2

A small pipeline runs in a folder of its own, each stage once in peace and once killed: asked to stop, or ended at once, also in the
middle of writing a checkpoint or of an evaluation. All figures ever logged, the last weights and the last training state must be the
same bits. Exit code 0 and a certificate if they are, else 1. The last line on stdout is a JSON object.
"""

import json
import platform
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from nanochat import common
from nanochat.common import UserError
from nanochat.config import at_least, nearest, option, parse


@dataclass
class Config:
    stages: list = option(["base_train", "dag_train", "mid_train", "chat_sft", "chat_rl"], "stages to certify, each needs those before it")
    steps: int = option(30, "optimizer steps of each stage", "steps")
    kills: int = option(4, "times each stage is killed")
    processes: int = option(1, "processes of each stage")
    seed: int = option(0, "decides when it is killed")
    device: str = option("cpu", "where to compute", choices=("cpu", "cuda"))
    folder: str = option("", "empty or new folder to work in; default: a temporary one, removed afterwards")


def main(argv: list[str] | None = None) -> int:
    """Runs the certification; its exit code: 0 equal, 1 not, 2 wrong usage."""
    common.stay_home()
    try:
        config = parse(Config, "certify_resume", argv)
        check(config)
        with tempfile.TemporaryDirectory(prefix="certify-") as temporary:
            verdicts = certify(config, Path(config.folder).absolute() if config.folder else Path(temporary) / "work")
    except UserError as error:
        common.say(f"certify_resume: {error}")
        return 2
    equal = all(not v.difference for v in verdicts)
    print("\n".join(certificate(config, verdicts, equal)))
    print(json.dumps({"equal": equal, "stages": [asdict(v) for v in verdicts]}), flush=True)
    return 0 if equal else 1


def check(config: Config) -> None:
    """UserError for settings that cannot work."""
    from nanochat.train.certify import STAGES

    for stage in config.stages:
        if stage not in STAGES:
            raise UserError(f"there is no training stage '{stage}'{nearest(stage, STAGES)}; there are {', '.join(STAGES)}")
    at_least(config, 1, "steps", "kills", "processes")


def certify(config: Config, folder: Path) -> list:
    """A Verdict for each stage; those that are only needed by later ones just run."""
    from nanochat.train.certify import STAGES, Certifier

    certifier = Certifier(
        folder, steps=config.steps, kills=config.kills, seed=config.seed, processes=config.processes, device=config.device
    )
    certifier.prepare()
    verdicts, last = [], max(STAGES.index(stage) for stage in config.stages)
    for stage in STAGES[: last + 1]:
        if stage in config.stages:
            common.say(f"certify_resume: {stage}")
            verdicts.append(certifier.certify(stage))
            common.say(f"certify_resume: {verdicts[-1].line()}")
        else:
            certifier.finish(stage, certifier.whole)
    return verdicts


def certificate(config: Config, verdicts: list, equal: bool) -> list[str]:
    """For people."""
    import torch

    where = f"{platform.machine()}, torch {torch.__version__}, {config.processes} process{'es' * (config.processes > 1)} on {config.device}"
    head = "CERTIFICATE: killed runs are the runs that never stopped" if equal else "NOT EQUAL: a killed run did not go on as it should"
    return [head, f"{where}, seed {config.seed}", *(v.line() for v in verdicts)]


if __name__ == "__main__":
    sys.exit(main())
