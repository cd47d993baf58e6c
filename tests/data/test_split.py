"""The decision for many expressions at once is the decision for each."""

import numpy as np

from nanochat.data.split import held_out, held_out_rows


def test_many_at_once_are_decided_as_each_alone_wherever_the_gaps_are():
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("0123456789.+-*/()"), size=rng.integers(1, 60))) for _ in range(400)]
    rows = np.zeros((len(texts), 90), dtype=np.uint8)
    for row, text in zip(rows, texts, strict=True):
        row[np.sort(rng.choice(90, len(text), replace=False))] = list(text.encode())
    expected = [held_out(text) for text in texts]
    assert held_out_rows(rows).tolist() == expected and 0 < sum(expected) < len(texts)
