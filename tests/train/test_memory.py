"""Where memory runs out before the first step, batches get smaller and passes more, with the same rows in every step."""

import json

import pytest
import torch

from nanochat.common import Interrupted, UserError
from nanochat.train import checkpoint, memory
from nanochat.train.loop import fit
from tests.train.conftest import CountingBatches


class Rows(CountingBatches):
    """The rows of CountingBatches, `batch` at a time; a loader that can be made smaller."""

    def __init__(self, batch: int = 4):
        super().__init__(rows=1)
        self.batch, self.tokens_per_step = batch, batch * self.T

    def __next__(self):
        rows = [super(Rows, self).__next__() for _ in range(self.batch)]
        return tuple(torch.cat(parts) for parts in zip(*rows, strict=True))

    def resize(self, batch: int) -> None:
        self.batch = batch


def loss_with_room_for(rows: int, calls: list):
    def loss(model, batch):
        calls.append(len(batch[0]))
        loss = model(*batch).loss
        if len(batch[0]) > rows:
            raise torch.OutOfMemoryError(f"no room for {len(batch[0])} rows")
        return loss, {}

    return loss


@pytest.fixture
def tried(monkeypatch):
    monkeypatch.setattr(memory, "is_tried", lambda device: True)


def train(run, model, tokenizer, loss, batches):
    fit(run, run.config, model=model, batches=batches, loss_fn=loss, meta=checkpoint.describe(model, tokenizer))
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines]


@pytest.mark.parametrize("total", [0, 3 * 12 * 16])
def test_smaller_batches_and_more_passes_are_the_same_steps(tried, make_run, make_gpt, tokenizer, capsys, total):
    whole = train(make_run("mid_train", steps=5, total_batch=total), make_gpt(), tokenizer, loss_with_room_for(99, []), Rows(12))
    calls, batches = [], Rows(12)
    small = train(make_run(steps=5, total_batch=total), make_gpt(), tokenizer, loss_with_room_for(5, calls), batches)
    assert small == pytest.approx(whole, rel=1e-4)
    passes = 4 * (3 if total else 1)
    assert calls == [12, 6, 3, *[3] * (5 * passes)] and batches.n == 5 * passes * 3, "no row is lost, none is read twice"
    said = capsys.readouterr().err
    assert said.count("memory ran out with 12 rows in a pass: from here on 3 rows in 4 passes, the same tokens in a step") == 1


def test_a_batch_that_fits_is_tried_once(tried, make_run, make_gpt, tokenizer, capsys):
    calls = []
    train(make_run(steps=3), make_gpt(), tokenizer, loss_with_room_for(99, calls), Rows())
    assert len(calls) == 4 and "memory" not in capsys.readouterr().err


def test_a_trial_leaves_losses_and_random_numbers_as_they_were(tried, make_run, make_gpt, tokenizer, monkeypatch):
    def noisy(model, batch):
        return model(*batch).loss * (1 + 0.1 * torch.rand(())), {}

    tried_first = train(make_run(steps=3), make_gpt(), tokenizer, noisy, Rows())
    monkeypatch.setattr(memory, "is_tried", lambda device: False)
    assert train(make_run(steps=3, resume="off"), make_gpt(), tokenizer, noisy, Rows()) == tried_first


def test_an_odd_batch_is_divided_as_it_can_be(tried, make_run, make_gpt, tokenizer):
    calls = []
    train(make_run(steps=1), make_gpt(), tokenizer, loss_with_room_for(6, calls), Rows(15))
    assert calls == [15, 5, 5, 5, 5]


def test_one_row_that_does_not_fit_is_refused_in_a_sentence(tried, make_run, make_gpt, tokenizer):
    with pytest.raises(UserError, match="memory ran out with one row in a forward pass; use a smaller model"):
        train(make_run(steps=1), make_gpt(), tokenizer, loss_with_room_for(0, []), Rows())
    assert checkpoint.existing() == []


def test_a_resumed_run_finds_its_smaller_batch_again(tried, make_run, make_gpt, tokenizer):
    whole = train(make_run("mid_train", steps=6), make_gpt(), tokenizer, loss_with_room_for(99, []), Rows())
    first = make_run(steps=6, save_every=2)
    asked = []
    first.stop_noted = lambda: asked.append(1) or len(asked) == 3
    with pytest.raises(Interrupted, match="saved at step 3"):
        train(first, make_gpt(), tokenizer, loss_with_room_for(2, []), Rows())
    calls = []
    assert train(make_run(steps=6), make_gpt(), tokenizer, loss_with_room_for(2, calls), Rows()) == pytest.approx(whole, rel=1e-4)
    assert calls == [4, 2, *[2] * 6]
