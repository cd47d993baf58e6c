"""Schedules start, turn and end where they say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanochat.train.schedule import Schedule


@pytest.mark.parametrize(
    "progress, multiplier", [(0.0, 0.0), (0.05, 0.5), (0.1, 1.0), (0.5, 1.0), (0.6, 1.0), (0.8, 0.55), (1.0, 0.1), (1.5, 0.1)]
)
def test_learning_rate_warms_up_stays_and_falls(progress, multiplier):
    assert Schedule(warmup=0.1, decay=0.4, final=0.1).lr(progress) == pytest.approx(multiplier)


@given(st.floats(0, 1), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 1))
def test_learning_rate_is_never_negative_nor_above_its_top(progress, warmup, decay, final):
    assert 0 <= Schedule(warmup, decay, final).lr(progress) <= 1


def test_learning_rate_falls_towards_the_end_and_never_rises():
    values = [Schedule(0.0, 0.3).lr(i / 100) for i in range(101)]
    assert values == sorted(values, reverse=True) and values[0] == 1 and values[-1] == 0


def test_momentum_rises_and_weight_decay_falls():
    schedule = Schedule(momentum_warmup=0.2)
    assert [round(schedule.momentum(p), 4) for p in (0, 0.1, 0.2, 1)] == [0.85, 0.9, 0.95, 0.95]
    assert Schedule(momentum_warmup=0.0).momentum(0.0) == 0.95
    assert [round(schedule.weight_decay(p), 4) for p in (0, 0.5, 1, 2)] == [1, 0.5, 0, 0]
