"""The stage contract, in one place: what every `python -m scripts.<stage>` does around its own work.

    STAGE = Stage("tok_train", Config, inputs, work)      # in scripts/tok_train.py
    raise SystemExit(execute(STAGE))

`execute` reads and checks the configuration and that the inputs exist, skips a stage that is done and unchanged, keeps status.json,
metrics.jsonl and the ledger, turns signals into a clean stop, and gives every failure one sentence and an exit code:
0 done or nothing to do, 1 failed, 2 wrong usage or missing input, 75 interrupted with everything saved (run it again).
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import math
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from nanochat import common
from nanochat.common import Interrupted, UserError
from nanochat.config import parse
from nanochat.pipeline import ledger, results, signals
from nanochat.pipeline.digests import digest
from nanochat.pipeline.explain import explain, own_words
from nanochat.pipeline.inputs import Input, absent, asked_to_stop, check_base, check_data_dir, missing, require
from nanochat.pipeline.ledger import append_line, git_commit, portable, read_lines, read_status, record, stage_folder, stage_label
from nanochat.pipeline.manifest import refuse_strangers
from nanochat.pipeline.offline import guarded
from nanochat.pipeline.watch import only_declared

__all__ = ["Input", "Run", "Stage", "absent", "check_base", "digest", "execute", "explain", "git_commit", "missing", "read_status",
           "stage_folder", "stage_label"]  # fmt: skip

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 75


@dataclass(frozen=True)
class Stage:
    """A stage: its name, its configuration class, what it opens, and its work.

    `inputs(config)` lists every file or folder the work will open; `work(config, run)` does it and returns a one-line
    result for people. A folder that the pipeline made counts as present only with its COMPLETE marker or status `done`.
    `check(config)` raises a UserError for settings that cannot work, before anything is written.
    """

    name: str
    config: type
    inputs: Callable[[object], list[Input]]
    work: Callable[[object, "Run"], str]
    check: Callable[[object], None] | None = None

    def configure(self, argv: list[str] | None):
        """The configuration from profile and command line, checked."""
        config = parse(self.config, self.name, argv)
        check_data_dir(config.data_dir)
        if self.check:
            self.check(config)
        return config


@dataclass
class Run:
    """What the work gets: its folder, its compute, and the ways to report. Only rank 0 writes."""

    stage: str
    tag: str
    folder: Path
    config: object
    identity: str = ""  # digest of configuration and inputs; a checkpoint of another identity is not this run's
    compute: common.Compute | None = None
    metrics: dict = field(default_factory=dict)
    outputs: list[Path] = field(default_factory=list)
    _mirror: object = None
    _logged: bool = False

    @property
    def label(self) -> str:
        """`stage` or `stage.tag`: the folder's name under stages/."""
        return stage_label(self.stage, self.tag)

    def say(self, text: str) -> None:
        """One line of progress on stderr."""
        common.say(f"{self.label}: {text}")

    def log(self, step: int, **values: float) -> None:
        """Appends one line to metrics.jsonl (and its mirror): `{"step": ..., "time": ..., **values}`.

        The first line of a run drops the lines from this step on: an earlier run got there, but did not keep it.
        Numbers that are not finite become null.
        """
        if common.rank() != 0:
            return
        path = self.folder / "metrics.jsonl"
        if not self._logged:
            kept = [line for line in read_lines(path) if line.get("step", 0) < step]
            common.write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
            self._logged = True
        values = {name: _plain_number(value) for name, value in values.items()}
        append_line(path, {"step": step, "time": round(time.time(), 3), **values})
        if self._mirror:
            self._mirror.log(values, step)

    def went_back(self) -> None:
        """Training goes on from an earlier step: its next line drops those of the steps that it takes again."""
        self._logged = False

    def result(self, **values: float) -> None:
        """Final metrics, flat names to numbers, kept in status.json."""
        self.metrics.update({name: _plain_number(value) for name, value in values.items()})

    def output(self, path: Path) -> None:
        """Registers a file or folder this stage produced; its digest goes into status.json."""
        self.outputs.append(Path(path))

    def stop_noted(self) -> bool:
        """True once a signal came to this process or a stop file lies there; other processes may not know yet."""
        return signals.requested() or any(path.exists() for path in stop_files(self.folder))

    def stop_requested(self) -> bool:
        """True once any process has noted it; all processes get the same answer, so call it together."""
        return common.all_reduce_sum([float(self.stop_noted())])[0] > 0


def stop_files(folder: Path) -> list[Path]:
    """Where `touch STOP` stops a stage: the base directory, for whatever runs, and the stage's own folder."""
    return [common.base_dir() / "STOP", folder / "STOP"]


