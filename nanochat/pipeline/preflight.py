"""Everything that would stop a run, found before it starts: on the login node, and as the first step of a job.

    for verdict in examine("d20_a100x8", steps): print(verdict)

Opens every file of every stage as far as its first rows, imports every package, loads the tokenizer, and looks at the base
directory, the GPUs, the disk and the time. Starts nothing, needs no network and leaves nothing behind.
"""

import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from nanochat import common
from nanochat.common import UserError
from nanochat.config import load_profile
from nanochat.pipeline import manifest, needs, plan, slurm
from nanochat.pipeline.explain import explain
from nanochat.pipeline.forecast import Forecast, fits, forecast, machine_for, usable
from nanochat.pipeline.inputs import Input, check_base
from nanochat.pipeline.ledger import portable, stage_label
from nanochat.pipeline.plan import Step
from nanochat.pipeline.probe import unreadable
from nanochat.pipeline.verdicts import BAD, OK, WARN, Verdict

READERS = 8  # files opened at a time: on a network file system each waits
MISSING = "is missing"
NAMED = 3  # files named in one line; of more the number
WASTE = 0.1  # share of a GPU's memory that others may hold


def examine(profile: str, steps: list[Step], seconds: float | None = None) -> Iterator[Verdict]:
    """One verdict for each thing that is wrong, and one for each kind of thing that is well. `seconds`: the job's time limit."""
    for look in (place, packages, files, tokenizer, gpus):
        yield from look(profile, steps)
    yield from resources(profile, steps, slurm.seconds_left() if seconds is None else seconds)


# ---------------------------------------------------------------------------------------------------------------------
# The base directory


def place(profile: str, steps: list[Step]) -> Iterator[Verdict]:
    """The base directory: of this profile, without a stop file, and a file can be written to it."""
    base = common.base_dir()
    existing = next(p for p in (base, *base.parents) if p.exists())
    try:
        check_base(profile)
        with tempfile.NamedTemporaryFile(dir=existing, prefix=".preflight."):
            pass
    except (UserError, OSError) as error:
        if isinstance(error, OSError):
            error.filename = str(base)  # that of the look means nothing to anybody
        yield Verdict(BAD, explain(error))
        return
    data = os.environ.get("NANOCHAT_DATA_DIR", "")
    if data and not common.data_dir().is_dir():
        yield Verdict(WARN, f"NANOCHAT_DATA_DIR={data} is not a folder; mend or remove it in .env.local, or download the data into it")
    stops = [step.folder / "STOP" for step in steps if (step.folder / "STOP").exists()]
    yield from (Verdict(WARN, f"the stop file {path} is there and will be removed when its stage starts") for path in stops)
    yield Verdict(OK, f"base directory {base} can be written{'' if base.exists() else ' (it does not exist yet)'}")


# ---------------------------------------------------------------------------------------------------------------------
# Packages


def packages(profile: str, steps: list[Step]) -> Iterator[Verdict]:
    """Every package that a stage imports, now or in the middle of its work."""
    users: dict[str, list[str]] = {}
    for module in dict.fromkeys(step.module for step in steps):
        for package in needs.packages_of(module):
            users.setdefault(package, []).append(module.rpartition(".")[2])
    faults = {package: needs.broken(package) for package in sorted(users)}
    for package in (package for package, reason in faults.items() if reason):
        text = f"package {package} cannot be imported ({faults[package]})"
        if package in needs.OPTIONAL:
            yield Verdict(WARN, f"{text}: {needs.OPTIONAL[package]}; bash setup_environment.sh installs it")
        else:
            yield Verdict(BAD, f"{text}; {', '.join(users[package])} need it: bash setup_environment.sh installs it")
    whole = [package for package, reason in faults.items() if not reason]
    yield Verdict(OK, f"{len(whole)} packages can be imported: {', '.join(whole)}")


# ---------------------------------------------------------------------------------------------------------------------
# Files


@dataclass
class Opened:
    """A file that stages open: the first one's `Input`, who they are, whether one of them cannot do without."""

    item: Input
    stages: list[str] = field(default_factory=list)
    needed: bool = False


