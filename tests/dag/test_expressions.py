import re
from fractions import Fraction

import numpy as np
import pytest

from nanochat.common import UserError
from nanochat.dag.arithmetic import tensors_of as tensors
from nanochat.dag.executor import NO_REFERENCE, NO_STEP
from nanochat.dag.expressions import Batch, ExpressionSettings, ExpressionStream, gathered
from nanochat.dag.numbers import format_value
from nanochat.dag.surface import STYLES
from nanochat.dag.trees import drawn, lots
from nanochat.data.split import held_out
from tests.dag.reference import calculate, expression_in, full_brackets, in_digits

WIDE = {
    "operations": (1, 8),
    "max_digits": 6,
    "decimal_share": 0.3,
    "chat_share": 0.7,
    "styles": ("symbols", "english", "latex", "prefix", "numerals"),
}


def text_of(tokenizer, ids):
    """The text between the special tokens."""
    return tokenizer.decode([i for i in ids if i < len(tokenizer.ranks)])


@pytest.mark.parametrize("split", ["train", "val"])
def test_text_value_and_split_agree_with_an_independent_reader(tokenizer, split):
    batch = ExpressionStream(tokenizer, ExpressionSettings(**WIDE), split, seed=3).batch(1500)
    for ids, length, value in zip(batch.ids, batch.length, batch.value, strict=True):
        expression = expression_in(in_digits(text_of(tokenizer, ids[:length])))
        exact = calculate(expression)
        assert Fraction(format_value(value)) == exact, expression
        assert held_out(full_brackets(expression)) == (split == "val"), expression


def test_assembled_tokens_are_the_encoding_of_the_text(tokenizer):
    batch = ExpressionStream(tokenizer, ExpressionSettings(**WIDE), seed=4).batch(1000)
    for ids, length in zip(batch.ids, batch.length, strict=True):
        plain = [int(i) for i in ids[:length] if i < len(tokenizer.ranks)]
        assert tokenizer.encode(text_of(tokenizer, plain)) == plain


@pytest.mark.parametrize("mode", ["tape", "isolated"])
def test_oracle_gold_plans_print_every_answer(tokenizer, make_predictor, mode):
    """Reader, labels, executor and printer together: with gold plans every printed answer is right."""
    steps = 2 if mode == "tape" else 8
    model = make_predictor(steps=steps, mode=mode)
    batch = ExpressionStream(tokenizer, ExpressionSettings(**{**WIDE, "styles": STYLES}, mode=mode, steps=steps), seed=5).batch(
        2000 if mode == "tape" else 400
    )
    idx, labels, lengths = tensors(batch)
    output = model(idx, labels=labels, lengths=lengths)
    of_answer = output.of_token.gather(1, (lengths - 1)[:, None])
    assert (of_answer >= 0).all()
    results = output.plan.result.gather(1, of_answer).squeeze(1)
    printed = [format_value(v) for v in results.tolist()]
    assert printed == [format_value(v) for v in batch.value]


def test_tape_never_needs_more_than_two_steps_at_a_token(tokenizer):
    batch = ExpressionStream(tokenizer, ExpressionSettings(operations=(8, 10), steps=4, max_digits=2), seed=6).batch(800)
    assert (
        (batch.operation[:, :, 2:] < 4).all()
        or not (batch.operation[:, :, 2] >= 0).any()
        or set(np.unique(batch.operation[:, :, 2])) <= {-1, 4}
    )


def test_same_seed_same_stream_and_resume_continues_it(tokenizer):
    a, b = (ExpressionStream(tokenizer, ExpressionSettings(), seed=1) for _ in range(2))
    np.testing.assert_array_equal(a.batch(50).ids, b.batch(50).ids)
    state, ahead = a.state_dict(), a.batch(50)
    c = ExpressionStream(tokenizer, ExpressionSettings(), seed=99)
    c.load_state_dict(state)
    np.testing.assert_array_equal(c.batch(50).ids, ahead.ids)
    assert not np.array_equal(b.batch(40).ids[:, :10], ExpressionStream(tokenizer, ExpressionSettings(), seed=2).batch(40).ids[:, :10])


def test_every_count_of_operations_and_every_operation_occurs(tokenizer):
    batch = ExpressionStream(tokenizer, ExpressionSettings(), seed=8).batch(3000)
    counts = np.bincount(batch.operations)[1:]
    assert len(counts) == 6 and counts.min() > 300
    reductions = np.bincount(batch.operation[batch.operation >= 0], minlength=5)
    assert (reductions[:4] > 400).all()


