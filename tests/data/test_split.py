"""What a calculator is told: the same tree with as few brackets as it can be written with; and many decisions at once are each one's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanochat.data.split import fewest_brackets, held_out, held_out_rows
from tests.dag.reference import calculate, full_brackets

numbers = st.integers(0, 999).map(str) | st.integers(1, 999).map(lambda i: f"{i / 100:.2f}")
trees = st.recursive(numbers, lambda inner: st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({''.join(t)})"), max_leaves=9)


@pytest.mark.parametrize(
    ("canonical", "fewest"),
    [
        ("7", "7"),
        ("(12+(30*2))", "12+30*2"),
        ("((12+30)*2)", "(12+30)*2"),
        ("((7-3)-1)", "7-3-1"),
        ("(7-(3-1))", "7-(3-1)"),
        ("(8/(4*2.5))", "8/(4*2.5)"),
        ("(2+(3+4))", "2+(3+4)"),
    ],
)
def test_needless_brackets_go_and_the_others_stay(canonical, fewest):
    assert fewest_brackets(canonical) == fewest


@given(trees)
def test_the_tree_stays_the_same(canonical):
    text = fewest_brackets(canonical)
    assert full_brackets(text) == canonical
    for i, sign in enumerate(text):
        if sign == "(":
            close = next(j for j in range(i, len(text)) if text[i : j + 1].count("(") == text[i : j + 1].count(")"))
            assert full_brackets(text[:i] + text[i + 1 : close] + text[close + 1 :]) != canonical, "a bracket too many"


@pytest.mark.parametrize("text", ["", "3+4", "(3)", "(3+4", "3+4)", "(3+4+5)", "(3 plus 4)", "()", "(+3)"])
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError, match="pair of brackets"):
        fewest_brackets(text)


def test_the_value_stays_the_same():
    assert calculate(fewest_brackets("((1.5*(4-2))/(3-1))")) == calculate("((1.5*(4-2))/(3-1))")


def test_many_at_once_are_decided_as_each_alone_wherever_the_gaps_are():
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("0123456789.+-*/()"), size=rng.integers(1, 60))) for _ in range(400)]
    rows = np.zeros((len(texts), 90), dtype=np.uint8)
    for row, text in zip(rows, texts, strict=True):
        row[np.sort(rng.choice(90, len(text), replace=False))] = list(text.encode())
    expected = [held_out(text) for text in texts]
    assert held_out_rows(rows).tolist() == expected and 0 < sum(expected) < len(texts)
