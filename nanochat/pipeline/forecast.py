"""What a run will take, before it starts: hours, GPU hours, energy, memory and disk of each stage, with an interval.

The work comes from the settings (workload.py), its rate from what was measured or published (throughput.py) and, where this machine
has done such a stage, from what that took. The interval says where nine in ten runs should end; where nothing was measured it is wide.
"""

import dataclasses
import os
import re
from dataclasses import dataclass

from nanochat import common
from nanochat.common import UserError
from nanochat.config import load_profile, nearest
from nanochat.pipeline import plan, requeue
from nanochat.pipeline.ledger import read_lines, read_status
from nanochat.pipeline.plan import Step
from nanochat.pipeline.throughput import NOTHING, Machine, Measured, Range, calibrated, measured, remember
from nanochat.pipeline.workload import SHARD_BYTES, Text, Workload, Workloads

ASSUMED_GPU = "A100"
CORES_PER_GPU = 2
START_UP = 60  # seconds of a job before its first stage: the look of preflight, and imports
OTHER_DOWNLOADS = 2e9  # bytes: conversations, tasks, the CORE bundle
SMALL_FILES = 60  # of a stage: status, logs, answers, a checkpoint's four


@dataclass(frozen=True)
class Expected:
    """One stage: its work, its seconds, and what they rest on (`measured`, `other stages`, `rates`); `done` before."""

    work: Workload
    seconds: Range
    basis: str
    done: bool = False


@dataclass(frozen=True)
class Forecast:
    """A whole run on a machine."""

    profile: str
    machine: Machine
    stages: list[Expected]
    text: Text
    downloads: float

    @property
    def left(self) -> Range:
        """Seconds of the stages that are not done. Their errors are mostly those of the machine, so they add up as they are."""
        return sum((stage.seconds for stage in self.stages if not stage.done), NOTHING)

    @property
    def memory(self) -> Range:
        """Bytes of the largest stage, of one device."""
        return max((stage.work.memory for stage in self.stages), key=lambda memory: memory.mid, default=NOTHING)

    @property
    def disk(self) -> float:
        """Bytes that the whole run leaves in its base directory, downloads not counted."""
        return sum(stage.work.disk for stage in self.stages)

    @property
    def files(self) -> int:
        """Files (inodes) it leaves there, about."""
        return SMALL_FILES * len(self.stages) + 3 * (self.text.downloaded or 1)


def machine_for(gpus: int, gpu: str = "") -> Machine:
    """So many cards: those found here, or of the kind named or assumed; without any the cores of this process."""
    cores = len(os.sched_getaffinity(0))
    if not gpus:
        return Machine("", cores, cores)
    import torch

    from nanochat.train.hardware import PEAK_FLOPS

    here = plan.count_gpus()
    found = gpu or (torch.cuda.get_device_name(0) if here else ASSUMED_GPU)
    name = next((known for known in PEAK_FLOPS if known in found), found)
    return Machine(name, gpus, cores if here else CORES_PER_GPU * gpus, PEAK_FLOPS.get(name, PEAK_FLOPS[ASSUMED_GPU]))


def card(name: str) -> str:
    """The name in the table of rates for a card that a person names, in whatever case and with whatever after it; "" for none.
    UserError for one that is not there: its numbers would be another card's."""
    from nanochat.train.hardware import PEAK_FLOPS

    found = (known for known in PEAK_FLOPS if re.search(rf"(?<![a-z0-9]){known}(?![a-z0-9])", name, re.IGNORECASE))
    if name and not (known := next(found, "")):
        raise UserError(f"there are no numbers for the GPU '{name}'{nearest(name.upper(), PEAK_FLOPS)}; known are {', '.join(PEAK_FLOPS)}")
    return known if name else ""


def forecast(profile: str, steps: list[Step], machine: Machine) -> Forecast:
    """The forecast for a profile's steps. UserError for settings that cannot work on that many devices."""
    workloads, known = Workloads(profile, steps, machine), measured()
    stages = []
    for work in workloads.all():
        seconds, basis = calibrated(by_rates(work, machine), work.stage, machine.name, work.weights, known)
        stages.append(Expected(work, seconds, basis, _is_done(work.label)))
    text = workloads.text()
    wants = load_profile(profile).get("prefetch", {}).get("assets", [])
    downloads = (text.downloaded + 1) * SHARD_BYTES if text.downloaded else 0.0
    return Forecast(profile, machine, stages, text, downloads + OTHER_DOWNLOADS * bool(wants))


