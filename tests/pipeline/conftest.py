"""A profile of toy stages for the tests of this room."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nanochat.pipeline import prefetch
from tests.pipeline.helpers import TOY, piped
from tests.pipeline.hostile import serving


@pytest.fixture
def profile(tmp_path) -> Path:
    """A profile with three toy stages, one of them under a tag too."""
    path = tmp_path / "toy.toml"
    path.write_text('stages = ["numbers", "total", "total.again", "slow"]\n[numbers]\ncount = 4\n[slow]\nsteps = 3\npause = 0.01\n')
    return path


@pytest.fixture
def status(base_dir):
    """Reads a stage's status.json by its label."""
    return lambda label: json.loads((base_dir / "stages" / label / "status.json").read_text())


@pytest.fixture
def start(repository, profile):
    """Starts a toy stage as a process of its own: `start("slow", "--steps=9")`; what is still alive at the end is killed."""
    children = []

    def begin(stage: str, *argv: str, processes: int = 1, **environment: str) -> subprocess.Popen:
        launcher = [] if processes == 1 else ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"]
        command = [sys.executable, "-m", *launcher, f"{TOY}.{stage}", f"--profile={profile}", *argv]
        children.append(piped(command, repository, **environment))
        return children[-1]

    yield begin
    for child in children:
        if child.poll() is None:
            child.kill()
        child.communicate()


@pytest.fixture
def server(monkeypatch):
    """A hostile server, see tests/pipeline/hostile.py; retries come at once."""
    monkeypatch.setattr(prefetch, "BACKOFF", 0.01)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving() as state:
        yield state
