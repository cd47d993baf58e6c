"""Rates, batch and weight decay follow size; below the sizes that the laws were seen for they stay within reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanochat.train.laws import FEWEST_STEPS, LEAST_SCALE, REFERENCE_BATCH, batch_scale, best_batch, best_decay, width_scale


def test_rates_follow_batch_and_width():
    assert batch_scale(REFERENCE_BATCH) == 1 and batch_scale(4 * REFERENCE_BATCH) == 2
    assert batch_scale(1) == batch_scale(REFERENCE_BATCH // 16) == LEAST_SCALE
    assert batch_scale(REFERENCE_BATCH // 64, least=0.0) == 0.125
    assert width_scale(768) == 1 and width_scale(192) == 2


# Multiplied weights of a depth with a vocabulary of 32,768, the batch and the weight decay that nanochat takes there for 12 tokens each.
@pytest.mark.parametrize(
    "weights, batch, decay", [(110.1e6, 1 << 19, 0.28), (234.9e6, 1 << 19, 0.131), (435.2e6, 1 << 20, 0.1), (1677.7e6, 1 << 21, 0.037)]
)
def test_batch_and_weight_decay_of_the_depths_that_were_measured(weights, batch, decay):
    assert best_batch(12 * weights) == batch
    assert best_decay(12 * weights, batch) == pytest.approx(decay, rel=0.02)


@given(st.floats(1, 1e15))
def test_no_size_is_refused_and_small_runs_have_steps_enough(tokens):
    batch = best_batch(tokens)
    assert batch >= 1 and batch & (batch - 1) == 0
    assert tokens / batch >= FEWEST_STEPS or batch == 1
    assert 0 < best_decay(tokens, batch) <= 0.28