# ---------------------------------------------------------------------------------------------------------------------
# Running


def execute(stage: Stage, argv: list[str] | None = None) -> int:
    """Runs a stage under the contract and returns its exit code."""
    name = stage.name
    try:
        common.stay_home()
        config = stage.configure(argv)
        name = stage_label(stage.name, config.tag)
        run = Run(stage.name, config.tag, stage_folder(stage.name, config.tag), config)
        if os.environ.get("NANOCHAT_LAUNCH") and asked_to_stop():  # it came while the runner started us
            raise Interrupted(f"{asked_to_stop()} is there; remove it to go on")
        check_base(config.profile)
        with guarded(_hosts_of_mirror(config)):
            inputs = stage.inputs(config)
            refuse_strangers(stage.name, inputs, common.data_dir(config.data_dir))
            require(inputs)
            _claim(run)
            with _only_one(run):
                code = _execute_locked(stage, run, inputs)
    except (UserError, OSError) as error:
        common.say(f"{name}: {explain(error)}")
        return EXIT_USAGE if isinstance(error, UserError) else EXIT_FAILED
    except (KeyboardInterrupt, Interrupted) as error:
        common.say(f"{name}: interrupted before it began{f': {error}' if str(error) else ''}")
        return EXIT_INTERRUPTED
    if code != EXIT_FAILED:  # after a failure another process may wait in the group for ever: leave without a word to it
        common.barrier()
        common.stop_compute()
    return code


def _execute_locked(stage: Stage, run: Run, inputs: list[Input]) -> int:
    config = run.config
    if common.world_size() > 1:
        run.compute = common.start_compute(config.device)
    before, fingerprint, same = common.from_first(lambda: _look(run, inputs))
    if same and not config.force:
        if common.rank() == 0:
            results.reinstate(run.stage, run.tag)
        run.say("done before, nothing changed: skipped")
        return EXIT_DONE
    run.compute = run.compute or common.start_compute(config.device)
    run.identity = hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest()[:16]
    if all(before.get(key, value) == value for key, value in fingerprint.items()):
        run.identity = before.get("identity") or run.identity  # an earlier version may have counted it from other names
    elif not common.from_first(lambda: results.curves(run.folder, {"identity": run.identity}).exists()):
        config.resume = "off"  # what an earlier run left was made with other settings or inputs
        _say_what_changed(run, before, fingerprint)
    if config.force:
        config.resume = "off"
    with signals.noted():
        status = _begin(run, fingerprint, before)
        with only_declared(inputs, common.data_dir(config.data_dir)):
            state, text, code = _outcome(stage, run, status)
        status.update(state=state, error=None if code == EXIT_DONE else text, headline=text if code == EXIT_DONE else "")
        return _end(run, status, code)


def _look(run: Run, inputs: list[Input]) -> tuple[dict, dict, bool]:
    """What was written down before, what decides this run's result, and whether a finished result with the same is whole."""
    before, fingerprint = read_status(run.stage, run.tag) or {}, results.fingerprint(run.config, inputs)
    return before, fingerprint, bool(results.finished(before)) and not results.difference(results.finished(before), fingerprint)


def _say_what_changed(run: Run, before: dict, fingerprint: dict) -> None:
    """One line for people if the steps of an earlier run are not gone on with."""
    if common.rank() == 0 and (run.folder / "metrics.jsonl").exists():
        kept = "stopped before its first checkpoint is due it leaves what the earlier run had; a --tag of its own keeps both"
        run.say(f"begins anew because {results.difference(before, fingerprint)}; {kept}")


def _begin(run: Run, fingerprint: dict, before: dict) -> dict:
    """Writes down that the stage runs, and clears away what an earlier run left behind for others to see.

    The record of a finished result is kept until this run has one of its own: if it fails or is stopped before it has
    overwritten anything, the result still stands.
    """
    launch = os.environ.get("NANOCHAT_LAUNCH")  # set by the runner, to know its own launches by
    status = {"stage": run.stage, "tag": run.tag, "state": "running", "started": time.time(), "ended": None, "seconds": None,
              "pid": os.getpid(), "launch": launch, "profile": run.config.profile, "identity": run.identity, **fingerprint,
              "config": dataclasses.asdict(run.config), "outputs": {}, "metrics": {}, "headline": "", "error": None}  # fmt: skip
    if results.finished(before) and not run.config.force:
        status["finished"] = results.finished(before)
    if common.rank() == 0:
        if not launch:  # the runner clears it before it starts us, and may have set it since
            (run.folder / "STOP").unlink(missing_ok=True)
        for note in run.folder.glob("failure.*"):
            note.unlink(missing_ok=True)
        results.exchange_curves(run.folder, before, status)
        if run.config.resume == "off":
            (run.folder / "metrics.jsonl").unlink(missing_ok=True)
        common.write_json(run.folder / "status.json", status)
        record("start", run.stage, run.tag, time=status["started"], launch=launch)
    return status


