"""The structure loss against a plain enumeration of all operand pairs."""

import pytest
import torch

from nanochat.dag.arithmetic import tensors_of
from nanochat.dag.executor import (
    ADD,
    CONSTANTS,
    IDENTITY,
    MULTIPLY,
    NO_REFERENCE,
    NO_STEP,
    SUBTRACT,
    constant_reference,
    number_reference,
    tape_reference,
)
from nanochat.dag.expressions import ExpressionSettings, ExpressionStream
from nanochat.dag.losses import structure_loss, whole_plans
from nanochat.dag.predictor import PlanLabels

STEPS = 2


def labelled(tokenizer, text, plan):
    """(ids (1, T), labels) of a text whose last token carries out `plan`: (operation, reference, reference) per step."""
    ids = torch.tensor([[tokenizer.bos_id, *tokenizer.encode(text)]])
    shape = (*ids.shape, STEPS)
    labels = PlanLabels(torch.full(shape, NO_STEP), *(torch.full(shape, NO_REFERENCE) for _ in range(2)))
    for s in range(STEPS):
        operation, *references = plan[s] if s < len(plan) else (IDENTITY, NO_REFERENCE, NO_REFERENCE)
        labels.operation[0, -1, s] = operation
        labels.operand1[0, -1, s], labels.operand2[0, -1, s] = references
    return ids, labels


def references_of(model, ids):
    """The reference of every slot that the last token's second step may point to: constants, numbers, its first step."""
    output = model(ids)
    ends = (output.reading.number & ~output.reading.absorbed)[0].nonzero().flatten().tolist()
    numbers = [number_reference(p, STEPS) for p in ends]
    return [*map(constant_reference, range(len(CONSTANTS))), *numbers, tape_reference(ids.shape[1] - 1, 0, STEPS)]


@torch.no_grad()
def enumerated(model, tokenizer, text, plan):
    """-log of the probability of all operand pairs of the last step of `plan` that have the labelled pair's values, in any order where
    the operation commutes: one forward pass for each first choice."""
    ids, labels = labelled(tokenizer, text, plan)
    at, s, total = ids.shape[1] - 1, len(plan) - 1, 0.0
    output = model(ids, labels=labels)
    wanted = [float(output.plan.slot_values[0, slot[0, output.of_token[0, at], s]]) for slot in output.labels[1:]]
    orders = [wanted, wanted[::-1]] if plan[s][0] in (ADD, MULTIPLY) else [wanted]
    for reference in references_of(model, ids):
        labels.operand1[0, at, s] = reference
        output = model(ids, labels=labels)
        a = int(output.of_token[0, at])
        if reference > NO_REFERENCE and int(output.labels[1][0, a, s]) < 0:
            continue  # this step itself
        first = int(output.labels[1][0, a, s])
        p1, p2 = (x[0, a, s].softmax(-1) for x in (output.plan.operand1_logits, output.plan.operand2_logits))
        values = output.plan.slot_values[0]
        total += sum(float(p1[first] * p2[b]) for b in p2.nonzero().flatten() if [float(values[first]), float(values[b])] in orders)
    return -torch.tensor(total).log()


@torch.no_grad()
def operand_loss(model, tokenizer, text, plan, **options):
    ids, labels = labelled(tokenizer, text, plan)
    output = model(ids, labels=labels)
    return structure_loss(output, **options)[1]["operand_loss"]


@pytest.mark.parametrize("operation", [ADD, MULTIPLY, SUBTRACT])
def test_the_loss_of_one_operation_is_that_of_all_right_pairs(tokenizer, make_predictor, operation):
    model, text = make_predictor(steps=STEPS, seed=operation), "31 ? 48 ="
    end = [number_reference(p, STEPS) for p in (2, len(tokenizer.encode(text)) - 1)]
    plan = [(operation, *end)]
    torch.testing.assert_close(operand_loss(model, tokenizer, text, plan), enumerated(model, tokenizer, text, plan))


def test_the_loss_of_a_second_step_counts_both_orders_of_an_own_result(tokenizer, make_predictor):
    model, text = make_predictor(steps=STEPS, seed=4), "31 48 19 ="
    ids = [tokenizer.bos_id, *tokenizer.encode(text)]
    first, second, third = (number_reference(p, STEPS) for p in (2, 5, 8))
    own = tape_reference(len(ids) - 1, 0, STEPS)
    whole = [(SUBTRACT, second, third), (MULTIPLY, first, own)]
    apart = operand_loss(model, tokenizer, text, whole) * 2 - operand_loss(model, tokenizer, text, whole[:1])  # means over steps
    torch.testing.assert_close(apart, enumerated(model, tokenizer, text, whole))


def test_equal_numbers_are_one_pair_not_two(tokenizer, make_predictor):
    model, text = make_predictor(steps=STEPS), "31 + 31 ="
    plan = [(ADD, *(number_reference(p, STEPS) for p in (2, 5)))]
    assert operand_loss(model, tokenizer, text, plan) == operand_loss(model, tokenizer, text, plan, either_order=False)


def test_following_either_order_gives_the_same_loss_later_and_the_same_figures(tokenizer, make_predictor):
    """Labels with the operands of every commuting step exchanged are the same labels."""
    model = make_predictor(steps=STEPS)
    idx, labels, lengths = tensors_of(ExpressionStream(tokenizer, ExpressionSettings(max_digits=6), seed=2).batch(60))
    commutes = (labels.operation == ADD) | (labels.operation == MULTIPLY)
    exchanged = PlanLabels(
        labels.operation,
        torch.where(commutes, labels.operand2, labels.operand1),
        torch.where(commutes, labels.operand1, labels.operand2),
    )
    a, b = (model(idx, labels=x, lengths=lengths) for x in (labels, exchanged))
    (loss_a, figures_a), (loss_b, figures_b) = structure_loss(a), structure_loss(b)
    torch.testing.assert_close(loss_a, loss_b, rtol=1e-3, atol=1e-3)  # of two equal numbers the labelled one is told to the second pointer
    assert figures_a["operand_match"] == pytest.approx(float(figures_b["operand_match"]), abs=0.02)
    assert loss_a < structure_loss(a, either_order=False)[0]


def test_a_plan_with_exchanged_operands_counts_as_right_where_the_operation_commutes(tokenizer, make_predictor):
    """The tower is made to point to 48 first and then to 31: right for 31 + 48, wrong for 31 - 48."""
    model, text = make_predictor(steps=STEPS), "31 ? 48 ="
    first, second = (number_reference(p, STEPS) for p in (2, len(tokenizer.encode(text)) - 1))
    for operation, right in ((ADD, True), (SUBTRACT, False)):
        ids, labels = labelled(tokenizer, text, [(operation, first, second)])
        output = model(ids, labels=labels)
        a, n = int(output.of_token[0, -1]), len(CONSTANTS)
        output.plan.operation_logits[0, a, 0, operation] = output.plan.operation_logits[0, a, 1, IDENTITY] = 50.0
        output.plan.operand1_logits[0, a, 0, n + 1] = 50.0
        if operation == ADD:
            output.plan.other_order.operand2_logits[0, 0, n] = 50.0
        assert whole_plans(output).tolist() == [right]
        if operation == ADD:  # told 48, the second pointer must choose 31
            output.plan.other_order.operand2_logits[0, 0, n + 1] = 90.0
            assert whole_plans(output).tolist() == [False]