def files(profile: str, steps: list[Step]) -> Iterator[Verdict]:
    """Every file of every stage: there, or made by a stage before; opened, and its first rows read; and as the manifest knows it."""
    opened, faults = collect(steps)
    yield from faults
    there = [entry for entry in opened.values() if os.path.lexists(entry.item.path)]
    with ThreadPoolExecutor(READERS) as pool:
        reasons = list(pool.map(lambda entry: reason_of(Path(entry.item.path)), there))
    found = [(entry, reason) for entry, reason in zip(there, reasons, strict=True) if reason]
    found += [(entry, MISSING) for path, entry in opened.items() if not os.path.lexists(path)]
    found += against_manifest(profile, steps, opened, found)
    grouped: dict[tuple, list[Opened]] = {}
    for entry, reason in found:
        key = (entry.needed, reason, _remedy(entry.item, reason), tuple(entry.stages), Path(entry.item.path).parent)
        grouped.setdefault(key, []).append(entry)
    yield from (_verdict(key, entries) for key, entries in grouped.items())
    whole = reasons.count("")
    yield Verdict(OK, f"{whole} input file{'s' * (whole != 1)} opened and read at both ends")


def against_manifest(profile: str, steps: list[Step], opened: dict[Path, Opened], found: list[tuple]) -> list[tuple]:
    """What the manifest and the lock of the data folder know beside: missing parts, sizes, rows, and files that a stage would do without
    in silence, such as a validation split. Only what these steps may open, and nothing that was `found` before."""
    given = steps[0].stage.configure(list(steps[0].argv)).data_dir
    data, users, more = common.data_dir(given), {}, []
    for path, entry in opened.items():
        if path.is_relative_to(data) and (asset := manifest.owner(path, data)):
            users.setdefault(asset.id, []).append(entry)
    named = {Path(entry.item.path) for entry, _ in found}
    emptied = {path.parent for path in named if "*" in path.name}  # nothing at all matches a pattern there
    for asset in manifest.of_profile(profile):
        here = users.get(asset.id, [])
        lost = (data / asset.place).parent in emptied or any(reason == MISSING and entry in here for entry, reason in found)
        stages = here[0].stages if here else [step.label for step in steps if step.stage.name in asset.stages]
        for path, reason in manifest.examine(asset, data) if stages else []:
            if path not in named and not (lost and reason.startswith(MISSING)):
                item = Input(path, manifest.advice(path, given, profile))
                reason = MISSING if reason.startswith(MISSING) else reason
                more.append((Opened(item, stages, any(entry.needed for entry in here)), reason))
    return more


def collect(steps: list[Step]) -> tuple[dict[Path, Opened], list[Verdict]]:
    """The files that the steps open, without those that an earlier step makes; and what no step can work with."""
    opened: dict[Path, Opened] = {}
    faults, before = [], []
    for step in steps:
        try:
            inputs = step.stage.inputs(step.stage.configure(list(step.argv)))
        except UserError as error:
            faults.append(Verdict(BAD, f"{step.label}: {error}"))
            inputs = []
        for item in inputs:
            path = Path(item.path)
            if _made_by_us(path) and (path.exists() or _comes_from(path, before)):
                continue  # what is there of ours was looked at when it was found
            entry = opened.setdefault(path, Opened(item))
            entry.needed |= not item.optional
            entry.stages.append(step.label)
        before.append(step.label)
    return opened, faults


def reason_of(path: Path) -> str:
    """Why a path cannot be used, "" if it can."""
    if path.is_symlink() and not path.exists():
        return f"is a link to {os.readlink(path)}, which is not there"
    return unreadable(path)


def _remedy(item: Input, reason: str) -> str:
    in_place = reason != MISSING and not reason.startswith("may not")
    return f"remove it, then {item.made_by}" if in_place else item.made_by


def _verdict(key: tuple, entries: list[Opened]) -> Verdict:
    """A stage can do without what is optional and missing, but not with what is there and damaged."""
    needed, reason, remedy, stages, folder = key
    first, *others = [Path(entry.item.path).name for entry in entries]
    listed = ", ".join([str(folder / first), *others[: NAMED - 1]])
    listed += f" and {len(entries) - NAMED} more" if len(entries) > NAMED else ""
    each = "each " if others else ""
    if needed or reason != MISSING:
        return Verdict(BAD, f"{', '.join(stages)}: {listed} {each}{reason}; {remedy}")
    level = WARN if "download_data.sh" in remedy else OK  # what the profile never brings is no surprise
    return Verdict(level, f"{', '.join(stages)}: done without {listed}, which {each}{reason}; {remedy}")