@pytest.mark.parametrize(
    ("style", "marks"),
    [("symbols", "+*/("), ("english", ("plus", "times", "over")), ("latex", (r"\frac{", r"\times", r"\left(", "}{")),
     ("prefix", ("the sum of", "the quotient of", " and ")), ("numerals", ("twenty-", " hundred and ", " thousand ", " point five"))],
)  # fmt: skip
def test_a_style_is_written_as_it_is_called(tokenizer, style, marks):
    batch = ExpressionStream(tokenizer, ExpressionSettings(styles=(style,), operations=(3, 6)), seed=9).batch(300)
    text = " ".join(text_of(tokenizer, ids[:n]) for ids, n in zip(batch.ids, batch.length, strict=True))
    assert all(mark in text for mark in marks)
    others = {"plus", r"\times", "the sum of"} - {m for m in marks if m in ("plus", r"\times", "the sum of")}
    assert style in ("prefix", "numerals") or not any(other in text for other in others)


def test_brackets_that_do_not_matter_occur(tokenizer):
    batch = ExpressionStream(tokenizer, ExpressionSettings(styles=("symbols",)), seed=10).batch(3000)
    texts = [text_of(tokenizer, ids[:n]) for ids, n in zip(batch.ids, batch.length, strict=True)]
    assert any(re.search(r"\(\d+\)", text) for text in texts) and any("))" in text for text in texts)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("split", ["train", "val"])
def test_any_number_of_examples_can_be_asked_for(tokenizer, style, split):
    stream = ExpressionStream(tokenizer, ExpressionSettings(styles=(style,), operations=(1, 8)), split, seed=11)
    for n in (1, 2, 3, 50):
        for operations in (1, 3 if style == "problems" else 8):
            assert len(stream.batch(n, operations=operations)) == n


def test_parts_gathered_are_the_examples_asked_for_in_that_order(tokenizer):
    parts = ExpressionStream(tokenizer, ExpressionSettings(styles=("symbols", "prefix", "let")), seed=3).parts(120)
    rows = np.arange(119, -1, -7)
    made = Batch(**gathered(parts, rows, list(vars(parts[0]))))
    each = [part.select([row]) for part in parts for row in range(len(part))]
    assert made.ids.shape[1] == made.length.max() and len(made) == len(rows) < 120
    for at, row in enumerate(rows):
        one, n = each[row], made.length[at]
        assert made.expression(at) == one.expression(0) and made.value[at] == one.value[0] and not made.ids[at, n:].any()
        for name, fill in (("ids", 0), ("operation", NO_STEP), ("operand1", NO_REFERENCE), ("operand2", NO_REFERENCE)):
            found, expected = getattr(made, name)[at], getattr(one, name)[0]
            assert np.array_equal(found[:n], expected) and (name == "operation" or (found[n:] == fill).all())


def test_lots_are_as_frequent_as_their_shares(tokenizer):
    table = lots(0.3, 0.45, 0, 0.25)
    counts = np.bincount(drawn(np.random.default_rng(0), table, (200, 100)).ravel(), minlength=4)
    assert counts[2] == 0 and counts / 20_000 == pytest.approx([0.3, 0.45, 0, 0.25], abs=0.015)
    with pytest.raises(AssertionError):
        lots(0.33, 0.33, 0.33)


def test_a_style_named_more_often_is_more_frequent(tokenizer):
    batch = ExpressionStream(tokenizer, ExpressionSettings(styles=("symbols", "let", "let", "let", "problems"), operations=(1, 3))).batch(
        2000
    )
    assert len(batch) == 2000
    texts = [tokenizer.decode(batch.ids[row, : batch.length[row]].tolist()) for row in range(len(batch))]
    share = sum(bool(re.search(r"\b[a-z] (=|is|be) ", text)) for text in texts) / len(texts)
    assert 0.55 < share < 0.65


def test_unknown_styles_are_refused(tokenizer):
    with pytest.raises(UserError, match="styles of symbols, english, .* not roman"):
        ExpressionStream(tokenizer, ExpressionSettings(styles=("roman",)))


def test_unknown_mode_is_refused(tokenizer):
    with pytest.raises(ValueError, match="'tape' or 'isolated'"):
        ExpressionStream(tokenizer, ExpressionSettings(mode="stack"))


def test_a_batch_knows_its_canonical_expressions_after_joining_and_selecting(tokenizer):
    batch = ExpressionStream(tokenizer, ExpressionSettings(styles=("symbols", "prefix", "let")), seed=3).batch(200)
    rows = np.arange(199, -1, -2)
    chosen = batch.select(rows).first(90)
    for i in range(90):
        expression = chosen.expression(i)
        assert expression == batch.expression(rows[i]) and float(calculate(expression)) == pytest.approx(chosen.value[i], rel=1e-12)
        assert full_brackets(expression) == expression and not held_out(expression)
