"""Passes with different numbers of targets together have the mean over all targets."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from nanochat.train.exchange import processes
from nanochat.train.weighing import weighed, weights
from tests.processes import in_processes


def scalars(counts) -> list[torch.Tensor]:
    return [{"targets": torch.tensor(n)} for n in counts]


def of_targets(found: list[dict]) -> list[float]:
    return [float(w["targets"]) for w in found]


@given(st.integers(1, 10**7), st.integers(1, 20))
def test_equal_passes_weigh_exactly_one(n, passes):
    assert of_targets(weights(scalars([n] * passes))) == [1.0] * passes


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=8))
def test_the_weighted_mean_of_the_means_is_the_mean_over_all_targets(counts):
    losses = [0.5 * i for i in range(len(counts))]
    found = sum(w * loss for w, loss in zip(of_targets(weights(scalars(counts))), losses, strict=True)) / len(counts)
    expected = sum(n * loss for n, loss in zip(counts, losses, strict=True)) / max(1, sum(counts))
    assert abs(found - expected) < 1e-5


def in_two() -> list[float]:
    return of_targets(weights(scalars([[3, 1], [4, 0]][processes()[0]])))


def test_the_passes_of_all_processes_count(tmp_path):
    assert in_processes(2, in_two, tmp_path) == [[1.5, 0.5], [2.0, 0.0]]


def test_each_part_has_weights_of_its_own():
    counts = [{"targets": torch.tensor(6), "open": torch.tensor(0)}, {"targets": torch.tensor(2), "open": torch.tensor(3)}]
    assert [{name: float(w) for name, w in own.items()} for own in weights(counts)] == [
        {"targets": 1.5, "open": 0.0},
        {"targets": 0.5, "open": 2.0},
    ]


def test_a_step_of_one_pass_counts_nothing():
    assert list(weighed(lambda: "batch", 1, None)) == list(weighed(lambda: "batch", 1, lambda batch: 1 / 0)) == [("batch", {})]