def _made_by_us(path: Path) -> bool:
    base = common.base_dir()
    return path.is_relative_to(base) and not path.is_relative_to(base / "data")


def _comes_from(path: Path, before: list[str]) -> bool:
    """True if one of the stages before makes this file of the base directory."""
    parts = path.relative_to(common.base_dir()).parts
    if parts[0] == "tokenizer":
        return "tok_train" in before
    if parts[0] == "checkpoints" and len(parts) > 2:
        return stage_label(parts[1], "" if parts[2] == "default" else parts[2]) in before
    return bool(before)


# ---------------------------------------------------------------------------------------------------------------------
# What earlier runs left


def tokenizer(profile: str, steps: list[Step]) -> Iterator[Verdict]:
    """The tokenizer loads, and the checkpoints were made with it."""
    from nanochat.data.tokenizer import Tokenizer

    folder, labels = common.base_dir() / "tokenizer", {step.label for step in steps}
    if not folder.exists():
        return
    try:
        found = Tokenizer.load()
        found.decode(found.encode("12.5 + 3"))
    except UserError as error:
        yield Verdict(WARN if "tok_train" in labels else BAD, str(error))
        return
    others = [path for path in _newest_checkpoints() if _tokenizer_of(path) not in (None, found.hash)]
    for path in others:
        remade = stage_label(path.parts[-3], "" if path.parts[-2] == "default" else path.parts[-2]) in labels
        text = f"checkpoint {portable(path)} was trained with another tokenizer than the one in {folder}"
        remedy = "it will be trained again" if remade else f"train it again with `python -m scripts.{path.parts[-3]}`"
        yield Verdict(WARN if remade else BAD, f"{text}; {remedy}")
    yield Verdict(OK, f"the tokenizer loads: {found.vocab_size:,} tokens")


def _newest_checkpoints() -> list[Path]:
    folders = sorted((common.base_dir() / "checkpoints").glob("*/*"))
    complete = [sorted(p.parent for p in folder.glob("step_*/COMPLETE")) for folder in folders]
    return [paths[-1] for paths in complete if paths]


def _tokenizer_of(checkpoint: Path) -> str | None:
    meta = common.read_json(checkpoint / "meta.json")
    return meta.get("tokenizer_hash") if isinstance(meta, dict) else None


# ---------------------------------------------------------------------------------------------------------------------
# GPUs


def gpus(profile: str, steps: list[Step]) -> Iterator[Verdict]:
    """As many GPUs as the profile is made for, each of which computes and is free. On a login node there need be none."""
    wanted, here = load_profile(profile).get("gpus", 0), plan.count_gpus()
    in_job = bool(os.environ.get("SLURM_JOB_ID"))
    if here:
        yield from _each_gpu(here)
    if here >= wanted:
        yield Verdict(OK, f"{here} GPU{'s' * (here != 1)} here, {wanted or 'none'} wanted")
    elif not in_job and not here:
        yield Verdict(OK, f"no GPU here; the profile is made for {wanted}: submit it as a job")
    else:
        text = f"this {'job' if in_job else 'machine'} has {here} GPU{'s' * (here != 1)} and profile '{profile}' is made for {wanted}"
        remedy = "ask for them (SITE_GPUS in .env.local, or sbatch --gpus-per-node), or choose another profile"
        yield Verdict(WARN if here else BAD, f"{text}; {remedy}")


def _each_gpu(count: int) -> Iterator[Verdict]:
    import torch

    for index in range(count):
        try:
            torch.ones(8, device=f"cuda:{index}").sum().item()
            free, total = torch.cuda.mem_get_info(index)
        except RuntimeError as error:
            yield Verdict(
                BAD, f"GPU {index} cannot be used ({str(error).splitlines()[0]}); nvidia-smi may say why: tell the administrators"
            )
            continue
        if free < (1 - WASTE) * total:
            used = (total - free) / 2**30
            yield Verdict(WARN, f"GPU {index} has {used:.0f} of {total / 2**30:.0f} GiB in use by others; nvidia-smi shows by whom")


# ---------------------------------------------------------------------------------------------------------------------
# Against the forecast


