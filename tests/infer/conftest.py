"""A tokenizer of single bytes, tiny random GPTs, and a GPT whose weights are set so that it says what it is told to."""

import pytest
import torch

from nanochat.data.tokenizer import Tokenizer
from nanochat.model.gpt import GPT
from nanochat.model.presets import make_config

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """One token per byte, then the specials."""
    return Tokenizer({bytes([i]): i for i in range(256)})


@pytest.fixture
def make_model(tokenizer):
    """A tiny GPT with random weights everywhere (a fresh one has zeros in places), so that every path counts."""

    def make(seed: int = 0, **overrides) -> GPT:
        torch.manual_seed(seed)
        model = GPT(make_config("tiny", **{"vocab_size": tokenizer.vocab_size, **overrides}))
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p) * 0.2)
        return model.eval()

    return make


@pytest.fixture
def say(tokenizer):
    """`say("abc", "cd")`: a GPT that after a says b, after b says c, after c says d.

    In a text `{name}` is the special token <|name|>. One layer, which a fresh GPT leaves idle; embeddings are unit vectors and
    the head maps each to the following token, so that p(following) = e^15 / (e^15 + V - 1) > 0.9999.
    """

    def make(*texts: str, **overrides) -> GPT:
        model = GPT(make_config(1, **{"aspect_ratio": 272, "head_dim": 16, "vocab_size": tokenizer.vocab_size, **overrides}))
        with torch.no_grad():
            model.embedding.weight.copy_(torch.eye(*model.embedding.weight.shape))
            model.head.weight.zero_()
            for text in texts:
                ids = tokens(tokenizer, text)
                for token, following in zip(ids, ids[1:], strict=False):
                    model.head.weight[:, token] = 0.0
                    model.head.weight[following, token] = 10.0
        return model.eval()

    return make


def tokens(tokenizer, text: str) -> list[int]:
    """Token ids of a text with `{special}` marks."""
    ids = []
    for i, part in enumerate(text.replace("}", "{").split("{")):
        ids += [tokenizer.special(f"<|{part}|>")] if i % 2 else tokenizer.encode(part)
    return ids
