"""What a run left behind, read from its status.json, metrics.jsonl and ledger.jsonl files and from nothing else.

Every file may be missing, torn or strange: then the result says so instead of failing. A stage that never ran is a result
too, with the state `not run`.
"""

import dataclasses
import functools
import math
from dataclasses import dataclass, field
from pathlib import Path

from nanochat import common
from nanochat.pipeline.ledger import read_lines, read_status
from nanochat.pipeline.stage import is_running
from nanochat.report.text import duration, is_number

SELF = "report"  # the report does not report on itself
DONE, FAILED, INTERRUPTED, RUNNING, NOT_RUN, UNREADABLE = "done", "failed", "interrupted", "running", "not run", "unreadable"


@dataclass(frozen=True)
class Attempt:
    """One start of a stage in the ledger and its end, which a stage that was killed (or still runs) has not written.

    `seen` is the time of its last line in metrics.jsonl, for those without an end.
    """

    start: dict | None
    end: dict | None
    seen: float | None = None

    @property
    def state(self) -> str | None:
        return self.end.get("state") if self.end else None

    @property
    def seconds(self) -> float:
        """How long it took; without an end how long it was seen to run, which is too short."""
        if self.end:
            return float(self.end["seconds"]) if is_number(self.end.get("seconds")) else 0.0
        return self.seen - self.start["time"] if self.seen is not None else 0.0


@dataclass(frozen=True)
class StageResult:
    """One stage: `state` (done, failed, interrupted, running, not run, unreadable), why, its figures, its curves.

    `attempts` are those that the present result took (since the result before it, if any); `earlier` counts the complete
    results before. `outdated` names a stage that has been run again since this one read its output.
    """

    label: str
    folder: Path
    state: str = NOT_RUN
    reason: str = ""
    status: dict = field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()
    earlier: int = 0
    outdated: str = ""

    @property
    def name(self) -> str:
        return _name_and_tag(self.label)[0]

    @property
    def tag(self) -> str:
        return _name_and_tag(self.label)[1]

    @property
    def metrics(self) -> dict:
        """Final figures of a stage that is done; none of one that is not, whatever it had so far."""
        return _dictionary(self.status.get("metrics")) if self.state == DONE else {}

    @property
    def config(self) -> dict:
        return _dictionary(self.status.get("config"))

    @property
    def seconds(self) -> float | None:
        """Seconds spent on the present result, over all its attempts; None if it never ran."""
        if self.attempts:
            return sum(attempt.seconds for attempt in self.attempts)
        seconds = self.status.get("seconds")
        return float(seconds) if is_number(seconds) else None

    @property
    def took(self) -> str:
        """`seconds` for people: `≥ 50 s` after a kill, whose moment nobody wrote down; a dash if it never ran."""
        if not any(attempt.end is None for attempt in self.attempts):
            return duration(self.seconds)
        return f"≥ {duration(self.seconds)}" if self.seconds else "not known"

    @functools.cached_property
    def curves(self) -> dict[str, list[tuple[float, float]]]:
        """name -> [(step, value)] from metrics.jsonl, steps ascending; values that are not finite are NaN."""
        return read_curves(self.folder / "metrics.jsonl")

    def lines(self, name: str) -> list[dict]:
        """The readable lines of another JSONL file that the stage left in its folder; none unless it is done."""
        return read_lines(self.folder / name) if self.state == DONE else []


@dataclass(frozen=True)
class Results:
    """A whole run: its profile, its base directory, its stages in order."""

    profile: str
    base: Path
    stages: list[StageResult]

    def stage(self, label: str) -> StageResult:
        """The stage called `label`; one in the state `not run` if there is none."""
        found = next((s for s in self.stages if s.label == label), None)
        return found or StageResult(label, self.base / "stages" / label)

    def named(self, name: str) -> list[StageResult]:
        """The stages of one name, planned or run, whatever their tag."""
        return [s for s in self.stages if s.name == name]

    @property
    def starts(self) -> list[dict]:
        """The ledger's start lines that belong to the present results: where and with what each attempt ran."""
        return [attempt.start for s in self.stages for attempt in s.attempts if attempt.start]


def status_files() -> list[Path]:
    """status.json of every stage that ever started, sorted; the report's own left out."""
    found = sorted((common.base_dir() / "stages").glob("*/status.json"))
    return [path for path in found if not _is_report(path.parent.name)]


def collect(profile: str, planned: list[str], report: bool = False) -> Results:
    """Everything the base directory says about the planned stages, and about others that ran there; `report`: the report's own too."""
    base = common.base_dir()
    ledger = read_lines(base / "ledger.jsonl")
    labels = [label for label in planned if report or not _is_report(label)]
    labels += [path.parent.name for path in status_files() if path.parent.name not in labels]
    stages = [_stage(base / "stages" / label, label, ledger) for label in labels]
    outputs = _outputs(stages)
    return Results(profile, base, [_dated(stage, outputs) for stage in stages])


