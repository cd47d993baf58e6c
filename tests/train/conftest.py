"""A run without a pipeline around it, and batches that count themselves."""

import dataclasses

import pytest
import torch

from nanochat import common
from nanochat.config import StageConfig
from nanochat.data.tokenizer import Tokenizer
from nanochat.model.gpt import GPT
from nanochat.model.presets import make_config
from nanochat.pipeline.stage import Run, stage_folder
from nanochat.train.settings import TrainSettings

torch.set_num_threads(1)
VOCAB = 265  # bytes and specials


@dataclasses.dataclass
class Config(TrainSettings, StageConfig):
    pass


class CountingBatches:
    """Batch n is a function of n alone: `rows` rows of T tokens that a small model can learn to continue."""

    def __init__(self, rows: int = 4, T: int = 16, epoch_length: int = 1000):
        self.rows, self.T, self.epoch_length, self.n = rows, T, epoch_length, 0
        self.tokens_per_step = rows * T

    @property
    def epoch(self) -> int:
        return self.n // self.epoch_length

    @property
    def progress(self) -> float:
        return self.n % self.epoch_length / self.epoch_length

    def __iter__(self):
        return self

    def __next__(self):
        g = torch.Generator().manual_seed(self.n)
        self.n += 1
        start, step = torch.randint(0, 200, (self.rows, 1), generator=g), torch.randint(1, 3, (self.rows, 1), generator=g)
        ids = (start + step * torch.arange(self.T + 1)) % 200
        return ids[:, :-1], ids[:, 1:]

    def state_dict(self) -> dict:
        return {"n": self.n}

    def load_state_dict(self, state: dict) -> None:
        self.n = state["n"]


@pytest.fixture(scope="session")
def byte_tokenizer() -> Tokenizer:
    """One token per byte, then the specials."""
    return Tokenizer({bytes([i]): i for i in range(256)})


@pytest.fixture
def tokenizer(byte_tokenizer, base_dir) -> Tokenizer:
    """The same, saved where stages look for it."""
    byte_tokenizer.save(base_dir / "tokenizer")
    return byte_tokenizer


@pytest.fixture
def make_gpt():
    """A fresh tiny GPT over bytes."""

    def make(seed: int = 0, **overrides) -> GPT:
        torch.manual_seed(seed)
        return GPT(make_config("tiny", **{"vocab_size": VOCAB, "sequence_len": 16, **overrides}))

    return make


@pytest.fixture
def make_run(base_dir):
    """`make_run(steps=20, ...)`: a Run of base_train on this CPU with these settings, as the stage contract would make it."""

    def make(stage: str = "base_train", identity: str = "run 1", **settings) -> Run:
        config = Config(**{"log_every": 1, "eval_every": 0, "save_minutes": 0.0, **settings})
        folder = stage_folder(stage)
        folder.mkdir(parents=True, exist_ok=True)
        compute = common.Compute(torch.device("cpu"), torch.float32, 0, 1)
        return Run(stage, "", folder, config, identity=identity, compute=compute)

    return make
