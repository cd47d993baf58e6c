"""Runs a plan: one stage after the other, each in its own process, one line for each, until all are done or one is not."""

import ctypes
import math
import os
import signal
import subprocess
import time
import uuid

from nanochat import common
from nanochat.pipeline import results
from nanochat.pipeline.inputs import asked_to_stop
from nanochat.pipeline.ledger import read_status
from nanochat.pipeline.plan import Finding, Step, look
from nanochat.pipeline.signals import STOPPING
from nanochat.pipeline.stage import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, first_failure

EXIT_CODES = {"done": EXIT_DONE, "skipped": EXIT_DONE, "interrupted": EXIT_INTERRUPTED, "missing": EXIT_USAGE}


def run_plan(steps: list[Step], say=print) -> int:
    """Runs what is not done. Gives the exit code: 0 all done, 1 a stage failed, 2 an input is missing, 75 interrupted."""
    with Launcher() as launcher:
        for number, step in enumerate(steps, 1):
            finding, seconds = look(step), None
            if finding.state == "done":
                results.reinstate(step.stage.name, step.tag)
                finding = Finding("skipped", finding.note)
            elif finding.state not in ("missing", "running"):
                finding, seconds = (_before_it_began(), None) if asked_to_stop() else launcher.run(step)
            took = "" if seconds is None else common.duration(seconds)
            say(f"{number:>2}/{len(steps)} {step.label:<16} {finding.state:<11} {took:>12}  {finding.note}")
            code = EXIT_CODES.get(finding.state, EXIT_FAILED)
            if code == EXIT_DONE and launcher.stopped and number < len(steps):
                code = EXIT_INTERRUPTED
            if code != EXIT_DONE:
                last = steps[-1]
                if finding.state == "failed" and step is not last and last.stage.name == "report":
                    launcher.run(last)  # a report matters most when something went wrong
                return code
    return EXIT_DONE


class Launcher:
    """Starts stages and hands requests to stop on to the one that runs.

    A stage lives in a session of its own, so that Ctrl-C reaches it through us, once. The first request leaves a stop file,
    which every process of the stage sees, also under torchrun, and a SIGTERM where there is only one process; the second is
    SIGINT, "now"; the third kills. If we are killed ourselves, the stage gets a SIGTERM from the operating system.

    A SIGTERM or SIGUSR1 that comes again within seconds is the same request: scancel sends it to every process of a job, and
    the job's script hands it on as well.
    """

    REPEAT_SECONDS = 5.0

    def __init__(self):
        self.requests = 0
        self._last: tuple[int, float] = (0, -math.inf)
        self._child: subprocess.Popen | None = None
        self._step: Step | None = None
        self._before: dict = {}

    @property
    def stopped(self) -> bool:
        """True once a stop was requested: no further stage is to start."""
        return self.requests > 0

    def __enter__(self):
        self._before = {number: signal.getsignal(number) for number in STOPPING}
        for number, handler in self._before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, self._request)
        return self

    def __exit__(self, *exc):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def run(self, step: Step) -> tuple[Finding, float]:
        """Runs one stage to its end and reads from its status how that was."""
        launch, started = uuid.uuid4().hex, time.time()
        stop_file = step.folder / "STOP"
        stop_file.unlink(missing_ok=True)
        environment = {**os.environ, "NANOCHAT_LAUNCH": launch, "PYTHONUNBUFFERED": "1"}
        if step.processes > 1:  # else torchrun gives each process one thread, and a page of warning
            environment.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // step.processes)))
        self._step = step
        self._child = subprocess.Popen(
            step.command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=2,  # our stdout is for the line per stage
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        if self.stopped:  # a request came while it was being started
            self._ask()
        code = self._child.wait()
        self._child = None
        stop_file.unlink(missing_ok=True)
        return self._read(step, launch, code, started), time.time() - started

    def _request(self, number: int, frame) -> None:
        before, self._last = self._last, (number, time.monotonic())
        if number != signal.SIGINT and before[0] == number and self._last[1] - before[1] < self.REPEAT_SECONDS:
            return
        self.requests += 1
        if self._child is not None:
            self._ask()

    def _ask(self) -> None:
        if self.requests == 1:
            os.write(2, f"stop requested: {self._step.label} saves at its next safe point\n".encode())
            self._step.folder.mkdir(parents=True, exist_ok=True)
            (self._step.folder / "STOP").touch()
        if self.requests > 2:
            os.killpg(self._child.pid, signal.SIGKILL)
        elif not self._step.distributed or self.requests == 2:
            self._child.send_signal(signal.SIGTERM if self.requests == 1 or self._step.distributed else signal.SIGINT)

    def _read(self, step: Step, launch: str, code: int, started: float) -> Finding:
        status = read_status(step.stage.name, step.tag) or {}
        if status.get("launch") != launch:
            if self.stopped or asked_to_stop():
                return _before_it_began()
            return Finding("failed", f"it ended with {_ending(code)} before it began; its message is above")
        if status["state"] == "running":  # it could not write its own end
            state, reason = "failed", first_failure(step.folder) or f"it ended with {_ending(code)}"
            if self.stopped or asked_to_stop():
                state, reason = "interrupted", "stopped before it could save"
            status.update(state=state, error=reason, ended=time.time(), seconds=round(time.time() - started, 2))
            common.write_json(step.folder / "status.json", status)
        return Finding(status["state"], (status["headline"] if status["state"] == "done" else status["error"]) or "")


def _before_it_began() -> Finding:
    stop = asked_to_stop()
    return Finding("interrupted", f"before it began: {stop} is there; remove it to go on" if stop else "before it began")


def _ending(code: int) -> str:
    if code == -signal.SIGKILL:
        return "SIGKILL (somebody killed it, or the machine ran out of memory)"
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _die_with_parent() -> None:
    """In the new process: ask Linux for a SIGTERM when the runner dies, so that `kill -9` leaves no stage behind unseen."""
    PR_SET_PDEATHSIG = 1
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


try:
    _libc = ctypes.CDLL(None)
    _libc.prctl  # noqa: B018  (a look-up: absent outside Linux)
except (OSError, AttributeError):
    _libc = None
