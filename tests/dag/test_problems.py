"""Word problems in batches: the text is what the tokenizer writes, the plan gives the value, and nothing held out is trained on."""

import re

import numpy as np
import pytest
import torch

from nanochat.dag.arithmetic import tensors_of
from nanochat.dag.executor import IDENTITY, NO_STEP
from nanochat.dag.expressions import ExpressionSettings, ExpressionStream
from nanochat.dag.labels import plan_tensors
from nanochat.dag.numbers import NumberTable, format_value
from nanochat.data import corpus
from nanochat.data.conversations import render
from nanochat.data.split import held_out
from tests.dag.reference import calculate


def batch(tokenizer, n=400, split="train", **options):
    settings = ExpressionSettings(styles=("problems",), operations=(1, 3), **options)
    return ExpressionStream(tokenizer, settings, split, seed=7).batch(n)


def text_of(tokenizer, batch, row: int) -> str:
    return tokenizer.decode(batch.ids[row, 2 : batch.length[row] - 2].tolist())


def results(model, idx, labels, lengths, at) -> list[str | None]:
    """What is printed after tokens `at` (B,) if the plan is followed."""
    with torch.no_grad():
        output = model(idx, labels=labels, lengths=lengths)
    of = output.of_token.gather(1, at[:, None])
    assert (of >= 0).all()
    return [format_value(v) for v in output.plan.result.gather(1, of).squeeze(1).tolist()]


@pytest.mark.parametrize(("mode", "steps"), [("tape", 2), ("tape", 3), ("isolated", 3)])
def test_following_the_labels_gives_every_value(tokenizer, make_predictor, mode, steps):
    made = batch(tokenizer, mode=mode, steps=steps)
    idx, labels, lengths = tensors_of(made)
    said = results(make_predictor(mode=mode, steps=steps), idx, labels, lengths, lengths - 1)
    assert said == [format_value(float(v)) for v in made.value]


def test_following_the_plans_of_conversations_gives_every_answer(tokenizer, make_predictor):
    items = [render(tokenizer, c) for c in corpus.word_problems("train", count=300)]
    answers = [c["messages"][1]["content"] for c in corpus.word_problems("train", count=300)]
    idx = torch.nn.utils.rnn.pad_sequence([torch.tensor(item.ids) for item in items], batch_first=True)
    labels = plan_tensors([[(0, item)] for item in items], idx, NumberTable(tokenizer), tokenizer.bos_id, 2)
    at = torch.tensor([item.plan.position for item in items])
    assert results(make_predictor(), idx, labels, torch.tensor([len(item) for item in items]), at) == answers


def test_what_a_sentence_settles_is_reduced_where_the_next_one_begins(tokenizer):
    message = {"role": "assistant", "content": "5", "plan": [["add", 0, 1, 1], ["subtract", "s0", 2, 2]]}
    text = "Tom has 3 apples. He buys 4. Then he loses 2 of them. How many apples are there?"
    item = render(tokenizer, {"messages": [{"role": "user", "content": text}, message]})
    idx = torch.tensor([item.ids])
    operation = plan_tensors([[(0, item)]], idx, NumberTable(tokenizer), tokenizer.bos_id, 2).operation[0]
    at = ((operation >= 0) & (operation != IDENTITY)).any(1).nonzero().flatten().tolist()
    before = [tokenizer.decode(item.ids[2:t]) for t in at]
    assert [b.rpartition(".")[0] for b in before] == ["Tom has 3 apples. He buys 4", "Tom has 3 apples. He buys 4. Then he loses 2 of them"]
    assert operation[item.plan.position].tolist() == [IDENTITY, NO_STEP]


def test_pieces_joined_are_the_encoding_of_the_text(tokenizer):
    made = batch(tokenizer)
    for row in range(len(made)):
        text = text_of(tokenizer, made, row)
        assert tokenizer.encode(text) == made.ids[row, 2 : made.length[row] - 2].tolist()
        assert re.match(r"\w|\$\d", text) and text.endswith(("?", ".")), text
        assert not re.search(r"  |[<>{}\[\]|~@=]|\$(?!\d)| [.,?]|\.\.|[.?!] [a-z]", text), text


@pytest.mark.parametrize("split", ["train", "val"])
def test_canonical_expression_gives_the_value_and_decides_the_split(tokenizer, split):
    made = batch(tokenizer, 200, split)
    for row in range(len(made)):
        expression = made.expression(row)
        assert float(calculate(expression)) == pytest.approx(made.value[row], rel=1e-12)
        assert held_out(expression) == (split != "train")


def test_numbers_are_digits_or_words_and_some_are_neither(tokenizer):
    texts = [text_of(tokenizer, made, row) for made in [batch(tokenizer, 1500)] for row in range(1500)]
    share = np.mean([not re.search(r"\d", text) for text in texts])
    assert 0.05 < share < 0.2
    for word in ("a dozen", "half of", "twice as", "percent", "%", "in an? (?:week|day|hour|year)"):
        assert any(re.search(word, text) for text in texts), word


def test_as_many_operations_as_asked_for_and_never_more_than_there_are(tokenizer):
    stream = ExpressionStream(tokenizer, ExpressionSettings(styles=("problems", "symbols"), operations=(1, 8)), seed=2)
    assert set(stream.batch(60, operations=3).operations) == {3} and set(stream.batch(60, operations=7).operations) == {7}
    only = ExpressionStream(tokenizer, ExpressionSettings(styles=("problems",), operations=(1, 8)), seed=2)
    assert set(only.batch(200).operations) == {1, 2, 3}
    with pytest.raises(ValueError, match="at most 3 operations, not 5"):
        only.batch(10, operations=5)


def test_texts_differ_and_the_same_seed_gives_the_same(tokenizer):
    made = batch(tokenizer)
    assert np.array_equal(made.ids, batch(tokenizer).ids)
    assert len({re.sub(r"\d+", "", text_of(tokenizer, made, row)) for row in range(len(made))}) > 60
