"""The earlier systems as variants: what they learn from, what they can say, what they see, and that they learn."""

import pytest
import torch

from nanochat.dag.answer_plan import answer_plans
from nanochat.dag.arithmetic import answers_of, tensors_of
from nanochat.dag.executor import ADD, CONSTANTS, DIVIDE, IDENTITY, MULTIPLY, NO_REFERENCE, NO_STEP, OPERATIONS, SUBTRACT, apply
from nanochat.dag.expressions import ExpressionSettings, ExpressionStream
from nanochat.dag.magnitude import mix, results, to_log, whole
from nanochat.dag.numbers import NumberTable, format_value
from nanochat.dag.predictor import PlanLabels, TowerConfig
from nanochat.dag.soft import DECIMALS, bound_gradient, digits_of, operate, round_through
from nanochat.dag.variants import VARIANTS
from nanochat.train.optimizer import parameter_kinds

EARLIER = [name for name in VARIANTS if name != "tower"]
STEPS = 3


@pytest.fixture
def make(tokenizer):
    """`make("soft", steps=3, ...)`: a small variant; `shaken=True` adds noise, so that no weight is zero."""

    def build(name: str, shaken: bool = True, **options):
        torch.manual_seed(0)
        shape = {"width": 32, "layers": 1, "heads": 2, "steps": STEPS, "mode": "isolated", **options}
        model = VARIANTS[name].model(TowerConfig(tokenizer.vocab_size, tokenizer.bos_id, **shape), tokenizer)
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p) * 0.2 * shaken)
        return model

    return build


@pytest.fixture
def draw(tokenizer):
    """`draw(n, **settings)`: a Batch with isolated labels."""

    def batch(n: int, seed: int = 1, **settings):
        settings = {"operations": (1, STEPS), "mode": "isolated", "steps": STEPS, **settings}
        return ExpressionStream(tokenizer, ExpressionSettings(**settings), seed=seed).batch(n)

    return batch


def plans(tokenizer, idx, labels, lengths):
    return answer_plans(idx, labels, lengths, NumberTable(tokenizer), tokenizer.bos_id)


def sure(index, n):
    """Probabilities that choose `index`."""
    return torch.nn.functional.one_hot(index.clamp(min=0), n).double()


# ---------------------------------------------------------------------------------------------------------------------
# What they learn from


@pytest.mark.parametrize("styles", [("symbols", "english"), ("prefix", "latex"), ("let",)])
def test_the_plan_at_the_answer_computes_the_value_of_every_example(tokenizer, draw, styles):
    batch = draw(300, styles=styles)
    plan = plans(tokenizer, *tensors_of(batch))
    assert plan.known.all() and plan.result.tolist() == batch.value.tolist()
    assert ((plan.operation != IDENTITY).sum(1) == torch.from_numpy(batch.operations)).all()
    in_text_order = (plan.leaf_at[:, 1:] > plan.leaf_at[:, :-1]) | ~plan.has_leaf[:, 1:]
    assert in_text_order.all() and (plan.leaf_at[plan.has_leaf] >= 0).all()


def labelled(tokenizer, text, steps):
    """One text whose last token has the plan `steps`: (operation, reference, reference) each."""
    ids = torch.tensor([[tokenizer.bos_id, *tokenizer.encode(text)]])
    shape = (1, ids.shape[1], STEPS)
    labels = PlanLabels(torch.full(shape, NO_STEP), torch.full(shape, NO_REFERENCE), torch.full(shape, NO_REFERENCE))
    for s, (operation, one, two) in enumerate(steps):
        labels.operation[0, -1, s], labels.operand1[0, -1, s], labels.operand2[0, -1, s] = operation, one, two
    if 0 < len(steps) < STEPS:
        labels.operation[0, -1, len(steps)] = IDENTITY
    return ids, labels, torch.tensor([ids.shape[1]])


def test_constants_are_leaves_behind_the_numbers(tokenizer):
    twelve = CONSTANTS.index(12)
    ids, labels, lengths = labelled(tokenizer, "7 =", [(MULTIPLY, -1 - twelve, 1 * (STEPS + 1))])
    plan = plans(tokenizer, ids, labels, lengths)
    assert plan.known.item() and plan.leaf[0, :2].tolist() == [7, 12] and plan.leaf_at[0, :2].tolist() == [1, -1]
    assert plan.operand1[0].tolist() == [1, STEPS + 1, STEPS + 2] and plan.operand2[0].tolist() == [0, -1, -1] and plan.result.item() == 84


