"""Kills training at random moments and proves that it goes on as if nothing had happened.

    python -m scripts.certify_resume                                     # all training stages, four kills each; some minutes on two cores
    python -m scripts.certify_resume --stages=base_train --kills=6 --seed=7
    python -m scripts.certify_resume --processes=2

A small pipeline runs in a folder of its own, each stage once in peace and once killed: asked to stop, or ended at once, also in the
middle of writing a checkpoint or of an evaluation. All figures ever logged, the last weights and the last training state must be the
same bits. Exit code 0 and a certificate if they are and every stage was killed, else 1. The last line on stdout is a JSON object.
"""

import json
import platform
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from nanochat import common
from nanochat.common import UserError
from nanochat.config import at_least, nearest, option, parse
from nanochat.pipeline import signals


@dataclass
class Config:
    stages: list = option(["base_train", "dag_train", "mid_train", "chat_sft", "chat_rl"], "stages to certify, each needs those before it")
    steps: int = option(30, "optimizer steps of each stage", "steps")
    kills: int = option(4, "times each stage is killed")
    processes: int = option(1, "processes of each stage")
    seed: int = option(0, "decides when it is killed")
    device: str = option("cpu", "where to compute", choices=("cpu", "cuda"))
    folder: str = option("", "empty or new folder to work in; default: a temporary one, removed after a success")


def main(argv: list[str] | None = None) -> int:
    """Runs the certification; its exit code: 0 equal, 1 not or never killed, 2 wrong usage or a stage that fails unkilled."""
    common.stay_home()
    try:
        config = parse(Config, "certify_resume", argv)
        check(config)
        folder = Path(config.folder or tempfile.mkdtemp(prefix="certify-")).absolute()
        with signals.as_ctrl_c():
            verdicts = _certified(config, folder)
    except UserError as error:
        common.say(f"certify_resume: {error}")
        return 2
    equal = all(not v.difference for v in verdicts)
    proven = equal and all(v.kills for v in verdicts)
    print("\n".join(certificate(config, verdicts, equal)))
    print(json.dumps({"equal": equal, "certified": proven, "stages": [asdict(v) for v in verdicts]}), flush=True)
    return 0 if proven else 1


def _certified(config: Config, folder: Path) -> list:
    """The verdicts. A temporary folder goes, unless something is to be seen there: a failure's log, or runs that differ."""
    try:
        verdicts = certify(config, folder)
    except KeyboardInterrupt:
        _remove(config, folder)
        raise
    if any(v.difference for v in verdicts):
        common.say(f"certify_resume: both runs of each stage, and their logs, are in {folder}")
    else:
        _remove(config, folder)
    return verdicts


def _remove(config: Config, folder: Path) -> None:
    if not config.folder:
        shutil.rmtree(folder, ignore_errors=True)


def check(config: Config) -> None:
    """UserError for settings that cannot work."""
    from nanochat.train.certify import STAGES

    if not config.stages:
        raise UserError(f"name at least one training stage with --stages; there are {', '.join(STAGES)}")
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
    head = "CERTIFICATE: killed runs are the runs that never stopped"
    if not equal:
        head = "NOT EQUAL: a killed run did not go on as it should"
    elif not all(v.kills for v in verdicts):
        head = "NO CERTIFICATE: a stage was done each time before it could be killed; give it more --steps"
    return [head, f"{where}, seed {config.seed}", *(v.line() for v in verdicts)]


if __name__ == "__main__":
    sys.exit(main())
