"""Chains of statements: an independent reader finds the same answer, the same split, and gold plans print it."""

import re
from fractions import Fraction

import pytest

from nanochat.dag.arithmetic import tensors_of
from nanochat.dag.expressions import ExpressionSettings, ExpressionStream
from nanochat.dag.numbers import format_value
from nanochat.dag.statements import MOST_OTHERS, NAMES
from nanochat.data.split import held_out
from tests.dag.reference import PHRASES, calculate

OPERATORS = {phrase: symbol for phrase, symbol in PHRASES.items() if symbol in ("+", "-", "*", "/") and phrase != " x "}


def text_of(tokenizer, batch, row):
    return tokenizer.decode([i for i in batch.ids[row, : batch.length[row]] if i < len(tokenizer.ranks)])


def read(text):
    """(canonical expression, exact value) of what a text asks, read statement by statement."""
    known = {}
    for phrase, symbol in OPERATORS.items():
        text = text.replace(f" {phrase} ", f" {symbol} ")
    *statements, question = [part.strip() for part in re.split(r"[.;](?=\s)", text)]
    for statement in statements:
        name, value = re.fullmatch(r"(?:Let )?([a-z]) (?:=|is|be) (.*)", statement).groups()
        words = [known.get(word, word) for word in value.split()]
        assert len(words) in (1, 3), statement
        known[name] = words[0] if len(words) == 1 else f"({''.join(words)})"
    asked = re.fullmatch(r"(?:[Ww]hat is |How much is |Find |Calculate )?(.*?)(?: = )?[?.]", question)[1]
    words = [known.get(word, word) for word in asked.split()]
    assert len(words) in (1, 3), question
    asked = words[0] if len(words) == 1 else f"({''.join(words)})"
    return asked, calculate(asked)


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("operations", [(1, 6), (20, 20)])
def test_value_and_split_agree_with_an_independent_reader(tokenizer, split, operations):
    settings = ExpressionSettings(styles=("let",), operations=operations, max_digits=5, decimal_share=0.3)
    batch = ExpressionStream(tokenizer, settings, split, seed=2).batch(300)
    for row in range(len(batch)):
        text = text_of(tokenizer, batch, row)
        asked, exact = read(text)
        assert Fraction(format_value(batch.value[row])) == exact, text
        assert not text.startswith(" "), text
        assert held_out(asked) == (split == "val") and asked.count("(") == batch.operations[row]
        plain = [int(i) for i in batch.ids[row, : batch.length[row]] if i < len(tokenizer.ranks)]
        assert tokenizer.encode(text) == plain


@pytest.mark.parametrize(("mode", "steps"), [("tape", 1), ("tape", 2), ("isolated", 12)])
def test_gold_plans_print_every_answer(tokenizer, make_predictor, mode, steps):
    settings = ExpressionSettings(styles=("let",), operations=(1, 12), mode=mode, steps=steps)
    batch = ExpressionStream(tokenizer, settings, seed=3).batch(300)
    idx, labels, lengths = tensors_of(batch)
    output = make_predictor(steps=settings.steps, mode=mode)(idx, labels=labels, lengths=lengths)
    results = output.plan.result.gather(1, output.of_token.gather(1, (lengths - 1)[:, None])).squeeze(1)
    assert [format_value(v) for v in results.tolist()] == [format_value(v) for v in batch.value]


def test_what_was_said_last_tells_little(tokenizer):
    batch = ExpressionStream(tokenizer, ExpressionSettings(styles=("let",), operations=(3, 3)), seed=4).batch(400)
    texts = [text_of(tokenizer, batch, row) for row in range(len(batch))]
    parts = [[part.strip() for part in re.split(r"[.;](?=\s)", text)] for text in texts]
    inline = [bool(re.search("[Ww]hat is .* |[Cc]alculate|How much is .* |Find .* ", question)) for *_, question in parts]
    assert 0.15 < sum(inline) / len(inline) < 0.25
    # three operations are three statements, or four if a number begins, or one less and an expression in the question
    counts = {len(statements) - 1 + asks for statements, asks in zip(parts, inline, strict=True)}
    assert counts == set(range(3, 3 + MOST_OTHERS + 2))
    twice, by_name, elsewhere = 0, 0, 0
    for *statements, question in parts:
        statements = [re.fullmatch(r"(?:Let )?([a-z]) (?:=|is|be) (.*)", statement).groups() for statement in statements]
        uses = [re.findall(r"\b[a-z]\b", value) for _, value in statements]
        called = [name for names in uses for name in names]
        twice += len(called) > len(set(called))
        by_name += any(len(names) == 2 for names in uses)
        elsewhere += not re.search(rf"\b{statements[-1][0]}\b", question.split("is ")[-1])
    assert min(twice, by_name, elsewhere) > 0.25 * len(parts)


def test_chains_may_be_longer_than_expressions(tokenizer):
    settings = ExpressionSettings(styles=("symbols", "let"), operations=(1, 2), chain_operations=9)
    batch = ExpressionStream(tokenizer, settings, seed=5).batch(900)
    texts = [text_of(tokenizer, batch, row) for row in range(len(batch))]
    chains = [bool(re.search(r"\b[a-z] (=|is|be) ", text)) for text in texts]
    assert {n for n, chain in zip(batch.operations, chains, strict=True) if chain} == set(range(1, 10))
    assert {n for n, chain in zip(batch.operations, chains, strict=True) if not chain} == {1, 2}
    assert len(batch) == 900 and 0.4 < sum(chains) / 900 < 0.6


def test_longer_chains_than_there_are_names_are_refused(tokenizer):
    stream = ExpressionStream(tokenizer, ExpressionSettings(styles=("let",), operations=(len(NAMES), len(NAMES))))
    with pytest.raises(ValueError, match="more names than there are letters"):
        stream.batch(1)
