"""Questions for rounded numbers, what their text says about the decimals, and the head that chooses them."""

import math
import re
from fractions import Fraction

import pytest
import torch

from nanochat.dag.arithmetic import ROUNDED_SHARE, ArithmeticTexts, answers_of, tensors_of
from nanochat.dag.emission import NumberPrinter
from nanochat.dag.expressions import ExpressionSettings, ExpressionStream
from nanochat.dag.mixer import BranchConfig, DagBranch
from nanochat.dag.numbers import DECIMALS, PRINTED_DECIMALS, NumberTable, format_value
from nanochat.dag.predictor import PredictorOnlyModel, TowerConfig
from nanochat.dag.rounding import NAMES, Written, rounding_loss, written
from nanochat.dag.variants import tower_loss
from nanochat.data.split import held_out
from tests.dag.reference import calculate, expression_in, full_brackets
from tests.dag.test_labels import pack

PHRASE = r",?( and round)?( rounded)? to (the nearest (\w+)( number)?|a whole number|(\w+) decimals?( places?)?)"
NEAREST = {"whole": 0, "integer": 0, "tenth": 1, "hundredth": 2, "thousandth": 3}


def text_of(tokenizer, ids):
    return tokenizer.decode([int(i) for i in ids if i < len(tokenizer.ranks)])


def asked_for(text):
    """(decimals, text without the request)."""
    found = re.search(PHRASE, text)
    if not found:
        return PRINTED_DECIMALS, text
    word = found[4] or found[6]
    decimals = NEAREST[found[4]] if found[4] else 0 if word is None else int(word) if word.isdigit() else NAMES.index(word)
    return decimals, text.replace(found[0], "")


@pytest.mark.parametrize("value", [2.5, 3.5, -0.5, 0.125, 0.0625, 1e15, 123456.7, -7 / 3])
@pytest.mark.parametrize("decimals", DECIMALS)
def test_numbers_are_rounded_half_to_even_without_trailing_zeros(value, decimals):
    expected = Fraction(round(Fraction(value), decimals))
    assert Fraction(format_value(value, decimals)) == expected and not re.search(r"\.\d*0$|\.$", format_value(value, decimals))


@pytest.mark.parametrize("split", ["train", "val"])
def test_the_answer_is_the_exact_value_rounded_as_the_question_says(tokenizer, split):
    batch = ExpressionStream(tokenizer, ExpressionSettings(), split, seed=1).rounded(600)
    counts = dict.fromkeys(DECIMALS, 0)
    for row, answer in enumerate(answers_of(batch)):
        text = text_of(tokenizer, batch.ids[row, : batch.length[row]])
        decimals, question = asked_for(text)
        expression = expression_in(re.sub("round", "", question, flags=re.IGNORECASE))
        exact = calculate(expression)
        assert decimals == batch.decimals[row] and Fraction(answer) == round(exact, decimals), text
        assert answer != format_value(batch.value[row]) or decimals == PRINTED_DECIMALS != 0, text
        assert exact.denominator > 1 and held_out(full_brackets(expression)) == (split == "val")
        assert tokenizer.encode(text) == [int(i) for i in batch.ids[row, : batch.length[row]] if i < len(tokenizer.ranks)]
        counts[decimals] += 1
    assert min(counts.values()) > 40


def test_following_the_plans_gives_the_rounded_answers(tokenizer, make_predictor):
    batch = ExpressionStream(tokenizer, ExpressionSettings(), seed=2).rounded(200)
    idx, labels, lengths = tensors_of(batch)
    output = make_predictor()(idx, labels=labels, lengths=lengths)
    results = output.plan.result.gather(1, output.of_token.gather(1, (lengths - 1)[:, None])).squeeze(1)
    assert [format_value(float(v), int(d)) for v, d in zip(results, batch.decimals, strict=True)] == answers_of(batch)


def test_some_of_the_texts_ask_for_rounding_and_one_kind_of_decimals_can_be_asked_for(tokenizer):
    texts = ArithmeticTexts(tokenizer, ExpressionSettings(), 500, seed=0)
    rounded = texts.special["rounded"]
    assert len(rounded) == int(500 * ROUNDED_SHARE) and len(texts) == 500
    assert texts[-1].ids[texts[-1].answer + 1 : -1] == tokenizer.encode(answers_of(rounded)[-1])
    only = ExpressionStream(tokenizer, ExpressionSettings(), seed=0).rounded(30, decimals=3)
    assert len(only) == 30 and set(only.decimals) == {3}


@pytest.mark.parametrize(
    ("value", "text", "expected"),
    [
        (10 / 3, "3.33", [2]), (10 / 3, "3.3", [1]), (10 / 3, "3", [0]), (10 / 3, "3.", [0]), (10 / 3, "3.333333", [6]),
        (2.5, "2.5", [6]), (2.5, "2", [0]), (10 / 3, "3.35", []), (10 / 3, "34", []), (-20 / 3, "-6.667", [3]), (12.0, "12", [6]),
        (10 / 3, "four", []), (3.0201, "3", [0, 1]), (3.0201, "3.02", [2, 3]),
    ],
)  # fmt: skip
def test_the_text_tells_the_decimals(tokenizer, value, text, expected):
    idx = torch.tensor([[tokenizer.bos_id, *tokenizer.encode("x"), *tokenizer.encode(text), tokenizer.bos_id]])
    at = len(tokenizer.encode("x"))
    where = torch.zeros_like(idx, dtype=torch.bool)
    where[0, at] = True
    values = torch.full(idx.shape, value, dtype=torch.float64)
    found = written(idx, values, where, NumberPrinter(tokenizer), NumberTable(tokenizer).kind)
    assert found.at.tolist() == [[at]] and [DECIMALS[i] for i in found.fits[0, 0].nonzero()] == expected


