"""The learned reader: it learns what the lexer reads, sees only the number's own tokens, and its mistakes reach the plan's values."""

import pytest
import torch

from nanochat.common import UserError
from nanochat.dag import attach_branch
from nanochat.dag.learned_reader import LearnedReader
from nanochat.dag.predictor import PlanLabels
from nanochat.dag.variants import tower_loss


def batch(tokenizer, texts):
    rows = [torch.tensor([tokenizer.bos_id, *tokenizer.encode(text)]) for text in texts]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), torch.tensor([len(row) for row in rows])


def values_of(reading):
    """The values of each row's whole numbers."""
    flags = reading.number & ~reading.absorbed
    return [value[flag].tolist() for value, flag in zip(reading.value, flags, strict=True)]


def test_it_learns_the_exact_values(tokenizer, make_predictor):
    model = make_predictor(reader="learned")
    idx, lengths = batch(tokenizer, ["12 plus 7.25 =", "-305 times 12 =", "What is 7.25 + 40?"])
    optimizer = torch.optim.Adam(model.tower.reader.parameters(), 5e-3)
    for _ in range(40):
        optimizer.zero_grad()
        loss = model(idx, lengths=lengths).reading_loss
        loss.backward()
        optimizer.step()
    assert loss < 0.02
    assert values_of(model(idx, lengths=lengths).reading) == [[12.0, 7.25], [-305.0, 12.0], [7.25, 40.0]]


def test_a_number_is_read_from_its_own_tokens_alone(tokenizer, make_predictor):
    model = make_predictor(reader="learned")
    first, second = (values_of(model(batch(tokenizer, [text])[0]).reading) for text in ("3 plus 45.5 =", "3 less 45.5 and more"))
    assert first == second and len(first[0]) == 2


def test_its_values_are_what_plans_compute_with(tokenizer, make_predictor):
    model = make_predictor(reader="learned")
    idx, lengths = batch(tokenizer, ["3 plus 45 ="])
    output = model(idx, lengths=lengths)
    exact = make_predictor()(idx, lengths=lengths)
    n = model.tower.constants.numel()
    assert output.plan.slot_values[0, n : n + 2].tolist() == values_of(output.reading)[0]
    assert output.plan.slot_values[0, n : n + 2].tolist() != exact.plan.slot_values[0, n : n + 2].tolist()


def test_the_digits_of_what_does_not_fit_are_not_trained():
    reader = LearnedReader(50)
    values, digits, minus = reader(torch.arange(20)[None], torch.tensor([[1, 5, 9]]), torch.tensor([[4, 8, 19]]))
    present = torch.tensor([[True, True, False]])
    fits = reader.loss(torch.tensor([[3.25, 2e9, 1.0]]).double(), present, digits, minus)
    alone = reader.loss(torch.tensor([[3.25, torch.inf, 7.0]]).double(), present, digits, minus)
    assert values.shape == (1, 3) and fits == alone


def test_it_is_trained_with_the_plan_and_stays_out_of_a_gpt(tokenizer, make_predictor):
    model = make_predictor(reader="learned")
    idx, lengths = batch(tokenizer, ["3 plus 45 ="])
    shape = (*idx.shape, 2)
    labels = PlanLabels(torch.full(shape, 4), torch.full(shape, -1), torch.full(shape, -1))
    loss, figures = tower_loss(model, (idx, labels, lengths))
    loss.backward()
    assert figures["reading_loss"] > 0 and model.tower.reader.digits.weight.grad.abs().sum() > 0
    with pytest.raises(UserError, match="reader=learned"):
        attach_branch(None, model, tokenizer)
