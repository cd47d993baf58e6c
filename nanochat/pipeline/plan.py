"""What a profile's list of stages means here and now: each stage's command, and whether it is done, to do, or lacks an input."""

import importlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from nanochat import common
from nanochat.common import UserError
from nanochat.config import load_profile, nearest
from nanochat.pipeline import results
from nanochat.pipeline.inputs import absent, missing
from nanochat.pipeline.ledger import holder, portable, read_status, stage_folder, stage_label
from nanochat.pipeline.nodes import count_nodes, on_all_nodes
from nanochat.pipeline.stage import Input, Stage, is_running

# Stages that compute on several processes together; the others use one, on all its cores.
PARALLEL = {"base_train", "base_eval", "dag_train", "dag_eval", "mid_train", "chat_sft", "chat_rl", "chat_eval"}


@dataclass(frozen=True)
class Step:
    """One entry of a profile's list: a stage, its tag, its arguments, how many processes it gets on each node, and how many nodes."""

    stage: Stage
    tag: str
    module: str
    argv: tuple[str, ...]
    processes: int
    nodes: int = 1

    @property
    def label(self) -> str:
        """`stage` or `stage.tag`, as in the profile."""
        return stage_label(self.stage.name, self.tag)

    @property
    def folder(self) -> Path:
        """Where the stage keeps its status."""
        return stage_folder(self.stage.name, self.tag)

    @property
    def distributed(self) -> bool:
        """True if several processes run it, under torchrun."""
        return self.processes * self.nodes > 1

    @property
    def command(self) -> list[str]:
        """The command that runs it: one process, torchrun on this machine, or torchrun on every node of the job."""
        if not self.distributed:
            return [sys.executable, "-m", self.module, *self.argv]
        if self.nodes > 1:
            return [*on_all_nodes(torchrun(), self.nodes, self.processes), "-m", self.module, *self.argv]
        return [*torchrun(), "--standalone", f"--nproc_per_node={self.processes}", "-m", self.module, *self.argv]


@dataclass(frozen=True)
class Finding:
    """`state`: done, to do, interrupted, failed, running, missing (an input that no stage of the plan makes). `note`: why."""

    state: str
    note: str = ""


def torchrun() -> list[str]:
    """torchrun of this Python."""
    beside = Path(sys.executable).parent / "torchrun"
    return [str(beside)] if beside.exists() else [sys.executable, "-m", "torch.distributed.run"]


def count_processes() -> int:
    """`NPROC` if set, else one per GPU that this process may use, else one."""
    text = os.environ.get("NPROC", "")
    if text:
        if not text.isdigit() or int(text) == 0:
            raise UserError(f"NPROC must be a whole number above 0, not {text!r}")
        return int(text)
    return max(1, count_gpus())


def count_gpus() -> int:
    """GPUs that this process may use; imports torch only if there may be one."""
    if not list(Path("/dev").glob("nvidia[0-9]*")):
        return 0
    import torch

    return torch.cuda.device_count()


def make_plan(profile: str, data_dir: str = "", processes: int = 0, package: str = "scripts") -> list[Step]:
    """The steps of a profile in order; UserError for an entry that is no stage or a common key that no stage has.

    `processes` is how many each stage in PARALLEL gets on a node; 0: as many as this machine suggests. The nodes are those of the
    Slurm job.
    """
    tables = load_profile(profile)
    if not tables.get("stages"):
        raise UserError(f"profile '{profile}' has no list of stages; add stages = [...] to it")
    processes, steps = processes or count_processes(), []
    for label in tables["stages"]:
        name, _, tag = str(label).partition(".")
        argv = (
            [f"--profile={profile}"] + ([f"--tag={tag}"] if tag else []) + ([f"--data_dir={Path(data_dir).absolute()}"] if data_dir else [])
        )
        share = (processes, count_nodes()) if name in PARALLEL else (1, 1)
        steps.append(Step(_load(name, package), tag, f"{package}.{name}", tuple(argv), *share))
    known = {key for step in steps for key in step.stage.config.__dataclass_fields__}
    for key in tables.get("common", {}):
        if key not in known:
            raise UserError(f"no stage has the key '{key}' of [common] in profile '{profile}'{nearest(key, known)}")
    return steps