def branch_of(tokenizer):
    torch.manual_seed(0)
    tower = TowerConfig(tokenizer.vocab_size, tokenizer.bos_id, width=32, layers=1)
    return DagBranch(BranchConfig(tower, 48, layer=0), tokenizer)


def rounded_texts(tokenizer, n):
    texts = ArithmeticTexts(tokenizer, ExpressionSettings(chat_share=1.0), 25 * n, seed=3)
    return list(texts)[-n:], texts.special["rounded"].decimals[-n:]


def test_in_training_numbers_are_printed_as_the_text_has_them(tokenizer):
    """Whatever the head says: the copied tokens of every answer are those of the text."""
    branch, (items, decimals) = branch_of(tokenizer).train(), rounded_texts(tokenizer, 12)
    documents, idx = pack(items)
    _, side = branch(torch.zeros(*idx.shape, 48), idx, plan=branch.labels(documents, idx))
    for (offset, item), wanted in zip(documents[0], decimals, strict=True):
        answer = range(offset + item.answer, offset + len(item) - 2)
        assert side["following"][0, list(answer)].tolist() == item.ids[item.answer + 1 : -1]
        result = side["result"][0, answer[0]].item()
        assert format_value(result, int(side["decimals"][0, answer[0]])) == format_value(result, int(wanted))
    assert side["metrics"]["dag/rounding_loss"] > 0.5


def test_beside_a_gpt_the_head_learns_from_what_the_text_shows_and_then_prints_it(tokenizer):
    branch, (items, decimals) = branch_of(tokenizer).train(), rounded_texts(tokenizer, 24)
    documents, idx = pack(items)
    answers = torch.tensor([offset + item.answer for offset, item in documents[0]])
    hidden = torch.zeros(1, idx.shape[1], 48)
    hidden[0, answers, torch.from_numpy(decimals)] = 9.0
    torch.nn.init.normal_(branch.tower.from_model.weight)
    optimizer, labels = torch.optim.AdamW(branch.tower.rounding.parameters(), lr=0.05), branch.labels(documents, idx)
    for _ in range(30):
        _, side = branch(hidden, idx, plan=labels)
        optimizer.zero_grad()
        side["loss"].backward()
        optimizer.step()
    with torch.no_grad():
        _, side = branch.eval()(hidden, idx)
    assert (side["decimals"][0, answers] == torch.from_numpy(decimals)).float().mean() > 0.9  # few fit more than what was asked for


def test_a_head_that_says_two_decimals_prints_two(tokenizer):
    branch = branch_of(tokenizer).eval()
    with torch.no_grad():
        branch.tower.rounding.bias[DECIMALS.index(2)] = 9.0
        branch.gate.bias.fill_(8.0)
        idx = torch.tensor([[tokenizer.bos_id, *tokenizer.encode("7 / 3 =")]])
        _, side = branch(torch.zeros(*idx.shape, 48), idx)
        result = side["result"][0, -1].item()
        state = branch.init_state(1, 30)
        state.new_lengths = torch.tensor([idx.shape[1]])
        branch(torch.zeros(*idx.shape, 48), idx, cache=state)
    assert state.offered() == [tokenizer.encode(format_value(result, 2))]


def test_numbers_printed_as_they_are_and_rounded_ones_count_alike(tokenizer):
    fits = torch.zeros(1, 10, len(DECIMALS), dtype=torch.bool)
    fits[0, :8, 0], fits[0, 8, 3] = True, True  # eight as they are, one rounded, one that nothing fits
    torch.manual_seed(0)
    logits, at = torch.randn(1, 10, len(DECIMALS)), torch.arange(10)[None]
    nll = -logits[0].log_softmax(-1)
    assert Written(at, fits).nll(logits).item() == pytest.approx((nll[:8, 0].mean() + nll[8, 3]).item(), rel=1e-5)


def test_the_tower_alone_learns_to_how_many_decimals_is_asked_for(tokenizer):
    torch.manual_seed(0)
    model = PredictorOnlyModel(TowerConfig(tokenizer.vocab_size, tokenizer.bos_id, width=32, layers=2), tokenizer).train()
    stream = ExpressionStream(tokenizer, ExpressionSettings(operations=(1, 1)), seed=5)
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=4e-3), []
    for step in range(60):
        loss, figures = tower_loss(model, tensors_of(stream.rounded(32) if step % 2 else stream.batch(32)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses += [figures["rounding_loss"].item()] if step % 2 else []
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def test_the_loss_of_a_rounding_choice_counts_known_answers_only():
    logits = torch.zeros(4, len(DECIMALS))
    logits[2, DECIMALS.index(3)] = 50.0
    as_it_is, asked = PRINTED_DECIMALS, 3
    loss = rounding_loss(logits, torch.tensor([as_it_is, -1, asked, -1]))
    assert loss.item() == pytest.approx(math.log(len(DECIMALS)))  # nothing known about the first, all about the third
    assert rounding_loss(logits, torch.tensor([-1, -1, -1, -1])).item() == 0
