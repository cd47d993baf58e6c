"""setup_environment.sh where there is no network: pip is a stand-in that says what pip says there."""

import os
import shutil
import subprocess

PYTHON = """#!/bin/bash
case "$*" in
  "-m venv "*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  "-m pip "*)
    echo "WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError'" >&2
    echo "ERROR: No matching distribution found for torch" >&2
    exit 1
    ;;
esac
"""


def test_without_a_network_the_reason_is_said_without_every_retry(repository, tmp_path):
    shutil.copy(repository / "setup_environment.sh", tmp_path)
    shutil.copytree(repository / "slurm", tmp_path / "slurm")
    shutil.copy(repository / "pyproject.toml", tmp_path)
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    words = ["bash", "setup_environment.sh"]
    done = subprocess.run(words, cwd=tmp_path, env={**os.environ, "PYTHON": str(python)}, text=True, capture_output=True, timeout=60)
    assert done.returncode == 1 and "is this machine online" in done.stderr and "ERROR: No matching" in done.stderr
    assert "WARNING" not in done.stderr and not (tmp_path / ".venv/.installed").exists()