def _load(name: str, package: str) -> Stage:
    try:
        return importlib.import_module(f"{package}.{name}").STAGE
    except ModuleNotFoundError as error:
        if error.name == f"{package}.{name}":
            raise UserError(f"there is no stage '{name}': {package}/{name}.py does not exist") from None
        raise UserError(f"{package}.{name} needs the package '{error.name}'; run: bash setup_environment.sh") from None


def choose(steps: list[Step], first: str = "", only: str = "") -> list[Step]:
    """The part of a plan that `--from` and `--only` leave. `dag_eval` means the first such step, or with --only all of them."""
    labels = [step.label for step in steps]
    for flag, wanted in (("from", first), ("only", only)):
        if wanted and wanted not in labels + [step.stage.name for step in steps]:
            raise UserError(f"--{flag}={wanted} is not a stage of this profile{nearest(wanted, labels)}; its stages: {', '.join(labels)}")
    if first:
        steps = steps[next(i for i, step in enumerate(steps) if first in (step.label, step.stage.name)) :]
    if only:
        steps = [step for step in steps if step.label == only] or [step for step in steps if step.stage.name == only]
    if not steps:
        raise UserError(f"--only={only} comes before --from={first}; leave one of them out")
    return steps


# ---------------------------------------------------------------------------------------------------------------------
# What is done, what is missing


def survey(steps: list[Step]) -> list[Finding]:
    """The state of each step, in order. Starts nothing and writes nothing but remembered digests."""
    findings, pending = [], False
    for step in steps:
        finding = look(step, pending)
        findings.append(finding)
        pending = pending or finding.state != "done"
    return findings


def look(step: Step, pending: bool = False) -> Finding:
    """The state of one step. `pending`: a stage before it is still to run and may make what is missing.

    UserError for settings that cannot work.
    """
    try:
        config = step.stage.configure(list(step.argv))
    except UserError as error:
        raise UserError(f"{step.label}: {error}") from None
    try:
        inputs = step.stage.inputs(config)
    except UserError as error:
        return Finding("missing", str(error))
    if is_running(step.stage.name, step.tag):
        return Finding("running", f"by {holder(step.stage.name, step.tag)}")
    lacking = missing(inputs)
    outside = [item for item in lacking if not (pending and _made_here(item))]
    if outside:
        remedies = dict.fromkeys(item.made_by for item in outside)
        paths = {remedy: ", ".join(str(item.path) for item in outside if item.made_by == remedy) for remedy in remedies}
        return Finding("missing", common.typed("; ".join(f"{paths[remedy]}: {remedy}" for remedy in remedies)))
    why = "" if lacking else results.outdated(step.stage, config, inputs)
    if not lacking and not why:
        return Finding("done", results.finished(read_status(step.stage.name, step.tag)).get("headline", ""))
    finding = Finding("to do", f"after the stages above (needs {portable(lacking[0].path)})") if lacking else _to_do(step, why)
    without = [portable(item.path, common.data_dir(config.data_dir)) for item in absent(inputs)]
    notes = [finding.note] * bool(finding.note) + [f"without {', '.join(without)}"] * bool(without)
    return Finding(finding.state, "; ".join(notes))


def _to_do(step: Step, why: str) -> Finding:
    status = read_status(step.stage.name, step.tag)
    if status is None:
        unreadable = (step.folder / "status.json").exists()
        return Finding("to do", f"again: {portable(step.folder / 'status.json')} is unreadable" if unreadable else "")
    state, reason = status.get("state"), status.get("error") or ""
    if state == "running":
        return Finding("interrupted", "it was killed; goes on from its newest checkpoint")
    if state == "interrupted":
        return Finding("interrupted", reason)
    if state == "failed":
        return Finding("failed", f"last time: {reason}")
    return Finding("to do", f"again: {why}")


def _made_here(item: Input) -> bool:
    path, base = Path(item.path), common.base_dir()
    return path.is_relative_to(base) and not path.is_relative_to(base / "data")
