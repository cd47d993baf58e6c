"""Small helpers for the tests of this room."""

import os
import subprocess
import time
from pathlib import Path

TOY = "tests.pipeline.toy"


def piped(command: list[str], folder: Path, **environment: str) -> subprocess.Popen:
    """Starts a command in `folder` with more environment; its stdout and stderr are pipes of text."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env={**os.environ, **environment}, **pipes)


def wait_for(condition, seconds: float = 60.0):
    """Waits until `condition()` is true and gives its value; fails after `seconds`."""
    end = time.time() + seconds
    while time.time() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s in vain")
