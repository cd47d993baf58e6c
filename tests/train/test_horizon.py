"""No run repeats its data unasked: what is read more than once is said, what is read too often is refused."""

import pytest

from nanochat.common import UserError
from nanochat.train.horizon import planned, tell_epochs, tokens_of
from nanochat.train.settings import TrainSettings
from scripts.base_train import Config


class Run:
    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)


def test_one_epoch_is_nothing_to_speak_of_and_more_are_said():
    run = Run()
    assert tell_epochs(run, "the text", 1_000_000, 1_000_000) == 1.0 and not run.said
    assert tell_epochs(run, "the text", 2_500_000, 1_000_000, most=4) == 2.5
    assert run.said == ["the text is read 2.5 times: training takes 2,500,000 tokens and it has 1,000,000"]


def test_more_than_was_allowed_is_refused_with_the_numbers_and_the_remedies():
    with pytest.raises(UserError) as refused:
        tell_epochs(Run(), "the text", 5_100_000, 1_000_000, most=4)
    for word in ("1,000,000", "5,100,000", "5.1 times", "--max_epochs=4", "--text", "--tokens", "--max_epochs=6"):
        assert word in str(refused.value)
    assert tell_epochs(Run(), "the text", 5_100_000, 1_000_000, most=6) == 5.1


def test_a_little_more_than_was_allowed_is_told_from_what_was_allowed():
    for times, told in ((1.04, "1.04 times"), (1.004, "1.01 times")):
        with pytest.raises(UserError, match=f"would read it {told}, more than --max_epochs=1; .*--max_epochs=2"):
            tell_epochs(Run(), "the text", times * 1_000_000, 1_000_000, most=1)
    run = Run()
    tell_epochs(run, "the text", 1_040_000, 1_000_000)
    assert "is read 1.04 times" in run.said[0]


def test_the_tokens_of_a_run_are_those_of_its_steps():
    assert tokens_of(TrainSettings(steps=10, total_batch=4096), 1024) == 40_960
    assert tokens_of(TrainSettings(steps=10), 1024) == 10_240 and tokens_of(TrainSettings(), 1024) == 0


def test_batch_steps_and_weight_decay_follow_the_size_of_the_model():
    found = planned(Config(tokens_per_param=12), 110_100_000, tokens_per_pass=1 << 16)
    assert (found.total_batch, found.steps) == (1 << 19, 2520) and found.weight_decay == pytest.approx(0.28, rel=1e-3)
    small = planned(Config(tokens=1_000_000), 2_000_000, tokens_per_pass=512)
    assert (small.total_batch, small.steps) == (2048, 488) and small.weight_decay == 0.28


def test_what_was_asked_for_is_taken_as_it_is():
    found = planned(Config(steps=100, total_batch=1024, weight_decay=0.0), 110_100_000, tokens_per_pass=512)
    assert (found.total_batch, found.steps, found.weight_decay) == (1024, 100, 0.0)
    assert planned(Config(steps=100), 110_100_000, tokens_per_pass=512).total_batch == 0  # one pass, as everywhere


def test_where_one_pass_is_more_than_the_best_batch_it_is_the_batch():
    assert planned(Config(tokens=1_000_000), 2_000_000, tokens_per_pass=3000).total_batch == 3000
