"""The whole pipeline where there is no network at all but loopback, in one process and in two with their process group."""

import json
import os
import subprocess
import sys

import pytest

from tests import namespace
from tests.test_end_to_end import PROFILE

PROBE = "import socket; socket.create_connection(('192.0.2.7', 443), timeout=5)"


@pytest.fixture(scope="module")
def offline():
    """Runs a command in a namespace with loopback only; skips where there can be none."""
    reason = namespace.unavailable()
    if reason:
        pytest.skip(f"no network namespace can be made here: {reason}")

    def run(words, folder, **environment):
        env = {**os.environ, **environment}
        return subprocess.run(namespace.command(words), cwd=folder, env=env, capture_output=True, text=True, timeout=1500)

    return run


def test_in_the_namespace_nobody_can_be_reached_but_oneself(offline, tmp_path):
    assert "Network is unreachable" in offline([sys.executable, "-c", PROBE], tmp_path).stderr
    own = "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname()); print('reached')"
    assert offline([sys.executable, "-c", own], tmp_path).stdout == "reached\n"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("processes", ["1", "2"])
def test_the_whole_pipeline_needs_no_network(offline, tmp_path, base_dir, repository, processes):
    profile = tmp_path / "toy.toml"
    profile.write_text(PROFILE)
    words = [sys.executable, "-m", "scripts.speedrun", f"--profile={profile}"]
    done = offline(words, tmp_path, PYTHONPATH=str(repository), NPROC=processes)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    states = {p.parent.name: json.loads(p.read_text())["state"] for p in (base_dir / "stages").glob("*/status.json")}
    assert len(states) == 15 and set(states.values()) == {"done"}


@pytest.mark.slow
def test_weights_and_biases_offline_is_written_without_a_network(offline, tmp_path, base_dir, repository):
    profile = tmp_path / "toy.toml"
    profile.write_text(PROFILE)
    words = [sys.executable, "-m", "scripts.tok_train", f"--profile={profile}", "--wandb=offline"]
    done = offline(words, tmp_path, PYTHONPATH=str(repository))
    assert done.returncode == 0 and "is off" not in done.stderr, done.stderr[-4000:]
    assert list((base_dir / "wandb").glob("offline-run-*/*.wandb"))