def by_rates(work: Workload, machine: Machine) -> Range:
    """Seconds of a stage by the table of rates alone."""
    parts = [amount.by(rate) for unit, amount in work.work.items() if (rate := machine.rate(unit))]
    return sum(parts, NOTHING)


def _is_done(label: str) -> bool:
    stage, _, tag = label.partition(".")
    return (read_status(stage, tag) or {}).get("state") == "done"


# ---------------------------------------------------------------------------------------------------------------------
# Learning from finished stages


@dataclass(frozen=True)
class Fact:
    """A stage that was done at one go: its work, its seconds, on which machine, what the table of rates says about that, and what was
    to be said before it began, with what had been measured until then."""

    work: Workload
    seconds: float
    machine: Machine
    expected: Range
    said: Range
    basis: str
    when: float


def facts(profile: str, steps: list[Step]) -> list[Fact]:
    """What the finished stages of this base directory took, beside what the rates say for the settings they ran with."""
    ledger, table, found = read_lines(common.base_dir() / "ledger.jsonl"), measured(), []
    works: dict[Machine, dict[str, Workload]] = {}
    for step in steps:
        status = read_status(step.stage.name, step.tag) or {}
        start = _only_start(step, status, ledger)
        if status.get("state") != "done" or not status.get("seconds") or start is None:
            continue
        where = _machine_of(start)
        if where not in works:
            works[where] = {work.label: work for work in Workloads(profile, _as_run(steps), where).all()}
        work, known = works[where][step.label], [entry for entry in table if entry.when <= status["started"]]
        expected = by_rates(work, where)
        said, basis = calibrated(expected, work.stage, where.name, work.weights, known)
        found.append(Fact(work, status["seconds"], where, expected, said, basis, float(status.get("ended") or 0)))
    return found


def learn(profile: str, steps: list[Step]) -> list[Fact]:
    """Takes what finished stages took into the local table."""
    found = facts(profile, steps)
    if found:
        remember([Measured(f.work.stage, f.machine.name, f.work.weights, f.expected.mid, f.seconds, f.when) for f in found])
    return found


def _only_start(step: Step, status: dict, ledger: list[dict]) -> dict | None:
    """The line of the ledger at which the present result began; None if it went on from an earlier attempt, whose time is not known."""
    own = [line for line in ledger if (line.get("stage"), line.get("tag") or "") == (step.stage.name, step.tag)]
    at = next((i for i, line in enumerate(own) if line.get("event") == "start" and line.get("time") == status.get("started")), None)
    if at is None:
        return None
    fresh = at == 0 or own[at - 1].get("state") == "done" or (status.get("config") or {}).get("resume") == "off"
    return own[at] if fresh else None


def _as_run(steps: list[Step]) -> list[Step]:
    """The steps with the settings that their finished runs had, which may not be those of the profile."""
    found = []
    for step in steps:
        status = read_status(step.stage.name, step.tag) or {}
        config = status.get("config") if status.get("state") == "done" else None
        names = {f.name for f in dataclasses.fields(step.stage.config)}
        changed = [f"--{k}={_written(v)}" for k, v in (config or {}).items() if k in names and k not in ("profile", "tag", "first")]
        found.append(dataclasses.replace(step, argv=(*step.argv, *changed)))
    return found


def _written(value) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "none" if value is None else str(value)


def _machine_of(line: dict) -> Machine:
    machine, world = line.get("machine") or {}, int(line.get("world") or 1)
    if not machine.get("gpu"):
        cores = int(machine.get("cores") or 1)
        return Machine("", cores, cores)
    found = machine_for(world, str(machine["gpu"]))
    return dataclasses.replace(found, cores=int(machine.get("cores") or found.cores))


# ---------------------------------------------------------------------------------------------------------------------
# In words


