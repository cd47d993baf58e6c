"""Batches that cannot be reached and settings that cannot work are refused with what would work."""

import dataclasses

import pytest
import torch.nn as nn

from nanochat.common import UserError
from nanochat.model.kinds import KINDS
from nanochat.train import checkpoint
from nanochat.train.settings import TrainSettings, accumulation, as_before, check, make_optimizer


def test_accumulation_is_the_number_of_passes_in_a_step():
    assert (accumulation(0, 2048), accumulation(2048, 2048), accumulation(8192, 2048)) == (1, 1, 4)


@pytest.mark.parametrize("total, legal", [(5000, "4096 or 6144"), (100, "use 2048,")])
def test_a_total_that_is_no_multiple_names_its_neighbours(total, legal):
    with pytest.raises(UserError, match=legal):
        accumulation(total, 2048)


@pytest.mark.parametrize(
    "wrong", [{"device_batch": 0}, {"steps": -1}, {"warmup": 1.5}, {"decay": -0.1}, {"log_every": 0}, {"keep": 0}, {"keep_best": -1}]
)
def test_settings_that_cannot_work_are_refused_by_name(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        check(dataclasses.replace(TrainSettings(), **wrong))


@pytest.mark.parametrize("name", ["top_momentum", "final_momentum", "variance"])
def test_a_memory_that_takes_up_nothing_new_is_refused(name):
    with pytest.raises(UserError, match=f"--{name} .* below 1, not 1"):
        check(TrainSettings(**{name: 1.0}))


def test_the_defaults_can_work():
    check(TrainSettings())


class Rows:
    """Batches of some rows of 100 tokens in each of some processes."""

    def __init__(self, batch: int, world: int):
        self.batch, self.world = batch, world

    @property
    def tokens_per_step(self) -> int:
        return 100 * self.batch * self.world

    def resize(self, batch: int) -> None:
        self.batch = batch


def test_a_run_that_goes_on_has_the_tokens_of_a_step_it_had(make_run, monkeypatch, capsys):
    run, asked = make_run(), TrainSettings(total_batch=0)
    assert as_before(run, asked, Rows(8, 1)) is asked
    monkeypatch.setattr(checkpoint, "earlier", lambda run: {"tokens_per_step": 1600})
    for rows, world, left in ((8, 1, 8), (8, 2, 8), (8, 4, 4), (8, 16, 1), (12, 1, 4)):
        run.compute.world, batches = world, Rows(rows, world)
        settings = as_before(run, asked, batches)
        assert (settings.total_batch, batches.batch) == (1600, left)
        assert 1600 % batches.tokens_per_step == 0
        assert ("rows in a pass instead of" in capsys.readouterr().err) == (left != rows)
    run.compute.world = 3
    with pytest.raises(UserError, match="takes 1,600 tokens a step, which 3 processes.*another number of processes"):
        as_before(run, asked, Rows(8, 3))


def test_every_kind_has_a_rate_and_lr_scale_multiplies_all(make_gpt):
    one, two = (make_optimizer(make_gpt(), TrainSettings(lr_scale=scale), 1 << 19).groups for scale in (1.0, 2.0))
    assert set(one) == set(KINDS)
    assert all(two[kind].lr == pytest.approx(2 * one[kind].lr) for kind in KINDS)


def test_a_gpts_rates_follow_batch_and_width_and_other_models_are_taken_as_given(make_gpt):
    settings = TrainSettings(matrix_lr=0.02, embedding_lr=0.3)
    gpt = make_optimizer(make_gpt(), settings, 1 << 21).groups  # four times the reference batch, 1/24 of its width
    assert gpt["matrix"].lr == pytest.approx(0.04)
    assert gpt["embedding"].lr == pytest.approx(0.6 * (768 / 32) ** 0.5)
    assert make_optimizer(nn.Linear(3, 3), settings, 1 << 17).groups["matrix"].lr == 0.02


def test_only_the_scales_of_the_stream_follow_the_law_of_the_batch_to_its_end(make_gpt):
    small, reference = (make_optimizer(make_gpt(), TrainSettings(), tokens).groups for tokens in (1 << 11, 1 << 19))
    ratios = {kind: small[kind].lr / reference[kind].lr for kind in ("matrix", "embedding", "head", "skip", "residual", "gate")}
    assert ratios == pytest.approx({"matrix": 0.75, "embedding": 0.75, "head": 0.75, "skip": 1 / 16, "residual": 1 / 16, "gate": 1})
