import pytest
import torch

from nanochat.dag.arithmetic import tensors_of
from nanochat.dag.executor import IDENTITY
from nanochat.dag.expressions import ExpressionSettings, ExpressionStream
from nanochat.dag.relaxed import RELAXATIONS, relaxed_loss, relaxed_result

STEPS = 3


@pytest.fixture
def example(tokenizer, make_predictor):
    """(tower, (idx, labels, lengths)): examples of up to 3 operations, all planned at the answer."""

    def make(n: int = 48, operations=(1, STEPS), steps: int = STEPS, **options):
        stream = ExpressionStream(tokenizer, ExpressionSettings(operations, mode="isolated", steps=steps, max_digits=2), seed=1)
        return make_predictor(mode="isolated", steps=steps, **options), tensors_of(stream.batch(n))

    return make


def follow(output):
    """Makes the labelled choices all but certain; what is not labelled stays as it is."""
    operation, *slots = output.labels
    plan = output.plan
    for logits, gold in ((plan.operation_logits, operation), (plan.operand1_logits, slots[0]), (plan.operand2_logits, slots[1])):
        logits.scatter_add_(-1, gold.clamp(min=0)[..., None], torch.where(gold >= 0, 1000.0, 0.0)[..., None])
    return output


@pytest.mark.parametrize("kind", RELAXATIONS)
def test_certain_choices_give_the_executed_result(example, kind):
    model, (idx, labels, lengths) = example()
    with torch.no_grad():
        output = follow(model(idx, labels=labels, lengths=lengths))
        mixed = relaxed_result(output, lengths, RELAXATIONS[kind])
    result = output.plan.result.gather(1, output.of_token.gather(1, (lengths - 1)[:, None])).squeeze(1)
    assert result.isfinite().all() and len({(o != IDENTITY).sum().item() for o in output.labels[0][:, -1]}) > 1
    torch.testing.assert_close(mixed, result.asinh(), rtol=1e-4, atol=1e-4)


def test_soft_mixes_what_straight_through_decides_and_gumbel_draws(example):
    model, (idx, _, lengths) = example()
    output = model(idx, lengths=lengths)
    soft, through, again = (relaxed_result(output, lengths, RELAXATIONS[k]) for k in ("soft", "straight_through", "straight_through"))
    assert torch.equal(through, again) and not torch.allclose(soft, through, rtol=1e-2)
    torch.manual_seed(0)
    assert not torch.equal(*(relaxed_result(output, lengths, RELAXATIONS["gumbel"]) for _ in range(2)))


@pytest.mark.parametrize("kind", RELAXATIONS)
def test_the_answers_error_reaches_pointers_and_operations(example, kind):
    model, batch = example()
    torch.manual_seed(0)
    relaxed_loss(kind, model.train(), batch)[0].backward()
    weights = dict(model.tower.named_parameters())
    for name in ("planner.operation", "planner.query1", "planner.query2", "planner.number_key", "embedding"):
        gradient = weights[f"{name}.weight"].grad
        assert gradient.abs().sum() > 0 and gradient.isfinite().all()


def test_a_learned_reader_learns_beside_it(example):
    model, batch = example(n=16, reader="learned")
    relaxed_loss("soft", model.train(), batch)[0].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.tower.reader.parameters())


def test_answers_alone_teach_a_little(example):
    model, batch = example(n=32, operations=(1, 1), steps=1)
    torch.manual_seed(0)
    optimizer, losses = torch.optim.AdamW(model.train().parameters(), lr=4e-3), []
    for _ in range(40):
        loss, figures = relaxed_loss("soft", model, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5]) and 0 <= figures["answer_right"] <= 1