def lines(found: Forecast) -> list[str]:
    """The forecast as a table and its totals."""
    device = "GPU" if found.machine.gpu else "process"
    rows = [("stage", "tokens", "steps", "weights", "operations", f"GB per {device}", "time", "between", "rests on")]
    rows += [_row(stage) for stage in found.stages]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    sides = ["<", *">" * 7, "<"]  # names and words to the left, figures to the right
    table = ["  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)).rstrip() for row in rows]
    return [f"profile {found.profile} on {found.machine.name}", "", *table, "", *totals(found)]


def _row(stage: Expected) -> tuple[str, ...]:
    work = stage.work
    time_, between = common.duration(stage.seconds.mid), f"{common.duration(stage.seconds.low)} - {common.duration(stage.seconds.high)}"
    memory = f"{work.memory.mid / 1e9:.1f}" if work.memory.mid else ""
    basis = "done before" if stage.done else stage.basis
    return work.label, _si(work.tokens.mid), _si(work.steps.mid), _si(work.weights), _power(work.flops.mid), memory, time_, between, basis


def totals(found: Forecast) -> list[str]:
    """Time, GPU hours, energy, memory, disk, text: a line each."""
    left = found.left
    hours = left * (1 / 3600)
    energy = Range(*(h * k for h, k in zip(_ends(hours), _ends(found.machine.kilowatts()), strict=True)))
    if not left.mid:
        return ["every stage is done"]
    said = [f"time      {common.duration(left.mid)}, between {common.duration(left.low)} and {common.duration(left.high)}"]
    if found.machine.gpu:
        said.append(f"GPU hours {between(hours * found.machine.devices)}")
    said.append(f"energy    {between(energy)} kWh")
    said.append(f"memory    {between(found.memory * 1e-9)} GB on each {'GPU' if found.machine.gpu else 'process'}, in the largest stage")
    said.append(f"disk      {found.disk / 1e9:.1f} GB and about {found.files} files, beside {found.downloads / 1e9:.0f} GB of downloads")
    if found.text.shards:
        needed, have = found.text.shards, found.text.downloaded
        words = f"text      {_si(found.text.needed.mid)} tokens, which are {needed.mid:.0f} shards ({needed.low:.0f} - {needed.high:.0f})"
        said.append(f"{words}; the profile downloads {have} and one for validation" if have else words)
    return said


def usable(limit: float) -> float:
    """Seconds of a job of so many that are left for the work between its start and the warning before its end; slurm/submit.sh lets
    the warning come at most a quarter of the limit before it."""
    return limit - START_UP - min(requeue.warning_seconds(), limit / 4)


def fits(left: Range, limit: float) -> str:
    """Whether a run fits into a job of so many seconds, and how often it will have to go on in another."""
    room = usable(limit)
    if left.mid and room <= 0:
        return f"limit     {common.duration(limit)}: too short: nothing is left of it after starting and before saving"
    if left.high <= room:
        return f"limit     {common.duration(limit)}: it fits"
    jobs = Range(*(max(1, -(-seconds // room)) for seconds in _ends(left)))
    jobs_ = f"{jobs.low:.0f}" if jobs.low == jobs.high else f"{jobs.low:.0f} to {jobs.high:.0f}"
    if left.low > room:
        return f"limit     {common.duration(limit)}: it does not fit; {jobs_} jobs of that length in a row finish it"
    return f"limit     {common.duration(limit)}: it may not fit; {jobs_} job{'s' * (jobs.high > 1)} of that length in a row finish it"


def between(values: Range) -> str:
    """`57 (31 - 120)`."""
    return f"{_figure(values.mid)} ({_figure(values.low)} - {_figure(values.high)})"


def _ends(values: Range) -> tuple[float, float, float]:
    return values.low, values.mid, values.high


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 20 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def _si(value: float) -> str:
    if not value:
        return ""
    for size, unit in ((1e9, " B"), (1e6, " M"), (1e4, " k")):
        if value >= size:
            return f"{value / (size if unit != ' k' else 1e3):.3g}{unit}"
    return f"{value:.0f}"


def _power(value: float) -> str:
    return f"{value:.2e}".replace("e+", "e") if value else ""
