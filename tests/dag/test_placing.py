"""Plans of real answers: which numbers they point to, where they stand, and that carrying them out gives the printed number."""

import numpy as np
import pytest
import torch

from nanochat.dag.executor import ADD, IDENTITY, MULTIPLY
from nanochat.dag.labels import GATE_OPEN, plan_tensors
from nanochat.dag.numbers import NumberTable, format_value
from nanochat.dag.placing import NO_NUMBER, NO_PLACE, NO_ROOM, Unplaced, grounds_of, place, resolve
from nanochat.data.conversations import render
from tasks.common import load_task, question_answer
from tasks.gsm8k import planned_parts
from tasks.plans import planned_answer


def placed(tokenizer, conversation, steps=2, mode="tape"):
    """The rendered conversation, and per plan its placed operations or the reason why it has none."""
    item = render(tokenizer, conversation)
    ground = grounds_of(torch.tensor([item.ids]), NumberTable(tokenizer), tokenizer.bos_id)[0]
    out = []
    for plan in item.plans:
        try:
            out.append(place(plan, 0, ground, steps, mode))
        except Unplaced as error:
            out.append(str(error))
    return item, out


def printed(model, tokenizer, item, steps=2, mode="tape"):
    """What the labelled plans compute at each open gate, and where."""
    idx = torch.tensor([item.ids])
    labels = plan_tensors([[(0, item)]], idx, model.tower.table, tokenizer.bos_id, steps, mode)
    output = model(idx, labels=labels)
    open_at = (labels.gate[0] == GATE_OPEN).nonzero().squeeze(1).tolist()
    return [format_value(output.plan.result[0, output.of_token[0, t]].item()) for t in open_at], open_at


WORKED = (
    "Natalia sold 48/2 = <<48/2=24>>24 clips in May and 3,000 * 2 = <<3000*2=6000>>6,000 elsewhere, of which 20% or "
    "$<<.2*6000=1200>>1,200 came back.\nThat is 24 * 2 + 1200 / (3 + 9) - 8 = $<<24*2+1200/(3+9)-8=140.00>>140.00 all in all.\n#### 140"
)


@pytest.mark.parametrize("steps", [2, 3])
def test_plans_of_a_worked_answer_compute_its_numbers(tokenizer, make_predictor, steps):
    item = render(tokenizer, question_answer("Natalia sold clips to 48 of her friends.", planned_parts(WORKED)))
    said, open_at = printed(make_predictor(steps=steps), tokenizer, item, steps)
    assert said == ["24", "6000", "1200", "140", "140"]
    for t, number in zip(open_at, said, strict=True):
        assert tokenizer.decode(item.ids[t + 1 : t + 1 + len(number)]) == number


def test_an_expression_written_out_is_reduced_at_its_operators_as_generated_ones_are(tokenizer):
    parts = [
        {"type": "text", "text": "So 2 * 3 + 4 = "},
        {"type": "text", "text": "10", "plan": [["multiply", "v2", "v3"], ["add", "s0", "v4"]]},
    ]
    item, (plan,) = placed(tokenizer, question_answer("Is 2 * 3 known?", parts))
    tokens = [tokenizer.decode([item.ids[p.token]]).strip() for p in plan]
    assert [(p.operation, p.step) for p in plan] == [(MULTIPLY, 0), (ADD, 0)] and tokens == ["+", "="]
    _, (plan,) = placed(tokenizer, question_answer("Is 2 * 3 known?", parts), mode="isolated")
    assert len({p.token for p in plan}) == 1


def test_an_operand_is_the_latest_number_of_its_value_then_a_hundredth_then_a_constant():
    values = np.array([5.0, 20.0, 5.0, 0.5])
    assert resolve([("add", "v5", "v20")], values) == [("add", 2, 1)]
    assert resolve([("add", "v5", "v0.2"), ("subtract", "s0", "v7")], values) == [
        ("multiply", 1, "c0.01"), ("add", 2, "s0"), ("subtract", "s1", "c7")]  # fmt: skip
    assert resolve([("multiply", "v0.5", "v100")], values) == [("multiply", 3, "c100")]
    with pytest.raises(Unplaced, match=NO_NUMBER):
        resolve([("add", "v6", "v5")], values)


def test_numerals_in_words_count_and_indices_are_those_of_the_reader(tokenizer, make_predictor):
    for question, expression, answer in (
        ("She has twelve eggs and half of her 30 friends bring two more each.", "12+30*0.5*2", "42"),
        ("A hundred and five cows, 5 of them sold", "105-5", "100"),
    ):
        item = render(tokenizer, planned_answer(question, expression, answer))
        assert printed(make_predictor(), tokenizer, item)[0] == [answer]


def test_why_a_plan_has_no_place(tokenizer):
    number = {"type": "text", "text": "3", "plan": [["add", "v1", "v2"]]}
    for parts, reason in (
        ([{**number, "plan": [["add", "v81", "v2"]]}], NO_NUMBER),
        ([{"type": "text", "text": "1 and 2 is 1"}, number], NO_PLACE),
        (
            [{"type": "text", "text": "Is "}, {**number, "plan": [["add", "v1", "v2"], *(["add", f"s{k}", "v1"] for k in range(8))]}],
            NO_ROOM,
        ),
    ):
        assert placed(tokenizer, question_answer("1 and 2", parts))[1] == [reason]


def test_a_plan_never_uses_a_number_that_stands_behind_it(tokenizer):
    parts = [
        {"type": "text", "text": "It is "},
        {"type": "text", "text": "9", "plan": [["add", "v2", "v77"]]},
        {"type": "text", "text": ", 77."},
    ]
    assert placed(tokenizer, question_answer("2 and 7", parts))[1] == [NO_NUMBER]


def test_two_plans_do_not_share_a_token(tokenizer):
    number = {"type": "text", "text": "6", "plan": [["add", "v1", "v2"], *(["add", f"s{k}", "v1"] for k in range(3))]}
    item = render(tokenizer, question_answer("1 and 2", [number, {"type": "text", "text": ", "}, number]))
    labels = plan_tensors([[(0, item)]], torch.tensor([item.ids]), NumberTable(tokenizer), tokenizer.bos_id, 2)
    assert [labels.gate[0, p.position].item() for p in item.plans] == [GATE_OPEN, -1]
    assert (labels.operation[0, item.plans[0].position] < IDENTITY).all()


@pytest.mark.parametrize(("name", "least"), [("gsm8k_plans", 0.99), ("gsm8k_direct", 0.5), ("mawps", 0.9)])
def test_most_plans_of_the_real_files_compute_the_printed_number(real_data, tokenizer, make_predictor, name, least):
    task, model, right, numbers = load_task(name, real_data, "val"), make_predictor(), 0, 0
    for conversation in list(task)[:60]:
        item = render(tokenizer, conversation)
        said, open_at = printed(model, tokenizer, item)
        expected = {plan.position: plan.printed for plan in item.plans}
        assert said == [expected[t] for t in open_at]
        right, numbers = right + len(said), numbers + len(expected)
    assert right >= least * numbers