def resources(profile: str, steps: list[Step], seconds: float | None) -> Iterator[Verdict]:
    """Batches, GPU memory, disk, files, text and time against what the run is expected to take."""
    whole = plan.make_plan(profile, processes=1)  # later stages are the size of earlier ones
    if not all(step.module.startswith("scripts.") for step in whole):
        return
    here = plan.count_gpus() * int(os.environ.get("SLURM_NNODES") or 1)
    elsewhere = 0 if os.environ.get("NPROC") else load_profile(profile).get("gpus", 0)
    try:
        expected = forecast(profile, whole, machine_for(here or elsewhere))
    except UserError as error:
        yield Verdict(BAD, str(error))
        return
    labels = {step.label for step in steps}
    chosen = Forecast(profile, expected.machine, [s for s in expected.stages if s.work.label in labels], expected.text, expected.downloads)
    yield from (verdict for look in (_gpu_memory, _disk, _text) for verdict in look(chosen))
    yield from _time(chosen, seconds)


def _gpu_memory(expected: Forecast) -> Iterator[Verdict]:
    here = plan.count_gpus()
    if not here or not expected.memory.mid:
        return
    import torch

    least = min(torch.cuda.get_device_properties(i).total_memory for i in range(here)) / 1e9
    low, mid, high = (value / 1e9 for value in (expected.memory.low, expected.memory.mid, expected.memory.high))
    text = f"the largest stage needs about {mid:.0f} GB on each GPU ({low:.0f} - {high:.0f}), which have {least:.0f}"
    if high < least:
        yield Verdict(OK, text)
    else:
        yield Verdict(BAD if low > least else WARN, f"{text}; halve device_batch in config/{expected.profile}.toml")


def _disk(expected: Forecast) -> Iterator[Verdict]:
    existing = next(p for p in (common.base_dir(), *common.base_dir().parents) if p.exists())
    wanted = sum(stage.work.disk for stage in expected.stages if not stage.done)
    free, names, most_names = _free(existing)
    text = f"about {wanted / 1e9:.1f} GB will be written to {existing}, where {free / 1e9:.1f} GB are free"
    remedy = "free some space, or set NANOCHAT_BASE_DIR to another disk (a quota may grant less still)"
    yield Verdict(OK, text) if free > 1.2 * wanted else Verdict(WARN if free > 0.6 * wanted else BAD, f"{text}; {remedy}")
    if most_names and names < expected.files:
        text = f"about {expected.files} files will be made and {existing} has room for {names}"
        yield Verdict(BAD, f"{text}; remove small files there, or set NANOCHAT_BASE_DIR to another disk")


def _free(folder: Path) -> tuple[float, int, int]:
    """Bytes and names (inodes) that a folder's disk has left, and names in all: 0 where it does not count them."""
    disk = os.statvfs(folder)
    return float(disk.f_bavail * disk.f_frsize), disk.f_favail, disk.f_files


def _text(expected: Forecast) -> Iterator[Verdict]:
    needed, brought = expected.text.shards, expected.text.downloaded
    if needed and brought and needed.mid > brought:
        text = f"training needs {needed.mid:.0f} shards of text ({needed.low:.0f} - {needed.high:.0f}) and the profile downloads {brought}"
        most = expected.text.epochs
        remedy = f"raise shards in [prefetch]; more than {most:g} times is refused (--max_epochs)"
        level = BAD if needed.mid > most * brought else WARN
        yield Verdict(level, f"{text}: it will be read {needed.mid / brought:.1f} times; {remedy}")


def _time(expected: Forecast, seconds: float | None) -> Iterator[Verdict]:
    left = expected.left
    if not left.mid:
        yield Verdict(OK, "every stage is done already")
        return
    span = (
        f"{common.duration(left.mid)} of work left on {expected.machine.name} ({common.duration(left.low)} - {common.duration(left.high)})"
    )
    if seconds is None:
        yield Verdict(OK, span)
    elif left.high <= usable(seconds):
        yield Verdict(OK, f"{span}; {common.duration(seconds)} allowed: it fits")
    else:
        words = " ".join(fits(left, max(seconds, 1.0)).split()[1:])
        more = "ask for more (SITE_TIME in .env.local, or sbatch --time)"
        goes_on = "it is saved and goes on when the job starts again, or " if usable(seconds) > 0 else ""
        yield Verdict(WARN, f"{span}; limit {words}; {goes_on}{more}")
