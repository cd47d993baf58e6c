import math
import random

import pytest
import torch

from nanochat.dag.arithmetic import tensors_of
from nanochat.dag.expressions import ExpressionSettings, ExpressionStream
from nanochat.dag.losses import structure_loss
from nanochat.dag.planner import gather
from tests.dag.test_expressions import tensors


def facts(output, upto):
    """What is known at each planning token before position `upto`: results, choices, and the values pointed to."""
    found = {}
    for row in range(len(output.at)):
        for a in range(output.at.shape[1]):
            if output.present[row, a] and output.at[row, a] < upto:
                result = output.plan.result[row, a].item()
                found[row, int(output.at[row, a])] = (output.plan.operation[row, a].tolist(), None if math.isnan(result) else result)
    return found


@pytest.mark.parametrize("mode", ["tape", "isolated"])
def test_a_later_token_never_changes_an_earlier_plan(tokenizer, make_predictor, mode):
    model = make_predictor(mode=mode, steps=3)
    batch = ExpressionStream(tokenizer, ExpressionSettings(mode="tape", steps=3), seed=1).batch(12)
    idx, _, lengths = tensors(batch)
    generator = torch.Generator().manual_seed(0)
    for cut in range(3, idx.shape[1], 4):
        changed = idx.clone()
        changed[:, cut:] = torch.randint(0, tokenizer.vocab_size, changed[:, cut:].shape, generator=generator)
        full = torch.full_like(lengths, idx.shape[1])
        a, b = model(idx, lengths=full), model(changed, lengths=full)
        assert facts(a, cut) == facts(b, cut)


def test_later_words_never_change_the_plan_before_a_numeral(tokenizer, make_predictor):
    model = make_predictor(steps=3)
    words = [*"-3,½", "two", "hundred", "and", "twenty", "five", "point", "six", "teen", "ty", "plus", "times", "million", "der", "456"]
    draw = random.Random(0)
    for _ in range(12):
        texts = ["What is", *(" " * draw.randint(0, 1) + draw.choice(words) for _ in range(14))]
        idx = torch.tensor([[tokenizer.bos_id, *tokenizer.encode("".join(texts))]])
        for cut in range(3, idx.shape[1], 5):
            changed = torch.cat([idx[:, :cut], torch.tensor([tokenizer.encode("".join(draw.choices(texts, k=6)))])], dim=1)
            a, b = model(idx, lengths=torch.tensor([idx.shape[1]])), model(changed, lengths=torch.tensor([changed.shape[1]]))
            assert facts(a, cut) == facts(b, cut)


def test_batched_answers_equal_single_ones(tokenizer, make_predictor):
    model = make_predictor()
    idx, _, lengths = tensors(ExpressionStream(tokenizer, ExpressionSettings(), seed=2).batch(40))
    together = model.answers(idx, lengths)
    alone = [model.answers(idx[i : i + 1, : lengths[i]], lengths[i : i + 1])[0] for i in range(len(idx))]
    assert [repr(x) for x in together] == [repr(x) for x in alone]


def test_documents_of_a_packed_row_do_not_see_each_other(tokenizer, make_predictor):
    model = make_predictor()
    idx, _, lengths = tensors(ExpressionStream(tokenizer, ExpressionSettings(), seed=3).batch(6))
    rows = [idx[i, : lengths[i]] for i in range(6)]
    packed = model(torch.cat(rows)[None])
    offset = 0
    for row in rows:
        alone = facts(model(row[None]), len(row))
        inside = {(0, at - offset): f for (_, at), f in facts(packed, 10**9).items() if offset <= at < offset + len(row)}
        assert alone == inside
        offset += len(row)


def test_isolated_plans_use_no_results_of_other_tokens(tokenizer, make_predictor):
    model = make_predictor(mode="isolated", steps=3)
    idx, _, lengths = tensors(ExpressionStream(tokenizer, ExpressionSettings(), seed=4).batch(8))
    output = model(idx, lengths=lengths)
    steps, anchors = 3, output.at.shape[1]
    visible = output.plan.operand1_logits.isfinite()[..., -anchors * steps :].unflatten(-1, (anchors, steps))
    own = torch.eye(anchors, dtype=torch.bool)[None, :, None, :, None]
    assert not (visible & ~own).any() and (visible & own).any()


def test_plans_have_the_stated_shapes_and_probabilities(tokenizer, make_predictor):
    model = make_predictor(steps=3)
    idx, _, lengths = tensors(ExpressionStream(tokenizer, ExpressionSettings(), seed=5).batch(8))
    output = model(idx, lengths=lengths)
    b, a, d, s = output.plan.operand1_logits.shape
    assert (b, d) == (8, 3) and output.plan.operation_logits.shape == (b, a, d, 5) and output.hidden.shape == (b, a, 32)
    torch.testing.assert_close(output.plan.operand2_logits.softmax(-1).sum(-1), torch.ones(b, a, d))
    assert output.plan.slot_values.shape == (b, s)