def _outcome(stage: Stage, run: Run, status: dict) -> tuple[str, str, int]:
    """Does the work and says how it ended: state, the headline or the reason, exit code."""
    try:
        run._mirror = _mirror(run)
        with signals.hasty():
            headline = stage.work(run.config, run) or ""
        if common.rank() == 0:
            status["outputs"] = {portable(path): digest(path) for path in run.outputs}
        return "done", headline, EXIT_DONE
    except Interrupted as error:
        return "interrupted", str(error) or "stopped on request", EXIT_INTERRUPTED
    except KeyboardInterrupt:
        return "interrupted", "stopped from the keyboard at once; goes on from its newest checkpoint", EXIT_INTERRUPTED
    except Exception as error:
        reason = explain(error)
        if not isinstance(error, UserError) and reason == own_words(error):
            traceback.print_exc()
        return "failed", _reason_of_all(run, reason), EXIT_FAILED


def _reason_of_all(run: Run, reason: str) -> str:
    """The reason of the process that failed first: the others only see it vanish from the group."""
    if common.world_size() == 1:
        return reason
    if common.rank() != 0:
        print(f"{run.label}: process {common.rank()}: {reason}", file=sys.stderr, flush=True)
        (run.folder / f"failure.{common.rank()}").write_text(f"process {common.rank()}: {reason}", encoding="utf-8")
        return reason
    time.sleep(1.0)  # long enough for another process to have left its note
    return first_failure(run.folder) or reason


def first_failure(folder: Path) -> str:
    """The oldest reason that a process other than the first has left in a stage's folder, "" if none did."""
    notes = sorted(folder.glob("failure.*"), key=lambda p: p.stat().st_mtime)
    return notes[0].read_text(encoding="utf-8") if notes else ""


def _end(run: Run, status: dict, code: int) -> int:
    if run._mirror:
        run._mirror.finish()
    if common.rank() != 0:
        return code
    try:
        status.update(ended=time.time(), seconds=round(time.time() - status["started"], 2), metrics=run.metrics)
        if code == EXIT_DONE:
            status.pop("finished", None)
            results.forget_curves(run.folder)
        common.write_json(run.folder / "status.json", status)
        record("end", run.stage, run.tag, time=status["ended"], **{k: status[k] for k in ("launch", "state", "seconds", "error")})
    except OSError as error:
        run.say(explain(error))
        return EXIT_FAILED
    if not status["launch"]:  # the runner says it in its own line
        run.say(f"{status['headline']} ({status['seconds']:.0f} s)" if code == EXIT_DONE else f"{status['state']}: {status['error']}")
    return code


# ---------------------------------------------------------------------------------------------------------------------
# The base directory


def _claim(run: Run) -> None:
    """Makes the stage's folder. A base directory belongs to one profile: two would overwrite each other's tokenizer."""
    run.folder.mkdir(parents=True, exist_ok=True)
    if common.rank() == 0 and not common.profile_owner():
        common.write_json(common.base_dir() / "profile.json", {"profile": run.config.profile})


@contextlib.contextmanager
def _only_one(run: Run):
    """Holds a lock on the stage's folder while it runs; the operating system lets go of it if the process is killed."""
    if common.rank() != 0:
        yield
        return
    with open(run.folder / "lock", "ab") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"this stage is already running in {run.folder}, by {ledger.holder(run.stage, run.tag)}") from None
        except OSError:
            run.say("this file system has no locks: make sure that nobody else runs this stage here")
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                fcntl.flock(f, fcntl.LOCK_UN)  # closing alone would leave it with a process that was forked and is about to end


def is_running(stage: str, tag: str = "") -> bool:
    """True while a process holds the stage's lock."""
    try:
        with open(stage_folder(stage, tag) / "lock", "rb") as f:
            fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _plain_number(value):
    """A number JSON can hold: tensors and numpy scalars become Python's, what is not finite becomes None."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    value = float(value)
    return value if math.isfinite(value) else None


def _hosts_of_mirror(config) -> tuple[str, ...]:
    """What an online mirror may reach: the one connection that a person can ask a stage for."""
    address = os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai"
    return (urlsplit(address).hostname or "",) if config.wandb == "online" else ()


def _mirror(run: Run):
    from nanochat.pipeline.mirror import open_mirror

    return open_mirror(run) if common.rank() == 0 else None
