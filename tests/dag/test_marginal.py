"""The loss over K plans: its value, its gradient, where it applies, and that a planner learns from answers alone."""

import math
import random

import pytest
import torch

from nanochat.dag import attach_branch
from nanochat.dag.arithmetic import ArithmeticTexts
from nanochat.dag.emission import LONGEST, NumberPrinter, mixture_nll
from nanochat.dag.expressions import ExpressionSettings
from nanochat.dag.marginal import PLACES, plans_nll
from nanochat.dag.mixer import BranchConfig, DagBranch
from nanochat.dag.predictor import TowerConfig
from nanochat.data.conversations import render
from nanochat.model.gpt import GPT
from nanochat.model.presets import make_config
from nanochat.train.chat import ChatOptions, set_plans
from tests.dag.test_labels import pack

NEVER_BY_MODEL = 50.0  # nats


def branch_of(tokenizer, **options):
    torch.manual_seed(0)
    tower = TowerConfig(tokenizer.vocab_size, tokenizer.bos_id, width=32, layers=1, steps=1)
    branch = DagBranch(BranchConfig(tower, input_width=16, layer=0, **options), tokenizer).train()
    with torch.no_grad():
        branch.gate.bias.fill_(2.0)
    return branch


def streams_of(tokenizer, values):
    return NumberPrinter(tokenizer)(torch.tensor(values, dtype=torch.float64))[None, None]


def number(tokenizer, text):
    """Targets (1, 1, L) of a number and what stands behind it."""
    ids = tokenizer.encode(text)
    return torch.tensor([[ids + [-1] * (LONGEST - len(ids))]])


def test_the_gradient_of_a_whole_number_is_prior_minus_posterior(tokenizer):
    """Plans print 79, 7, 72 and 79 by another way; the text says 79, and the model would never have."""
    scores = torch.tensor([0.3, 1.2, -0.5, 0.1], requires_grad=True)
    log_w = scores.log_softmax(-1)[None, None]
    streams, targets = streams_of(tokenizer, [79, 7, 72, 79]), number(tokenizer, "79")
    nll, where = plans_nll(torch.full((1, 1, LONGEST), NEVER_BY_MODEL), targets, streams, log_w, torch.full((1, 1), 1 - 1e-7))
    assert where[0, 0].tolist() == [True, True] + [False] * (LONGEST - 2)
    nll[where].sum().backward()
    prior = scores.detach().softmax(-1)
    right = torch.tensor([1.0, 0, 0, 1.0])
    posterior = prior * right / (prior * right).sum()
    torch.testing.assert_close(scores.grad, prior - posterior, rtol=1e-3, atol=1e-4)


def test_the_gradient_of_a_token_is_weighed_by_what_the_copy_explains(tokenizer):
    scores, gate, by_model = torch.tensor([0.3, 1.2, -0.5], requires_grad=True), 0.4, 0.1
    streams, targets = streams_of(tokenizer, [7, 8, 7]), number(tokenizer, "7")
    log_w = scores.log_softmax(-1)[None, None]
    nll, where = plans_nll(torch.full((1, 1, LONGEST), -math.log(by_model)), targets, streams, log_w, torch.full((1, 1), gate))
    prior, right = scores.detach().softmax(-1), torch.tensor([1.0, 0, 1.0])
    likelihood = (1 - gate) * by_model + gate * (prior * right).sum()
    torch.testing.assert_close(nll[where].sum(), -likelihood.log())
    nll[where].sum().backward()
    posterior = gate * prior * right / likelihood
    torch.testing.assert_close(scores.grad, prior * posterior.sum() - posterior)


@pytest.mark.parametrize(("value", "text"), [(72.0, "72"), (72.0, "75"), (7.25, "7.25"), (math.nan, "7")])
def test_one_plan_gives_the_ordinary_mixture(tokenizer, value, text):
    streams, targets = streams_of(tokenizer, [value]), number(tokenizer, text)
    own, gate = torch.rand(1, 1, LONGEST) + 0.5, torch.full((1, 1), 0.7)
    nll, where = plans_nll(own, targets, streams, torch.zeros(1, 1, 1), gate)
    expected = mixture_nll(own[0], targets[0], streams[0, 0], gate.expand(1, LONGEST))[None]
    torch.testing.assert_close(nll[where], expected[where], rtol=1e-4, atol=1e-5)
    assert where.sum() == (1 if value != value else len(text))


def test_a_plan_that_has_ended_leaves_the_rest_to_the_model(tokenizer):
    """7 or 72, equally likely, and the text says 72: its second token comes from the second plan, or from the model after the first."""
    streams, targets = streams_of(tokenizer, [7, 72]), number(tokenizer, "72")
    nll, _ = plans_nll(torch.full((1, 1, LONGEST), 2.0), targets, streams, torch.full((1, 1, 2), math.log(0.5)), torch.full((1, 1), 0.8))
    model = math.exp(-2)
    expected = [0.2 * model + 0.8, 0.2 * model + 0.8 * (0.5 + 0.5 * model)]
    torch.testing.assert_close(nll[0, 0, :2], -torch.tensor(expected).log())


def questions(tokenizer, draw, n):
    """idx, targets (n, T) and sums of n additions; only the answers are trained."""
    rows, targets, sums = [], [], []
    for _ in range(n):
        a, b = draw.randint(11, 99), draw.randint(11, 99)
        question, answer = [tokenizer.bos_id, *tokenizer.encode(f"{a} + {b} =")], tokenizer.encode(str(a + b))
        rows.append(question + answer + [tokenizer.bos_id])
        targets.append([-1] * (len(question) - 1) + answer + [-1])
        sums.append(a + b)
    longest = max(map(len, rows))
    idx = torch.tensor([r + [tokenizer.bos_id] * (longest - len(r)) for r in rows])
    return idx, torch.tensor([t + [-1] * (longest - len(t)) for t in targets]), torch.tensor(sums, dtype=torch.float64)


