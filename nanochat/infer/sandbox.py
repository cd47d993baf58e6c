"""Runs code that a model wrote, in another process, behind the strongest walls this machine offers.

    result = run_sandboxed("assert 1 + 1 == 2", timeout_s=5, memory_mb=256)
    result.ok, result.stdout, result.error, result.timed_out, result.isolation

Walls, by `result.isolation`:

    namespaces   The code sees a file system of its own with the Python installation read-only and an empty /tmp, no network
                 (not even loopback), no process but itself. Needs Linux user namespaces, or root.
    limits       The code is a process with an empty environment in an empty folder, but it can read what this user can read and
                 reach what this machine can reach: use it for code you would run yourself.

Both bound wall-clock time, processor time, memory, size of files, and forbid starting processes and threads. Neither is a
virtual machine: a flaw in the kernel is a way out.
"""

import functools
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

LAUNCHER = Path(__file__).with_name("sandbox_launcher.py")
MOST_OUTPUT = 64 * 1024  # bytes of stdout that are kept
GRACE_S = 5.0  # how much longer than the code's own limit its launcher may take
NOBODY = 65534

# The first line of stdin is a secret that says "I came to the last line" when it comes back on file descriptor `done`.
# A program that exits early, whatever its exit code, has not.
RUNNER = """\
import os, sys
done = int(sys.argv.pop())
secret, _, code = sys.stdin.buffer.read().partition(b"\\n")
exec(compile(code, "program.py", "exec"), {"__name__": "__main__", "__builtins__": __builtins__})
sys.stdout.flush()
os.write(done, secret)
"""

# Imported once to see which shared libraries a Python installation pulls in from elsewhere.
COMMON_MODULES = "bisect, collections, ctypes, datetime, decimal, hashlib, heapq, json, math, random, re, statistics, string, zlib"


@dataclass(frozen=True)
class Result:
    """`ok`: the code ran to its last line. `stdout`: at most MOST_OUTPUT bytes of it. `error`: one line, None if ok."""

    ok: bool
    stdout: str
    error: str | None
    timed_out: bool
    isolation: str


def run_sandboxed(code: str, *, timeout_s: float = 5.0, memory_mb: int = 256) -> Result:
    """Runs `code` as a Python program of its own and says how it went. Never raises because of what the code does.

    `timeout_s`: seconds of wall clock; `memory_mb`: MiB of address space (Python itself takes about 30).
    """
    if timeout_s <= 0 or memory_mb <= 0:
        raise ValueError(f"timeout_s and memory_mb must be positive, not {timeout_s} and {memory_mb}")
    walls, drop = _walls()
    return _run(code, timeout_s, memory_mb, walls, drop)


def isolation() -> str:
    """What `run_sandboxed` offers on this machine: "namespaces" or "limits"."""
    return "namespaces" if _walls()[0] else "limits"


@functools.cache
def _walls() -> tuple[bool, bool]:
    """(namespaces, become nobody): the first combination in which a program runs at all. Root should not stay root."""
    trial = f"import {COMMON_MODULES}"
    root = os.geteuid() == 0
    for walls, drop in ((True, root), (False, root), (False, False)):
        if _run(trial, 20.0, 512, walls, drop).ok:
            return walls, drop
    return False, False


@functools.cache
def _read_only() -> list[str]:
    """Files and folders the code may read: the system's programs and libraries, and the Python installation.

    Not its whole prefix, which may be a home folder; and of libraries elsewhere (module trees of a cluster) only the files.
    """
    prefix = Path(sys.base_prefix)
    paths = ["/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", *(str(prefix / name) for name in ("bin", "lib", "lib64"))]
    probe = f"import {COMMON_MODULES}\nfor line in open('/proc/self/maps'): print(line.split(maxsplit=5)[-1].strip())"
    maps = subprocess.run([_python(), "-I", "-c", probe], capture_output=True, text=True, env=_environment()).stdout
    libraries = {line for line in maps.splitlines() if ".so" in line and line.startswith("/")}
    inside = tuple(os.path.realpath(p) + "/" for p in paths)
    paths += sorted(p for p in libraries if not os.path.realpath(p).startswith(inside))
    return [p for p in paths if os.path.exists(p)]


def _python() -> str:
    """The interpreter itself, not a virtual environment's link to it: the code gets the standard library and no more."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def _environment() -> dict[str, str]:
    """Empty, but for where the loader finds the interpreter's own libraries on machines that need it."""
    return {k: v for k, v in os.environ.items() if k == "LD_LIBRARY_PATH"} | {"PYTHONIOENCODING": "utf-8"}


def _run(code: str, timeout_s: float, memory_mb: int, walls: bool, drop: bool) -> Result:
    folder = tempfile.mkdtemp(prefix="sandbox-")
    try:
        if drop:
            os.chown(folder, NOBODY, NOBODY)
        with open(os.path.join(folder, ".out"), "w+b") as out, open(os.path.join(folder, ".err"), "w+b") as err:
            os.unlink(out.name), os.unlink(err.name)
            ended, finished = _launch(code, timeout_s, memory_mb, walls, drop, folder, out, err)
            return _result(ended, finished, timeout_s, walls, out, err)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _launch(code, timeout_s, memory_mb, walls, drop, folder, out, err) -> tuple[int, bool]:
    """Starts the launcher, waits, ends what is left of its session; (its exit code, whether the code reached its end)."""
    secret = secrets.token_hex(16).encode()
    done_read, done_write = os.pipe()
    order = {"walls": walls, "drop": NOBODY if drop else None, "folder": folder, "seconds": timeout_s, "memory": memory_mb << 20,
             "read_only": _read_only() if walls else [], "command": [_python(), "-I", "-S", "-c", RUNNER, str(done_write)],
             "environment": _environment()}  # fmt: skip
    command = [_python(), "-I", "-S", str(LAUNCHER), json.dumps(order)]
    with tempfile.TemporaryFile() as program, open(done_read, "rb") as done:
        program.write(secret + b"\n" + code.encode("utf-8", "surrogatepass"))
        program.seek(0)
        streams = {"stdin": program, "stdout": out, "stderr": err, "pass_fds": [done_write]}
        process = subprocess.Popen(command, cwd=folder, env=_environment(), start_new_session=True, **streams)
        os.close(done_write)
        try:
            ended = process.wait(timeout_s + GRACE_S)
        except subprocess.TimeoutExpired:
            ended = 124
        finally:
            _end_session(process)
        os.set_blocking(done_read, False)
        return ended, (done.read(len(secret) + 1) or b"") == secret


def _end_session(process: subprocess.Popen) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # nothing of it is left
    process.wait()


def _result(ended: int, finished: bool, timeout_s: float, walls: bool, out, err) -> Result:
    out.seek(0)
    stdout = out.read(MOST_OUTPUT).decode("utf-8", "replace")
    err.seek(max(0, err.seek(0, os.SEEK_END) - MOST_OUTPUT))
    lines = err.read().decode("utf-8", "replace").strip().splitlines()
    timed_out, ok = ended == 124, ended == 0 and finished
    if timed_out:
        error = f"stopped after {timeout_s:g} s"
    elif ok:
        error = None
    else:
        error = (lines[-1].strip()[:500] if lines else "") or "it ended before its last line"
    return Result(ok, stdout, error, timed_out, "namespaces" if walls else "limits")
