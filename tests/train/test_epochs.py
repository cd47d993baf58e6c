"""No run repeats its data unasked: what is read more than once is said, what is read too often is refused."""

import pytest

from nanochat.common import UserError
from nanochat.train.epochs import tell_epochs, tokens_of
from nanochat.train.settings import TrainSettings


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


def test_the_tokens_of_a_run_are_those_of_its_steps():
    assert tokens_of(TrainSettings(steps=10, total_batch=4096), 1024) == 40_960
    assert tokens_of(TrainSettings(steps=10), 1024) == 10_240 and tokens_of(TrainSettings(), 1024) == 0
