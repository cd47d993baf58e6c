"""Tiny GPTs whose parameters are all random: a fresh model has zeros in places that would hide mistakes."""

import pytest
import torch

from nanochat.model.gpt import GPT
from nanochat.model.presets import make_config

torch.set_num_threads(1)


@pytest.fixture
def make_model():
    """`make_model(seed, **overrides of the tiny preset)`."""

    def make(seed: int = 0, **overrides) -> GPT:
        torch.manual_seed(seed)
        model = GPT(make_config("tiny", **overrides))
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p) * 0.2)
        return model

    return make


@pytest.fixture
def ids():
    """(3, 20) token ids of the tiny vocabulary."""
    return torch.randint(0, 500, (3, 20), generator=torch.Generator().manual_seed(1))
