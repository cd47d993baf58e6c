"""A small tokenizer made once, and token shards made from lists of documents."""

import pytest

from nanochat.data.shards import TokenShard, write_part
from nanochat.data.sources import Part
from nanochat.data.tokenizer import Tokenizer

TEXT = [
    "The baker opened her shop early in the morning and put the warm bread into the window.",
    "What is 12 plus 30 times 2? It is 72. What is (4 + 5) * 6? It is 54.",
    "It's raining, said the child; we'll stay at home and read. Don't worry!",
    "Die Bäckerin öffnet früh. Ça va? Żółw. Привет, мир.",
] * 20


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXT, 400)


@pytest.fixture
def make_shard(tmp_path, tokenizer):
    """`make_shard(documents, ...)`: a TokenShard with a part for each list of documents."""

    def make(*parts: list[str]) -> TokenShard:
        folders = []
        for i, documents in enumerate(parts):
            folders.append(tmp_path / f"part{i}")
            write_part(Part(f"part {i}", str(i), lambda d=documents: iter(d)), tokenizer, folders[-1])
        return TokenShard(folders, "test text", "train")

    return make


@pytest.fixture
def documents() -> list[str]:
    """Forty documents, each different, of 1 to 60 words."""
    words = ["the", "baker", "bread", "morning", "window", "child", "home", "read", "rain", "shop"]
    return [" ".join(words[(i * 7 + j * (1 + i % 3)) % 10] for j in range(1 + (i * 17) % 60)) + f" {i}." for i in range(40)]
