"""A Slurm cluster for the whole session, a copy of this checkout on it, and small profiles to run there."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.slurm.lab import ACCOUNT, PARTITION, Lab, lacking

# One base model of some seconds and everything after it, as small as it can be.
PROFILE = """
stages = ["tok_train", "base_train", "dag_train", "mid_train", "chat_sft", "dag_eval.sft", "report"]
[common]
text = "embedded"
device_batch = 4
[tok_train]
vocab_size = 900
max_chars = 200_000
[base_train]
depth = 2
aspect_ratio = 32
head_dim = 32
sequence_len = 128
steps = {steps}
max_epochs = 1000
eval_every = 0
eval_tokens = 1024
log_every = 1
save_every = {save_every}
lr_scale = {lr_scale}
[dag_train]
steps = 10
width = 32
layers = 2
eval_items = 5
log_every = 1
[mid_train]
steps = 6
eval_passes = 1
eval_tokens = 1024
arithmetic = 100
mixture = ["facts:100"]
log_every = 1
[chat_sft]
steps = 5
eval_passes = 1
arithmetic = 50
mixture = ["identity:100"]
log_every = 1
[dag_eval]
items = 5
["dag_eval.sft"]
source = "sft"
"""


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """The running cluster; skips where it cannot run."""
    reason = lacking()
    if reason:
        pytest.skip(reason)
    cluster = Lab(tmp_path_factory.mktemp("lab")).start()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def cluster_checkout(tmp_path_factory) -> Path:
    """The tracked files, unmodified, with this Python as their environment and the settings of the lab as .env.local."""
    root = tmp_path_factory.mktemp("cluster") / "checkout"
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        if (REPOSITORY / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, root / name)
    (root / ".venv").mkdir()
    for part in Path(sys.prefix).iterdir():
        (root / ".venv" / part.name).symlink_to(part)
    if not (root / ".venv" / ".installed").exists():
        (root / ".venv" / ".installed").touch()
    (root / ".env.local").write_text(f"SITE_ACCOUNT={ACCOUNT}\nSITE_PARTITION={PARTITION}\nMAIL_USER=me@example.org\n")
    return root


class Site:
    """What a person on the login node can do."""

    def __init__(self, lab: Lab, checkout: Path, folder: Path):
        self.lab, self.checkout, self.folder = lab, checkout, folder
        self.folder.mkdir(exist_ok=True)

    def profile(self, name: str = "toy", steps: int = 8, save_every: int = 0, lr_scale: float = 1.0, **lines: str) -> Path:
        """Writes a profile; a keyword replaces the line of that key, at the top level or `text`."""
        text = PROFILE.format(steps=steps, save_every=save_every, lr_scale=lr_scale)
        for key, line in lines.items():
            text = "\n".join(line if old.startswith(f"{key} =") else old for old in text.splitlines())
        path = self.folder / f"{name}.toml"
        path.write_text(text)
        return path

    def base(self, name: str, like: Path | None = None) -> Path:
        """A base directory, new or with what is in another."""
        path = self.folder / name
        if like:
            shutil.copytree(like, path)
            (path / "profile.json").unlink()  # it may be used with another profile
        return path

    def environment(self, base: Path, profile: Path | str) -> dict[str, str]:
        return {"NANOCHAT_BASE_DIR": str(base), "NANOCHAT_PROFILE": str(profile), "OMP_NUM_THREADS": "1"}

    def sbatch(self, *words, base: Path, profile: Path | str) -> str:
        """Submits by hand; the job's id."""
        shell = ". slurm/env.sh && exec sbatch --parsable " + '"$@"'
        done = self.lab.run("bash", "-c", shell, "sbatch", *words, cwd=self.checkout, **self.environment(base, profile))
        return done.stdout.strip().split(";")[0]

    def submit(self, *words, base: Path, profile: Path | str, check: bool = True, **settings: str) -> subprocess.CompletedProcess:
        """Runs slurm/submit.sh."""
        environment = {**self.environment(base, profile), **settings}
        return self.lab.run("bash", "slurm/submit.sh", *words, cwd=self.checkout, check=check, **environment)

    def log(self, job: str) -> str:
        """What the job has said so far."""
        return "".join(path.read_text() for path in (self.checkout / "logs").glob(f"*_{job}.out"))


@pytest.fixture(scope="session")
def site(lab, cluster_checkout, tmp_path_factory) -> Site:
    return Site(lab, cluster_checkout, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="session")
def prepared(site) -> Path:
    """A base directory in which the tokenizer is trained already."""
    base = site.base("prepared")
    environment = {**os.environ, **site.environment(base, site.profile())}
    subprocess.run([".venv/bin/python", "-m", "scripts.speedrun", "--only=tok_train"], cwd=site.checkout, env=environment, check=True)
    return base


@pytest.fixture(autouse=True)
def evidence(request, lab):
    """After a failed test the controller's last words are shown."""
    yield
    if getattr(request.node, "failed", False):
        print((lab.folder / "log" / "slurmctld.log").read_text()[-3000:])


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    item.failed = outcome.get_result().failed


def status(base: Path, label: str) -> dict:
    """status.json of a stage, {} before it began."""
    path = base / "stages" / label / "status.json"
    return json.loads(path.read_text()) if path.exists() else {}


def curve(base: Path, label: str) -> dict[int, float]:
    """Loss by step."""
    path = base / "stages" / label / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def reached(base: Path, label: str, step: int, seconds: float = 120) -> None:
    """Waits until a stage has logged a step."""
    end = time.time() + seconds
    while max(curve(base, label), default=0) < step:
        assert time.time() < end, f"{label} did not reach step {step}"
        time.sleep(0.2)
