"""The calculator is exact, prints like a person, and answers nothing but arithmetic."""

import json
import re
import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanochat.infer.calculator import calculate, format_number

RIGHT = {
    "12 + 30*2": "72", "(1,000 - 1) / 8": "124.875", "1,234,567.5*2": "2469135", "2*-3": "-6", "--3": "3", "-(2+3)*4": "-20",
    "1/3": "0.333333", "2/3": "0.666667", "0.1+0.2": "0.3", ".5*4": "2", "5.": "5", "10/4": "2.5", "1/8-1/8": "0", "7-7.0": "0",
    "-1/3000000000": "0", "12×3−1÷2": "35.5", "100-10-1": "89", "100/10/5": "2", "9007199254740993+0": "9007199254740993",
    "  3 ": "3", "'strawberry'.count('r')": "3", '"a,b,c".count(",")': "2", "'banana'.count('an')": "2",
}  # fmt: skip
WRONG = [
    "", " ", "()", "1 2", "1.2.3", "1+", "+", "*3", "(1", "1)", "2**9", "1//2", "1e5", "0x10", "1_000", "1,00", "5%", "a", "x+1", "5/0",
    "1/(2-2)", "__import__('os')", "(1).real", "'a'.upper()", "'a'.count(1)", "'a'.count('')", "'a' 'b'.count('a')", "1;2", "1\n2", "١+1",
    "9" * 300, "(" * 100 + "1" + ")" * 100, "-" * 100 + "1", "9" * 39 + "*" + "9" * 39, "\x00", "1+\ud800",
]  # fmt: skip


@pytest.mark.parametrize("expression", RIGHT)
def test_arithmetic_has_the_value_a_person_would_write(expression):
    assert calculate(expression) == RIGHT[expression]


@pytest.mark.parametrize("expression", WRONG)
def test_anything_else_has_no_value(expression):
    assert calculate(expression) is None


expressions = st.recursive(
    st.integers(0, 9999).map(str) | st.decimals(0, 99, places=2).map(str),
    lambda inner: st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
    max_leaves=6,
)


@given(expressions)
def test_the_value_is_that_of_exact_fractions(expression):
    try:
        expected = format_number(eval(re.sub(r"[\d.]+", lambda m: f"Fraction('{m[0]}')", expression), {"Fraction": Fraction}))
    except (ZeroDivisionError, ValueError):
        expected = None
    assert calculate(expression) == expected


@given(st.text(max_size=300) | st.text("0123456789.,+-*/() ", max_size=300))
def test_no_text_makes_it_fail_or_slow(text):
    started = time.perf_counter()
    value = calculate(text)
    assert time.perf_counter() - started < 1.0
    assert value is None or re.fullmatch(r"-?\d{1,40}(\.\d{1,6})?", value)


def test_it_agrees_with_the_annotations_of_gsm8k(real_data):
    text = (real_data / "gsm8k" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    pairs = [pair for line in text for pair in re.findall(r"<<([^<>=]*)=([^<>]*)>>", json.loads(line)["answer"])]
    agree = [(v := calculate(e)) is not None and abs(Fraction(v) - Fraction(said.replace(",", ""))) < Fraction(1, 100) for e, said in pairs]
    assert len(pairs) > 4000 and sum(agree) / len(agree) > 0.999
