"""Numbers and code are found where a person would find them."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.answers import code_block, last_number, marked_number, parse_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("#### 72", 72),
        ("####72", 72),
        ("so it is 5.\n#### $1,234.50", Fraction(2469, 2)),
        ("#### -3", -3),
        ("#### 10.", 10),
        ("#### 10.0", 10),
        ("first #### 1 then #### 2", 2),
        ("the answer is 72", None),
        ("####", None),
    ],
)
def test_the_marked_number_is_what_follows_the_last_mark(text, value):
    assert marked_number(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("He has 3 apples and buys 4, so he has 7.", 7),
        ("It costs 1,250 dollars", 1250),
        ("-5", -5),
        ("9-2", 2),
        ("The temperature is -2.5 degrees.", Fraction(-5, 2)),
        ("it is −4", -4),
        (".5", Fraction(1, 2)),
        ("none", None),
        ("", None),
    ],
)
def test_the_last_number_is_read_exactly(text, value):
    assert last_number(text) == value


@given(st.integers(-(10**12), 10**12))
def test_every_printed_integer_is_read_back(n):
    assert parse_number(str(n)) == parse_number(f"{n:,}") == last_number(f"It is {n:,}.") == marked_number(f"#### {n}") == n


@pytest.mark.parametrize("text", ["", "x", "1e5", "--1", "1.2.3", "nan", "-"])
def test_what_is_not_a_number_is_none(text):
    assert parse_number(text) is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("def f():\n    pass", "def f():\n    pass"),
        ("Sure:\n```python\ndef f():\n    pass\n```\nDone. ```python\nno\n```", "def f():\n    pass\n"),
        ("```\nx = 1\n```", "x = 1\n"),
        ("```py\nx = 1", "x = 1"),
    ],
)
def test_code_is_the_first_fenced_block_or_everything(text, code):
    assert code_block(text) == code