@torch.no_grad()
def probability_of_sums(branch, idx, targets, sums):
    """Mean probability of the plans whose value is the sum."""
    output = branch.tower(idx, hidden=torch.zeros(*idx.shape, 16))
    at = output.of_token.gather(1, (targets >= 0).long().argmax(1, keepdim=True))
    plans = branch.tower.plans(output, 2000, at)
    return torch.where(plans.value[:, 0] == sums[:, None], plans.log_p[:, 0].exp(), 0.0).sum(1).mean().item()


def test_a_planner_without_labels_learns_from_answers(tokenizer):
    branch, draw = branch_of(tokenizer, plans=200), random.Random(0)
    optimizer, unseen = torch.optim.AdamW(branch.parameters(), lr=4e-3), questions(tokenizer, draw, 24)
    before = probability_of_sums(branch, *unseen)
    for _ in range(25):
        idx, targets, _ = questions(tokenizer, draw, 24)
        _, side = branch(torch.zeros(*idx.shape, 16), idx)
        loss = branch.loss(torch.where(targets >= 0, 4.0, 0.0), idx, targets, side).sum() / (targets >= 0).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert before < 0.02 and probability_of_sums(branch, *unseen) > 0.5


def test_one_plan_leaves_the_planner_without_a_gradient(tokenizer):
    branch, (idx, targets, _) = branch_of(tokenizer), questions(tokenizer, random.Random(0), 8)
    _, side = branch(torch.zeros(*idx.shape, 16), idx)
    branch.loss(torch.where(targets >= 0, 4.0, 0.0), idx, targets, side).sum().backward()
    assert "places" not in side and branch.tower.planner.query1.weight.grad is None and branch.gate.bias.grad is not None


def conversation(tokenizer, question, answer):
    return render(tokenizer, {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]})


@pytest.mark.parametrize("everywhere", [False, True])
def test_only_numbers_whose_plan_nobody_knows_are_explained(tokenizer, everywhere):
    branch = branch_of(tokenizer, plans=2000, plans_at="everywhere" if everywhere else "unlabelled")
    known = ArithmeticTexts(tokenizer, ExpressionSettings(chat_share=1.0, operations=(1, 1), steps=1), 2, seed=0)[0]
    documents, idx = pack([known, conversation(tokenizer, "Tom has 31 and 48.", "79"), conversation(tokenizer, "How are you?", "Fine.")])
    targets = torch.full_like(idx, -1)
    for offset, item in documents[0]:
        for i, trained in enumerate(item.mask):
            targets[0, offset + i - 1] = item.ids[i] if trained else -1
    _, side = branch(torch.zeros(*idx.shape, 16), idx, plan=branch.labels(documents, idx))
    answers = (known.answer, len(known) + len(conversation(tokenizer, "Tom has 31 and 48.", "")) - 2)
    explained = (side["places"] & (targets >= 0))[0].nonzero().flatten().tolist()
    assert explained == list(answers if everywhere else answers[1:])
    nll = torch.where(targets >= 0, 4.0, 0.0)
    loss = branch.loss(nll, idx, targets, side)
    assert (loss[targets < 0] == 0).all() and loss.isfinite().all()
    branch.config.plans = 1
    _, one = branch(torch.zeros(*idx.shape, 16), idx, plan=branch.labels(documents, idx))
    printed_alike = one["following"] == side["following"]  # with one plan idle tokens have no result
    differs = ((loss != branch.loss(nll, idx, targets, one)) & printed_alike)[0].nonzero().flatten().tolist()
    assert answers[1] in differs and all(t in (answers[1], answers[1] + 1) or everywhere for t in differs)


def test_more_numbers_than_places_keep_the_ordinary_loss(tokenizer):
    branch = branch_of(tokenizer, plans=2000)
    idx = torch.tensor([[tokenizer.bos_id, *tokenizer.encode(" and 31" * (PLACES + 3)), tokenizer.bos_id]])
    targets = torch.cat([idx[:, 1:], idx[:, :1]], dim=1)
    _, side = branch(torch.zeros(*idx.shape, 16), idx)
    assert side["places"].sum() == PLACES + 3
    loss = branch.loss(torch.full(idx.shape, 4.0), idx, targets, side)
    one = torch.where(targets >= 0, mixture_nll(torch.full(idx.shape, 4.0), targets, side["following"], side["gate"]), 4.0)
    beyond = int(side["places"][0].nonzero()[PLACES])
    assert torch.equal(loss[0, beyond:], one[0, beyond:]) and not torch.equal(loss[0, :beyond], one[0, :beyond])


def test_inside_a_gpt_the_answers_reach_the_planner_if_several_plans_are_asked_for(tokenizer, make_predictor):
    torch.manual_seed(0)
    model = GPT(make_config("tiny", vocab_size=tokenizer.vocab_size)).train()
    attach_branch(model, make_predictor(), tokenizer)
    idx, targets, _ = questions(tokenizer, random.Random(0), 8)
    for plans in (1, 200):
        model.zero_grad()
        set_plans(model, ChatOptions(plans=plans))
        model(idx, targets).loss.backward()
        gradient = model.branch.tower.planner.query1.weight.grad
        assert (gradient is not None and gradient.abs().sum() > 0) == (plans > 1)
