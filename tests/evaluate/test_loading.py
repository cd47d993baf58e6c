"""scripts.bench --loader: its figures are there, are right for text whose rows are known, and say what cannot be read."""

import json

import numpy as np
import pytest

from nanochat.data.shards import TokenShard, write_tokens
from nanochat.evaluate import loading
from scripts import bench


def test_reading_random_and_given_text_is_timed(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(loading, "SECONDS", 0.01)
    monkeypatch.setattr(loading, "CASES", ((64, 2, 1), (64, 2, 4)))
    monkeypatch.setattr(loading, "COPIES", 1)
    monkeypatch.setattr(loading.RandomDocuments, "__len__", lambda self: 200)
    write_tokens([[0, *range(1, 50)]] * 80, 64, tmp_path / "mine")
    for given, documents in ((), 200), ((f"--shards={tmp_path}",), 80):
        assert bench.main(["--loader", "--device=cpu", *given]) == 0
        found = json.loads(capfd.readouterr().out.splitlines()[-1])
        assert found["documents"] == documents and found["tokens_per_s"] == min(case["tokens_per_s"] for case in found["cases"]) > 0
        assert all(case["dropped"] == case["padded"] == 0 for case in found["cases"])
    assert bench.main(["--loader", f"--shards={tmp_path / 'none'}"]) == 2
    assert "no tokenised text" in capfd.readouterr().err


def test_packing_is_measured(tmp_path):
    write_tokens([np.arange(10)] * 50 + [np.arange(58)], 64, tmp_path / "text")
    found = loading.packing(TokenShard([tmp_path / "text"], "text", "train"), T=19)
    assert found["dropped"] == found["padded"] == found["cut"] == 0
    assert found["pieces_per_row"] == pytest.approx(53 / 28) and found["repeated_bos"] == pytest.approx(2 / (28 * 20))
