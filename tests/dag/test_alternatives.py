"""The beam against an enumeration of all plans, each followed as if it were labelled."""

import itertools

import pytest
import torch

from nanochat.dag import planner, predictor
from nanochat.dag.arithmetic import tensors_of
from nanochat.dag.executor import IDENTITY, LARGEST, apply
from nanochat.dag.expressions import ExpressionSettings, ExpressionStream

FEW = (0, 1)  # constants of the small configuration


@pytest.fixture
def few_constants(monkeypatch):
    for module in (planner, predictor):
        monkeypatch.setattr(module, "CONSTANTS", FEW)


def every_plan(steps, slots, own):
    """All plans of one token: lists of (operation, slot, slot); `slots` before it, its own from slot `own`. One identity takes a value."""
    yield from ([(IDENTITY, a, 0)] for a in slots)
    beginnings = [[]]
    for s in range(steps):
        there = [*slots, *range(own, own + s)]
        beginnings = [[*b, step] for b in beginnings for step in itertools.product(range(IDENTITY), there, there)]
        yield from beginnings


def enumerated(model, output, a, steps):
    """(log-probability, value) of every plan at planning token `a` of the only row, by following each of them."""
    n = output.plan.slot_values.shape[1]
    own = n - (output.at.shape[1] - a) * steps
    visible = output.plan.operand1_logits[0, a, 0].isfinite().nonzero().flatten().tolist()
    plans = list(every_plan(steps, visible, own))
    filled = torch.tensor([p + [(IDENTITY, 0, 0)] * (steps - len(p)) for p in plans])  # (P, D, 3)
    operation, one, two = filled.unbind(-1)
    word, document = (x[:, a : a + 1].expand(len(plans), 1) for x in (output.word, output.document))
    slots = planner.Slots(**{k: v.expand(len(plans), *v.shape[1:]).clone() for k, v in vars(output.slots).items()})
    active = (operation != IDENTITY).long().cumprod(-1).bool()
    slots.present[:, own - len(FEW) : own - len(FEW) + steps] = active
    hidden, logits = output.hidden[:, a : a + 1].expand(len(plans), 1, -1), output.plan.operation_logits[:, a : a + 1]
    asked = output.asked[:, a : a + 1].expand(len(plans), -1, -1, -1)
    plan = model.tower.planner(hidden, asked, word, document, logits, operation[:, None], slots, (one[:, None], two[:, None]))
    log_o = logits[0, 0].log_softmax(-1).gather(1, operation.T).T  # (P, D)
    log_1, log_2 = (
        x[:, 0].log_softmax(-1).gather(2, c[..., None]).squeeze(2) for x, c in ((plan.operand1_logits, one), (plan.operand2_logits, two))
    )
    before = torch.cat([torch.ones_like(active[:, :1]), active[:, :-1]], dim=1)
    takes = torch.zeros_like(active)
    takes[:, 0] = operation[:, 0] == IDENTITY
    log_p = torch.where(before, log_o, 0.0) + torch.where(active | takes, log_1, 0.0) + torch.where(active, log_2, 0.0)
    return log_p.sum(-1), torch.tensor([value_of(p, output.plan.slot_values[0].tolist(), own) for p in plans], dtype=torch.float64)


def value_of(plan, values, own):
    values = list(values)
    for s, (operation, a, b) in enumerate(plan):
        x, y = (torch.tensor([values[i]], dtype=torch.float64) for i in (a, b))
        values[own + s] = apply(torch.tensor([operation]), x, y).item()
    return values[own + len(plan) - 1]


@pytest.mark.parametrize("mode", ["tape", "isolated"])
def test_a_wide_beam_finds_every_plan_with_its_probability_and_value(tokenizer, make_predictor, few_constants, mode):
    model = make_predictor(width=16, heads=2, layers=1, mode=mode)
    with torch.no_grad():
        output = model(torch.tensor([[tokenizer.bos_id, *tokenizer.encode("7.")]]))
        a = output.at.shape[1] - 1
        expected, values = enumerated(model, output, a, steps=2)
        found = model.tower.plans(output, len(expected) + 5, torch.tensor([[a]]))
    order = expected.argsort(descending=True)
    torch.testing.assert_close(found.log_p[0, 0, :-5], expected[order], rtol=1e-4, atol=1e-4)
    assert (found.log_p[0, 0, -5:] < -1e8).all()
    torch.testing.assert_close(expected.exp().sum(), torch.tensor(1.0))
    by_value = {v: expected[values == v].exp().sum().item() for v in values[values.isfinite()].unique().tolist()}
    got = {v: found.log_p[0, 0][found.value[0, 0] == v].exp().sum().item() for v in by_value}
    assert got == pytest.approx(by_value, abs=1e-5)


def test_the_best_of_many_plans_is_never_worse_than_the_greedy_one(tokenizer, make_predictor):
    model = make_predictor(steps=3)
    idx, _, lengths = tensors_of(ExpressionStream(tokenizer, ExpressionSettings(), seed=1).batch(8))
    with torch.no_grad():
        output = model(idx, lengths=lengths)
        greedy, many = (model.tower.plans(output, k) for k in (1, 40))
    there = output.present
    assert (many.log_p[..., 0] >= greedy.log_p[..., 0] - 1e-5)[there].all() and (many.log_p.diff(dim=-1) <= 0)[there].all()
    same = (greedy.operation[..., 0, :] == output.plan.operation).all(-1) & there
    value, result = (x[same].nan_to_num(nan=LARGEST) for x in (greedy.value[..., 0], output.plan.result))
    assert same.any() and torch.equal(value, result)


def test_plans_of_equal_value_are_merged_at_the_first(tokenizer, make_predictor):
    model = make_predictor()
    with torch.no_grad():
        output = model(torch.tensor([[tokenizer.bos_id, *tokenizer.encode("31 + 48 =")]]))
        found = model.tower.plans(output, 60, output.of_token[:, -1:])
    merged = found.merged()[0, 0]
    kept = merged > -1e8
    values = found.value[0, 0].nan_to_num(nan=LARGEST)
    assert len(values[kept].unique()) == int(kept.sum()) == len(values.unique()) < 60
    torch.testing.assert_close(merged.exp().sum(), found.log_p.exp().sum())
    most = max(values.unique().tolist(), key=lambda v: found.log_p[0, 0][values == v].exp().sum())
    assert found.likeliest_value().nan_to_num(nan=LARGEST).item() == most


def test_rows_of_a_batch_have_the_plans_they_have_alone(tokenizer, make_predictor):
    model = make_predictor()
    idx, _, lengths = tensors_of(ExpressionStream(tokenizer, ExpressionSettings(operations=(1, 3)), seed=3).batch(6))
    together = model.answers(idx, lengths, plans=8)
    alone = [model.answers(idx[i : i + 1, : lengths[i]], lengths[i : i + 1], plans=8)[0] for i in range(6)]
    assert [repr(x) for x in together] == [repr(x) for x in alone]


def test_a_gradient_reaches_the_choices_of_every_plan(tokenizer, make_predictor):
    model = make_predictor()
    output = model(torch.tensor([[tokenizer.bos_id, *tokenizer.encode("31 + 48 =")]]))
    found = model.tower.plans(output, 30, output.of_token[:, -1:])
    found.log_p[0, 0, -1].backward()
    planner_ = model.tower.planner
    assert all(p.weight.grad.isfinite().all() and p.weight.grad.abs().sum() > 0 for p in (planner_.operation, planner_.query1))
