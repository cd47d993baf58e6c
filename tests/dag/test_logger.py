"""What is logged about the DAG agrees with a direct count, costs nothing between, and complains when it cannot be right."""

import math

import pytest
import torch

from nanochat.dag import attach_branch
from nanochat.dag.arithmetic import ArithmeticTexts, tensors_of
from nanochat.dag.executor import IDENTITY, OPERATIONS
from nanochat.dag.expressions import ExpressionSettings, ExpressionStream
from nanochat.dag.logger import NODES, DAGLogger
from nanochat.dag.losses import labelled
from nanochat.dag.variants import tower_loss as loss_of
from nanochat.data.loader import ConversationLoader
from nanochat.model.gpt import GPT
from nanochat.model.presets import make_config
from nanochat.train.chat import conversation_loss, observer_of

OF_THE_TOWER = {
    *(f"usage/{name}" for name in OPERATIONS),
    *(f"gradient/{name}" for name in OPERATIONS),
    *(f"gradient_norm/{name}" for name in ("embedding", "trunk", "operation", "pointers", "final_hidden", "operation_logits")),
    *(f"node/{i + 1}" for i in range(NODES)),
    *("operation_diversity", "operation_sharpness", "operation_information", "pointer_entropy/operand1", "pointer_entropy/operand2"),
    "nodes",
}
OF_THE_BRANCH = {
    *("gate/mean", "gate/max", "gate/open", "norm/hidden", "norm/contribution", "norm/mixed", "norm/ratio"),
    *(f"gradient_norm/{name}" for name in ("hidden", "mixed", "gate_logit", "from_model", "gate", "features", "dag_scale")),
}


def batch_of(tokenizer, n=12):
    return tensors_of(ExpressionStream(tokenizer, ExpressionSettings(), seed=1).batch(n))


def watched(model, batch, loss_fn=loss_of, passes=1):
    """The figures of one pass, with the gradients still in place."""
    logger = DAGLogger(model)
    logger.begin(passes)
    model.train().zero_grad()
    (loss_fn(model, batch, logger=logger)[0] / passes).backward()
    return logger.get_wandb_logging_dict(), logger


@pytest.fixture
def gpt(tokenizer, make_predictor):
    """A small GPT with a tower whose gate and scale are no longer zero, and a batch of conversations with arithmetic."""
    torch.manual_seed(0)
    model = GPT(make_config("tiny", vocab_size=tokenizer.vocab_size))
    branch = attach_branch(model, make_predictor(), tokenizer)
    with torch.no_grad():
        branch.gate.weight.normal_()
        branch.gate.bias.fill_(0.0)
        branch.dag_scale.fill_(0.5)
    items = ArithmeticTexts(tokenizer, ExpressionSettings(operations=(1, 3)), 200, seed=0)
    return model, next(ConversationLoader(items, tokenizer, 4, 64, seed=0))


def test_the_tower_alone_has_figures_of_plans_and_gradients(tokenizer, make_predictor):
    values, _ = watched(make_predictor(), batch_of(tokenizer))
    assert set(values) == {f"dag/{name}" for name in OF_THE_TOWER} and all(type(v) is float for v in values.values())
    assert sum(values[f"dag/usage/{name}"] for name in OPERATIONS) == pytest.approx(1)
    for name in ("operation_diversity", "operation_sharpness"):
        assert 0 < values[f"dag/{name}"] < 1
    assert 0 < values["dag/operation_information"] < math.log(5) and values["dag/pointer_entropy/operand1"] > 0
    assert all(v > 0 for name, v in values.items() if "gradient" in name)


def test_a_branch_has_figures_of_its_gate_and_of_what_it_adds_too(gpt):
    model, batch = gpt
    values, logger = watched(model, batch, conversation_loss)
    assert set(values) == {f"dag/{name}" for name in OF_THE_TOWER | OF_THE_BRANCH}
    assert all(v > 0 for name, v in values.items() if "gradient" in name or "norm" in name)
    with torch.no_grad():
        side = model(batch.inputs, plan=model.branch.labels(batch.documents, batch.inputs)).side
    gate = side["gate_logit"][side["speaks"]].sigmoid()
    assert values["dag/gate/mean"] == pytest.approx(float(gate.mean()), rel=1e-4)
    assert values["dag/gate/max"] == pytest.approx(float(gate.max()), rel=1e-4)
    assert values["dag/gate/open"] == pytest.approx(float((gate > 0.5).float().mean()), abs=1e-6) and 0 < values["dag/gate/open"] < 1
    weights = model.branch.gate.weight.grad, model.branch.gate.bias.grad
    assert values["dag/gradient_norm/gate"] == pytest.approx(math.sqrt(sum(float(w.square().sum()) for w in weights)), rel=1e-4)


def test_certain_decisions_are_sharp_and_even_ones_carry_no_information(tokenizer, make_predictor):
    model, batch = make_predictor(), batch_of(tokenizer)
    with torch.no_grad():
        model.tower.planner.operation.weight.zero_()
    even, _ = watched(model, batch)
    assert even["dag/operation_diversity"] == pytest.approx(1) and even["dag/operation_sharpness"] == pytest.approx(0, abs=1e-6)
    assert even["dag/operation_information"] == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        model.tower.planner.operation.weight.normal_(std=100.0)
    sharp, _ = watched(model, batch)
    assert sharp["dag/operation_sharpness"] > 0.95
    most = max(OPERATIONS, key=lambda name: sharp[f"dag/usage/{name}"])
    assert 1 / 5 < sharp[f"dag/usage/{most}"] <= 1


