"""Ctrl-C in any script, also before its own code runs, is one line and the exit code that a shell expects."""

import os
import signal
import subprocess
import sys

import pytest

PRESSED = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"


@pytest.mark.parametrize("script", ["base_train", "chat_eval", "bench"])
def test_ctrl_c_while_torch_is_imported_is_one_line(repository, tmp_path, script):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(PRESSED)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", f"scripts.{script}", "--profile=embedded"]
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stderr == f"{script}: interrupted\n" and done.stdout == ""
    assert done.returncode in (130, -signal.SIGINT)  # a shell calls both 130


def test_other_errors_keep_their_traceback(repository, tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise RuntimeError('broken')\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "scripts.base_train"]
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, timeout=60)
    assert "Traceback" in done.stderr and "RuntimeError: broken" in done.stderr and done.returncode == 1
