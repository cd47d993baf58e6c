"""What a calculator is told: the same tree with as few brackets as it can be written with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanochat.data.split import fewest_brackets
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