def test_a_number_taken_as_it_is_and_a_missing_plan(tokenizer):
    plan = plans(tokenizer, *labelled(tokenizer, "7 =", [(IDENTITY, 1 * (STEPS + 1), NO_REFERENCE)]))
    assert plan.known.item() and plan.result.item() == 7 and plan.operand1[0].tolist() == [0, STEPS + 1, STEPS + 2]
    assert not plans(tokenizer, *labelled(tokenizer, "7 =", [])).known.item()
    other_tokens_result = (ADD, 1 * (STEPS + 1), 1 * (STEPS + 1) + 1)
    assert not plans(tokenizer, *labelled(tokenizer, "7 =", [other_tokens_result])).known.item()


# ---------------------------------------------------------------------------------------------------------------------
# What they can say


@pytest.mark.parametrize("name", ["stack", "pointer"])
def test_gold_decisions_give_the_right_answer_in_log_space(tokenizer, make, draw, name):
    batch = draw(400, max_digits=3)
    model, plan = make(name), plans(tokenizer, *tensors_of(batch))
    target = model.targets(plan)
    chosen = [sure(target.operation, 5), *(sure(slot, 2 * STEPS + 1) for slot in target.operands)]
    sign, log = model.execute(*to_log(target.value), *chosen)
    said = [format_value(v) for v in (sign * log.exp()).tolist()]
    right = torch.tensor([a == b for a, b in zip(said, answers_of(batch), strict=True)])
    zero_inside = (target.has_value & (target.value == 0)).any(1)  # SMALLEST stands for it
    assert right[target.known & ~zero_inside].all()
    share = target.known.double().mean().item()
    assert share == 1 if name == "pointer" else 0.8 < share < 0.98


def test_the_stack_says_what_continues_the_last_result_and_nothing_else(tokenizer, make):
    model, at = make("stack"), [p * (STEPS + 1) for p in (1, 3, 5, 7)]
    text = "8-2/4-3 ="
    own = [len(tokenizer.encode(text)) * (STEPS + 1) + 1 + s for s in range(STEPS)]
    left = [(SUBTRACT, at[0], at[1]), (DIVIDE, own[0], at[2]), (SUBTRACT, at[3], own[1])]
    target = model.targets(plans(tokenizer, *labelled(tokenizer, text, left)))
    assert target.known.item() and target.value[0].tolist() == [3, 0.25, 8, 2]
    assert target.operation[0].tolist() == [SUBTRACT, MULTIPLY, SUBTRACT]
    two_results = [(SUBTRACT, at[0], at[1]), (SUBTRACT, at[2], at[3]), (ADD, own[0], own[1])]
    assert not model.targets(plans(tokenizer, *labelled(tokenizer, text, two_results))).known.item()
    short = model.targets(plans(tokenizer, *labelled(tokenizer, text, left[:1])))
    assert short.has_value[0].tolist() == [False, False, True, True] and short.operation[0].tolist() == [SUBTRACT, IDENTITY, IDENTITY]


def test_operations_in_log_space_and_on_vectors_are_those_of_the_executor():
    x, y = (torch.tensor(v, dtype=torch.float64) for v in ([3.0, -2.5, 7.0, 1e4], [-4.0, -2.5, 0.01, 3.0]))
    for o in range(5):
        expected = apply(torch.full((4,), o), x, y)
        sign, log = mix(sure(torch.full((4,), o), 5), to_log(x), to_log(y), kept=to_log(x))
        torch.testing.assert_close(sign * log.exp(), expected)
        torch.testing.assert_close(operate(x.asinh(), y.asinh())[..., o].sinh(), expected, rtol=2e-2 if o == DIVIDE else 1e-9, atol=1e-9)
    assert len(OPERATIONS) == 5 and results(to_log(x), to_log(-x))[0][:, 0].tolist() == [0, 0, 0, 0]


def test_numbers_are_rounded_for_an_answer():
    near = torch.tensor([11.6, -3.4, 0.26, 1.2e-4, 0.9], dtype=torch.float64)
    sign, log = whole(*to_log(near))
    torch.testing.assert_close(sign * log.exp(), torch.tensor([12, -3, 0.25, 0, 1], dtype=torch.float64))


def test_rounding_passes_the_gradient_and_a_nodes_gradient_is_bounded():
    x = torch.tensor([2.6, -0.3]).asinh().requires_grad_()
    round_through(x).sum().backward()
    assert round_through(x).sinh().tolist() == pytest.approx([3, 0], abs=1e-5) and x.grad.tolist() == [1, 1]
    y = torch.ones(2, 3, requires_grad=True)
    (bound_gradient(y) * torch.tensor([[1e6], [0.1]])).sum().backward()
    assert y.grad.norm(dim=1).tolist() == pytest.approx([0.5, 0.1 * 3**0.5])


def test_digits_of_answers_are_those_of_their_decimal_form():
    values = torch.tensor([0.0, 12.5, -987654321.0625, 999999999.0], dtype=torch.float64)
    said = ["".join(map(str, row)) for row in digits_of(values).tolist()]
    assert said == [f"{round(abs(v) * 10**DECIMALS):013d}" for v in values.tolist()]


