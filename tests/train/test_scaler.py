"""The loss scale halves when gradients overflow, doubles after many good steps, and gives up when nothing helps."""

import pytest

from nanochat.common import UserError
from nanochat.train import scaler
from nanochat.train.scaler import LossScaler


def test_it_halves_at_an_overflow_and_doubles_after_many_good_steps(monkeypatch):
    monkeypatch.setattr(scaler, "PATIENCE", 3)
    found, scales = LossScaler(), []
    for finite in (True, True, False, True, True, True, True):
        found.update(finite)
        scales.append(found.scale / scaler.FIRST)
    assert scales == [1, 1, 0.5, 0.5, 0.5, 1, 1]


def test_it_does_not_grow_without_end(monkeypatch):
    monkeypatch.setattr(scaler, "PATIENCE", 1)
    found = LossScaler()
    for _ in range(50):
        found.update(True)
    assert found.scale == scaler.MOST


def test_gradients_that_are_never_finite_are_a_users_error():
    found = LossScaler()
    with pytest.raises(UserError, match="--lr_scale"):
        for _ in range(100):
            found.update(False)


def test_its_state_is_plain_numbers_and_comes_back():
    found, again = LossScaler(), LossScaler()
    for finite in (False, True, True):
        found.update(finite)
    again.load_state_dict(found.state_dict())
    assert again.state_dict() == found.state_dict() == {"scale": scaler.FIRST / 2, "good_steps": 2}