def read_curves(path: Path) -> dict[str, list[tuple[float, float]]]:
    """name -> [(step, value)] of a metrics.jsonl, steps strictly ascending, null and infinite values as NaN.

    A step that comes again (a resumed run) replaces what stood from there on.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for row in read_lines(path):
        step = row.get("step")
        if not is_number(step):
            continue
        for name, value in row.items():
            if name in ("step", "time") or isinstance(value, bool) or not isinstance(value, (int, float, type(None))):
                continue
            points = found.setdefault(name, [])
            while points and points[-1][0] >= step:
                points.pop()
            points.append((step, float(value) if is_number(value) else math.nan))
    return found


def _stage(folder: Path, label: str, ledger: list[dict]) -> StageResult:
    if not (folder / "status.json").exists():
        return StageResult(label, folder)
    status = read_status(*_name_and_tag(label))
    times = [row["time"] for row in read_lines(folder / "metrics.jsonl") if is_number(row.get("time"))]
    attempts, earlier = _present(_attempts(ledger, label, times), _dictionary(status).get("state"))
    if status is None:
        return StageResult(label, folder, UNREADABLE, "its status.json is damaged; run the stage again", attempts=attempts)
    state, reason = _state(label, status)
    return StageResult(label, folder, state, reason, status, attempts, earlier)


def _state(label: str, status: dict) -> tuple[str, str]:
    """The state a status.json stands for, and the reason if it is not `done`."""
    state, reason = status.get("state"), str(status.get("error") or "")
    if state == DONE:
        return DONE, ""
    if state == RUNNING and is_running(*_name_and_tag(label)):
        return RUNNING, ""
    if state == RUNNING:
        return INTERRUPTED, "killed, or the machine went down"
    if state in (FAILED, INTERRUPTED):
        return state, reason or "no reason was written down"
    return UNREADABLE, f"its status.json has the unknown state '{state}'"


def _attempts(ledger: list[dict], label: str, times: list[float]) -> list[Attempt]:
    """Every attempt at a stage that the ledger tells of, oldest first. `times`: when it logged a line of metrics."""
    attempts, opened = [], None
    for entry in ledger:
        tag = entry.get("tag")
        if (f"{entry.get('stage')}.{tag}" if tag else entry.get("stage")) != label:
            continue
        if entry.get("event") == "start":
            if opened:
                attempts.append(_without_end(opened, entry, times))
            opened = entry
        elif entry.get("event") == "end":
            attempts.append(Attempt(opened, entry))
            opened = None
    return attempts + ([_without_end(opened, {}, times)] if opened else [])


def _without_end(start: dict, following: dict, times: list[float]) -> Attempt:
    """An attempt that was killed or still runs, and when it was last seen before the attempt `following` it."""
    first, last = start.get("time"), following.get("time", math.inf)
    seen = [t for t in times if is_number(first) and first <= t < last]
    return Attempt(start, None, max(seen, default=None))


def _present(attempts: list[Attempt], state: str | None) -> tuple[tuple[Attempt, ...], int]:
    """(attempts that belong to the present result, number of complete results before it).

    Where the stage is done, attempts after its end failed with other settings and left its result as it was.
    """
    finished = [i for i, attempt in enumerate(attempts) if attempt.state == DONE]
    if finished and state == DONE:
        attempts = attempts[: finished[-1] + 1]
    if finished and finished[-1] == len(attempts) - 1:
        finished.pop()
    return tuple(attempts[finished[-1] + 1 if finished else 0 :]), len(finished)


def _outputs(stages: list[StageResult]) -> dict[str, tuple[str, str]]:
    """path -> (digest, label of the stage that made it), of the stages that are done."""
    done = [s for s in stages if s.state == DONE]
    return {path: (digest, s.label) for s in done for path, digest in _dictionary(s.status.get("outputs")).items()}


def _dated(stage: StageResult, outputs: dict[str, tuple[str, str]]) -> StageResult:
    """The stage, marked if something it read has been made anew since."""
    inputs = _dictionary(stage.status.get("inputs")) if stage.state == DONE else {}
    for path, digest in inputs.items():
        now, maker = outputs.get(path, (digest, ""))
        if now != digest and maker != stage.label:
            return dataclasses.replace(stage, outdated=maker)
    return stage


def _name_and_tag(label: str) -> tuple[str, str]:
    name, _, tag = label.partition(".")
    return name, tag


def _is_report(label: str) -> bool:
    return _name_and_tag(label)[0] == SELF


def _dictionary(value) -> dict:
    return value if isinstance(value, dict) else {}
