"""A small tokenizer, tower and branch for the tests of the dag room."""

import random

import pytest
import torch

from nanochat.dag.predictor import PredictorOnlyModel, TowerConfig
from nanochat.dag.surface import QUESTIONS, SYMBOLS, WORDS
from nanochat.data.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    words = [w for forms in (*SYMBOLS.values(), *WORDS.values()) for w in forms] + ["( (", ") )"]
    draw = random.Random(0)
    texts = [
        draw.choice(QUESTIONS).replace("{}", f"{draw.randint(0, 99)} {draw.choice(words)} ({draw.randint(0, 99)}") for _ in range(2000)
    ]
    return Tokenizer.train([*texts, "Tom has 3 apples and buys some more. How many are there?"], 600)


@pytest.fixture
def make_predictor(tokenizer):
    """A PredictorOnlyModel whose weights are all random (none zero), so that every path counts."""

    def make(**options) -> PredictorOnlyModel:
        torch.manual_seed(options.pop("seed", 0))
        model = PredictorOnlyModel(TowerConfig(tokenizer.vocab_size, tokenizer.bos_id, **{"width": 32, "layers": 2, **options}), tokenizer)
        return _shaken(model).eval()

    return make


def _shaken(model):
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.2)
    return model