def test_every_parameter_learns_from_the_structure_loss(tokenizer, make_predictor):
    model = make_predictor().train()
    idx, labels, lengths = tensors(ExpressionStream(tokenizer, ExpressionSettings(), seed=6).batch(64))
    structure_loss(model(idx, labels=labels, lengths=lengths))[0].backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or p.grad.abs().sum() == 0]
    assert silent == ["tower.rounding.weight", "tower.rounding.bias"]  # which has a loss of its own


def test_operands_of_equal_value_count_as_right(tokenizer, make_predictor):
    model = make_predictor()
    ids = torch.tensor([[tokenizer.bos_id, *tokenizer.encode("7 + 7 =")]])
    output = model(ids)
    output.labels = (output.plan.operation, output.plan.operand1, output.plan.operand2)
    at_end = int(output.of_token[0, -1])
    first, second = 18, 19  # the two sevens follow the 18 constants
    output.plan.operand1_logits[0, at_end, 0, [first, second]] = torch.tensor([9.0, 50.0])
    slot = torch.full_like(output.plan.operand1, -1)
    slot[0, at_end, 0] = first
    output.labels = (output.plan.operation, slot, slot)
    _, metrics = structure_loss(output)
    assert output.plan.slot_values[0, [first, second]].tolist() == [7, 7] and metrics["operand_match"] > 0


def test_a_few_steps_of_training_learn_one_operation(tokenizer, make_predictor):
    torch.manual_seed(0)
    model = make_predictor().train()
    stream = ExpressionStream(tokenizer, ExpressionSettings(operations=(1, 1)), seed=7)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    losses = []
    for _ in range(60):
        idx, labels, lengths = tensors(stream.batch(32))
        loss, _ = structure_loss(model(idx, labels=labels, lengths=lengths))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.3 * sum(losses[:5])


def test_gather_takes_rows():
    x = torch.arange(12.0).view(2, 3, 2)
    assert gather(x, torch.tensor([[2], [0]])).tolist() == [[[4.0, 5.0]], [[6.0, 7.0]]]


def test_asking_only_busy_tokens_for_operands_changes_neither_loss_nor_gradients(tokenizer, make_predictor):
    stream = ExpressionStream(tokenizer, ExpressionSettings(styles=("symbols", "problems", "let"), operations=(1, 3)), seed=4)
    idx, labels, lengths = tensors_of(stream.batch(40))
    found = []
    for busy_only in (False, True):
        tower = make_predictor().tower.train()
        output = tower(idx, labels=labels, lengths=lengths, busy_only=busy_only)
        loss, metrics = structure_loss(output)
        loss.backward()
        found.append((loss, metrics, {name: p.grad for name, p in tower.named_parameters()}, output))
    (loss, metrics, gradients, full), (few_loss, few_metrics, few_gradients, few) = found
    assert few_loss.item() == pytest.approx(loss.item(), rel=1e-5)
    assert {k: float(v) for k, v in few_metrics.items()} == pytest.approx({k: float(v) for k, v in metrics.items()}, rel=1e-4)
    for name, gradient in gradients.items():
        if not name.startswith("rounding."):  # which this loss says nothing about
            assert torch.allclose(few_gradients[name], gradient, rtol=1e-3, atol=1e-6), name
    busy = torch.zeros_like(few.present).scatter(1, few.plan.busy, True)
    assert 2 * few.plan.busy.shape[1] < few.present.shape[1] and (few.plan.result.isnan() | busy).all()
    has = few.plan.result.isfinite()
    assert has.any() and torch.equal(few.plan.result[has], full.plan.result[has])


def test_of_a_number_the_planner_is_told_only_whether_it_is_less_than_one_or_very_small(tokenizer, make_predictor):
    def logits(number: str):
        ids = [tokenizer.bos_id, *tokenizer.encode(f"Tom sells {number} of them.")]
        return make_predictor()(torch.tensor([ids])).plan.operation_logits[0, -1]

    seven, three = logits("7"), logits("3")
    assert torch.equal(seven, logits("31415")) and torch.equal(seven, logits("twelve")) and torch.equal(seven, logits("3.5"))
    assert torch.equal(three, logits("three")) and torch.equal(three, logits("3.0")) and not torch.allclose(three, seven)
    assert torch.equal(logits("half"), logits("0.25")) and not torch.allclose(seven, logits("half"))
