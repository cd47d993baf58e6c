"""What untrusted code cannot do: read secrets, open connections, outlive its time, fill memory or disk, fake success."""

import os
import socket
import sys
import time

import pytest

from nanochat.infer import sandbox
from nanochat.infer.sandbox import MOST_OUTPUT, run_sandboxed

WALLED = sandbox.isolation() == "namespaces"
needs_walls = pytest.mark.skipif(not WALLED, reason="this machine offers no namespaces: files and network are open to the code")

# Both forms of isolation where the machine has both: the weaker one must hold its limits, too.
KINDS = ["namespaces", "limits"] if WALLED else ["limits"]


@pytest.fixture(params=KINDS)
def run(request, monkeypatch):
    """run_sandboxed under one kind of isolation, with a short time limit."""
    if request.param == "limits" and WALLED:
        monkeypatch.setattr(sandbox, "_walls", lambda: (False, False))

    def run(code, **options):
        result = run_sandboxed(code, **{"timeout_s": 2.0, **options})
        assert result.isolation == request.param
        return result

    return run


def test_a_program_that_reaches_its_last_line_is_ok(run):
    result = run("import sys, hashlib, math\nprint('out ä', math.sqrt(16), __name__)\nprint('err', file=sys.stderr)")
    assert (result.ok, result.stdout, result.error, result.timed_out) == (True, "out ä 4.0 __main__\n", None, False)


@pytest.mark.parametrize(
    ("code", "error"),
    [("assert 1 == 2", "AssertionError"), ("def f(: pass", "SyntaxError"), ("1/0", "ZeroDivisionError"), ("input()", "EOFError"),
     ("raise ValueError('no')", "ValueError: no"), ("open('/nowhere')", "FileNotFoundError"), ("x = '\ud800'", "Error"),
     ("import ctypes; ctypes.string_at(0)", "SIGSEGV")],
)  # fmt: skip
def test_a_failure_is_named_in_one_line(run, code, error):
    result = run(code)
    assert not result.ok and not result.timed_out and error in result.error and "\n" not in result.error


@pytest.mark.parametrize("code", ["raise SystemExit(0)", "exit()", "import os; os._exit(0)", "import sys; sys.exit(0)\nassert False"])
def test_leaving_before_the_last_line_is_not_success(run, code):
    result = run(code)
    assert not result.ok and result.error


@pytest.mark.parametrize(
    "code", ["while True: pass", "import time; time.sleep(60)", "import signal\nsignal.signal(15, lambda *a: 0)\nwhile True: pass"]
)
def test_an_endless_program_is_ended(run, code):
    started = time.monotonic()
    result = run(code, timeout_s=1.0)
    assert result.timed_out and not result.ok and "stopped after 1 s" in result.error
    assert time.monotonic() - started < 20


def test_memory_is_bounded(run):
    result = run("x = bytearray(1 << 30)", memory_mb=128)
    assert not result.ok and result.error == "MemoryError"
    assert run("x = bytearray(16 << 20)", memory_mb=128).ok


def test_output_is_bounded(run):
    result = run("while True: print('x' * 10000)", timeout_s=10.0)
    assert not result.ok and len(result.stdout) <= MOST_OUTPUT
    assert run("print('x' * 200_000)").ok


def test_files_are_bounded(run):
    assert not run("f = open('big', 'wb')\nwhile True: f.write(bytes(1 << 20))", timeout_s=10.0).ok


@needs_walls
@pytest.mark.parametrize(
    "code", ["import os\nwhile True: os.fork()", "import threading\nwhile True: threading.Thread(target=input).start()"]
)
def test_no_process_and_no_thread_is_started(code):
    result = run_sandboxed(code, timeout_s=5.0)
    assert not result.ok and not result.timed_out and ("BlockingIOError" in result.error or "can't start new thread" in result.error)


def test_nothing_of_it_stays_on_disk(run, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert run("open('a', 'w').write('x')").ok
    assert list(tmp_path.iterdir()) == []


def test_the_environment_is_empty(run, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    result = run("import os; print(dict(os.environ))")
    assert result.ok and "hunter2" not in result.stdout and "HOME" not in result.stdout


@needs_walls
def test_a_secret_in_a_file_cannot_be_read(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    secret.chmod(0o644)
    result = run_sandboxed(f"print(open({str(secret)!r}).read())")
    assert not result.ok and "hunter2" not in result.stdout and "FileNotFoundError" in result.error
    home = os.path.expanduser("~")
    listing = run_sandboxed(f"import os; print(os.listdir({home!r}))")
    outside = set(os.listdir(home)) - {os.path.relpath(sys.base_prefix, home).split("/")[0]}
    assert not any(repr(name) in listing.stdout for name in outside)


@needs_walls
def test_files_outside_its_own_folder_cannot_be_written(tmp_path):
    for path in ("/usr/x", "/x", os.path.join(sys.base_prefix, "lib", "x"), str(tmp_path / "x")):
        assert not run_sandboxed(f"open({path!r}, 'w')").ok
        assert not os.path.exists(path)


@needs_walls
def test_no_connection_can_be_opened():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        result = run_sandboxed(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), timeout=2)")
    assert not result.ok and "OSError" in result.error


@needs_walls
def test_other_processes_can_be_neither_seen_nor_ended():
    result = run_sandboxed(f"import os, signal\nprint(os.getpid(), os.path.exists('/proc/1'))\nos.kill({os.getpid()}, signal.SIGTERM)")
    assert result.stdout == "1 False\n" and "ProcessLookupError" in result.error


@needs_walls
@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")
def test_root_does_not_stay_root():
    result = run_sandboxed("import os; print(os.getuid(), os.geteuid(), os.getgroups()); os.setuid(0)")
    assert result.stdout == "65534 65534 []\n" and "PermissionError" in result.error


def test_senseless_limits_are_refused():
    with pytest.raises(ValueError, match="must be positive"):
        run_sandboxed("", timeout_s=0)
