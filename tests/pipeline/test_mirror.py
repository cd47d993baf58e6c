"""The Weights & Biases mirror, with the real package and its service."""

import os
import signal
from pathlib import Path

from nanochat import common
from tests.pipeline.helpers import wait_for


def test_a_mirror_whose_service_is_ended_first_costs_one_line_and_writes_nothing_at_home(start, base_dir, tmp_path, monkeypatch):
    for name in [*common.CACHES, *(name for name in os.environ if name.startswith("XDG_"))]:
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    child = start("slow", "--wandb=offline", "--steps=400", HOME=str(home))  # as scancel does, which signals every process of the job
    wait_for(lambda: (base_dir / "stages/slow/metrics.jsonl").exists())
    (service,) = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
    os.kill(int(service), signal.SIGTERM)
    os.kill(child.pid, signal.SIGTERM)
    said = child.communicate(timeout=60)[1]
    assert child.returncode == 75 and "Traceback" not in said and said.count("Weights & Biases") <= 1, said
    assert not list(home.rglob("*")) and list((base_dir / "cache/wandb/logs").iterdir())