def test_gradients_by_operation_are_those_of_the_logits_whatever_the_number_of_passes(tokenizer, make_predictor):
    model, batch = make_predictor(), batch_of(tokenizer)
    one, _ = watched(model, batch)
    four, _ = watched(model, batch, passes=4)
    idx, labels, lengths = batch
    output = model(idx, labels=labels, lengths=lengths)
    known, idle = labelled(output.labels, output.present)
    p = output.plan.operation_logits[known].softmax(-1)
    gold = torch.nn.functional.one_hot(output.labels[0][known], 5)
    count = torch.where(idle, idle.sum(), (known & ~idle).sum())[known]
    expected = ((p - gold) / count[:, None]).abs().mean(0)  # the gradient of two mean cross-entropies
    for name, value in zip(OPERATIONS, expected.tolist(), strict=True):
        assert one[f"dag/gradient/{name}"] == pytest.approx(value, rel=1e-4)
        assert four[f"dag/gradient/{name}"] == pytest.approx(value, rel=1e-4)
    assert four["dag/gradient_norm/final_hidden"] == pytest.approx(one["dag/gradient_norm/final_hidden"], rel=1e-4)


def test_the_timeline_shows_the_signed_values_of_one_example_in_order(tokenizer, make_predictor):
    batch = ExpressionStream(tokenizer, ExpressionSettings(), seed=3).batch(1, operations=4)
    values, logger = watched(make_predictor(), tensors_of(batch))
    assert values["dag/nodes"] == 4 and values["dag/node/4"] == pytest.approx(batch.value[0])
    assert math.isnan(values["dag/node/5"])
    steps = logger.console_line().split("; ")
    assert len(steps) == 4 and float(steps[-1].split(" = ")[1]) == pytest.approx(batch.value[0])


def test_only_the_longest_document_of_a_packed_row_is_the_example(tokenizer, make_predictor):
    stream = ExpressionStream(tokenizer, ExpressionSettings(), seed=3)
    rows = [tensors_of(stream.batch(1, operations=k)) for k in (1, 3, 2)]
    idx, logger = torch.cat([idx for idx, *_ in rows], dim=1), DAGLogger(model := make_predictor())
    logger.begin()
    logger.see(model.train()(idx), idx)
    own = logger.get_wandb_logging_dict()["dag/nodes"]
    alone = []
    for one, *_ in rows:
        output = model(one)
        alone.append(int(((output.plan.operation != IDENTITY) & output.present[..., None]).sum()))
    assert own == max(alone) > 0


def test_a_gradient_that_did_not_come_is_zero(tokenizer, make_predictor):
    model, batch = make_predictor(), batch_of(tokenizer)
    logger = DAGLogger(model)
    logger.begin()
    model.zero_grad()
    loss_of(model, batch, logger=logger)  # no backward pass
    values = logger.get_wandb_logging_dict()
    assert all(v == 0 for name, v in values.items() if "gradient" in name)
    assert {name for name in values} == {f"dag/{name}" for name in OF_THE_TOWER}


def test_between_the_logged_steps_nothing_is_kept(gpt):
    model, batch = gpt
    logger = observer_of(model)
    model.train()
    loss, _ = conversation_loss(model, batch, logger)
    loss.backward()
    assert logger._values == {} and logger._grown == {}
    with pytest.raises(RuntimeError, match="nothing was seen"):
        logger.get_wandb_logging_dict()
    watched(model, batch, conversation_loss)
    assert model.branch.gate.weight.grad is not None and observer_of(model).watching is False
    model.branch = None
    assert observer_of(model) is None


def test_watching_changes_neither_loss_nor_gradients(gpt):
    model, batch = gpt
    watched(model, batch, conversation_loss)
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    conversation_loss(model, batch)[0].backward()
    assert all(torch.equal(p.grad, found[name]) for name, p in model.named_parameters() if p.grad is not None)


@pytest.mark.parametrize("name", ["gate_logit", "speaks", "hidden", "mixed"])
def test_wrong_shapes_are_refused(gpt, name):
    model, batch = gpt
    logger = DAGLogger(model)
    side = model.train()(batch.inputs, plan=model.branch.labels(batch.documents, batch.inputs)).side
    logger.begin()
    with pytest.raises(ValueError, match=f"{name} has the shape"):
        logger.see({**side, name: side[name][:, 1:]}, batch.inputs)


def test_plans_of_a_wrong_shape_are_refused(tokenizer, make_predictor):
    model, (idx, labels, lengths) = make_predictor(), batch_of(tokenizer)
    output = model(idx, labels=labels, lengths=lengths)
    output.plan.operation_logits = output.plan.operation_logits[..., :4]
    logger = DAGLogger(model)
    logger.begin()
    with pytest.raises(ValueError, match="operation_logits has the shape"):
        logger.see(output, idx)


def test_a_pass_without_anything_to_plan_has_figures_too(tokenizer, make_predictor):
    idx = torch.full((2, 3), tokenizer.encode("7")[0])  # an open number does not plan
    model = make_predictor()
    logger = DAGLogger(model)
    logger.begin()
    logger.see(model.train()(idx), idx)
    values = logger.get_wandb_logging_dict()
    assert values["dag/nodes"] == 0 and logger.console_line() == "" and values["dag/usage/add"] == 0