# ---------------------------------------------------------------------------------------------------------------------
# What they see


@pytest.mark.parametrize("name", EARLIER)
def test_padding_changes_no_answer(make, draw, name):
    model = make(name).eval()
    idx, _, lengths = tensors_of(draw(12))
    together = model.answers(idx, lengths)
    alone = [model.answers(idx[i : i + 1, : lengths[i]], lengths[i : i + 1])[0] for i in range(len(idx))]
    assert together == pytest.approx(alone, rel=1e-4, nan_ok=True) and len(set(together)) > 1


@pytest.mark.parametrize("name", ["stack", "pointer"])
def test_a_later_token_never_changes_an_earlier_prediction(tokenizer, make, draw, name):
    model = make(name).eval()
    idx, _, _ = tensors_of(draw(6))
    for cut in (4, idx.shape[1] // 2):
        changed = idx.clone()
        changed[:, cut:] = torch.randint(0, tokenizer.vocab_size, changed[:, cut:].shape, generator=torch.Generator().manual_seed(cut))
        for a, b in zip(vars(model(idx)).values(), vars(model(changed)).values(), strict=True):
            assert a is None or (torch.equal(a[:, :cut], b[:, :cut]) and not torch.equal(a[:, cut:], b[:, cut:]))


def test_the_pointer_forms_probabilities_have_the_stated_shapes_and_masks(make, draw):
    idx, _, _ = tensors_of(draw(5))
    output, (b, t), s = make("pointer")(idx), idx.shape, 2 * STEPS + 1
    assert output.operation_probs.shape == (b, t, STEPS, 5) and output.sign.shape == output.log.shape == (b, t, STEPS + 1)
    for p in (output.operand1_probs, output.operand2_probs):
        assert p.shape == (b, t, STEPS, s)
        torch.testing.assert_close(p.sum(-1), torch.ones(b, t, STEPS))
        seen = (p > 0).flatten(0, 1)
        assert seen.all(0).tolist() == seen.any(0).tolist() == [[slot <= STEPS + step for slot in range(s)] for step in range(STEPS)]


def test_the_soft_dag_tells_its_operands_and_operations(make, draw):
    model = make("soft")
    idx, _, lengths = tensors_of(draw(5))
    output, info = model(idx, lengths, return_dag_info=True)
    t = idx.shape[1]
    assert info["operand1"].shape == info["operand2"].shape == (5, STEPS, t + STEPS) and info["operation"].shape == (5, STEPS, 5)
    assert set(info) == {"operand1", "operand2", "operation"} and output.digits.shape == (5, 13, 10)
    at = torch.arange(t + STEPS)
    step = torch.arange(STEPS)[:, None]
    there = (at < lengths[:, None, None]) | ((at >= t) & (at < t + step))
    for p in (info["operand1"], info["operand2"]):
        assert torch.equal(p > 0, there)
        torch.testing.assert_close(p.sum(-1), torch.ones(5, STEPS))


def test_a_text_of_one_token_gets_a_second_node(tokenizer, make):
    model = make("soft").eval()
    one, info = model(torch.tensor([[tokenizer.bos_id]]), return_dag_info=True)
    assert info["operand1"].shape == (1, STEPS, 2 + STEPS) and (info["operand1"][0, :, :2] > 0).all() and one.value.isfinite().all()
    padded = model(torch.tensor([[tokenizer.bos_id, 5, 6]]), torch.tensor([1]))
    torch.testing.assert_close(padded.digits, one.digits)


# ---------------------------------------------------------------------------------------------------------------------
# That they learn


@pytest.mark.parametrize("name", VARIANTS)
def test_gradients_reach_every_parameter(make, draw, name):
    model = make(name)
    VARIANTS[name].loss(model, tensors_of(draw(64)))[0].backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or p.grad.abs().sum() == 0] == []
    assert set(parameter_kinds(model).values()) == {"matrix", "scalar"}


@pytest.mark.parametrize("name", EARLIER)
def test_a_handful_of_examples_is_learned(make, draw, name):
    model, batch = make(name, shaken=False, steps=1), draw(8, operations=(1, 1), steps=1, max_digits=1, decimal_share=0.0, chat_share=0.0)
    tensors, losses = tensors_of(batch), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=8e-3, weight_decay=0.0)
    for _ in range(100):
        loss, _ = model.loss(*tensors)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    said = [format_value(v) for v in model.answers(tensors[0], tensors[2])]
    right = sum(a == b for a, b in zip(said, answers_of(batch), strict=True))
    assert losses[-1] < 0.2 * losses[0] and right >= 4, (losses[0], losses[-1], right)
