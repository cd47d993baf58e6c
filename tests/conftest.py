"""What every test gets: a base directory of its own, one thread, no network libraries calling home, and the real data if present."""

import os
from pathlib import Path

# Before torch is imported anywhere: many small tests on few cores are fastest with one thread each, in children too.
os.environ.update({"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"})
os.environ.update({"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "WANDB_MODE": "offline"})

import pytest
from hypothesis import settings

settings.register_profile("project", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("project")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def base_dir(tmp_path, monkeypatch) -> Path:
    """A fresh `NANOCHAT_BASE_DIR` for each test, and none of the settings of the shell that started pytest."""
    for name in ("NANOCHAT_DATA_DIR", "NANOCHAT_PROFILE", "NANOCHAT_SETTLED", "NPROC", "RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "base"
    monkeypatch.setenv("NANOCHAT_BASE_DIR", str(folder))
    return folder


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout, for tests that run its scripts."""
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of original data files: `NANOCHAT_TEST_DATA`, else `../shared/data` beside the checkout; skips if absent."""
    folder = Path(os.environ.get("NANOCHAT_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"needs real data files: {folder} is not there (set NANOCHAT_TEST_DATA)")
    return folder
