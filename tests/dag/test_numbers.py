import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nanochat.dag.numbers import NumberTable, documents_of, format_value, read_numbers
from nanochat.data.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def table(tokenizer):
    return NumberTable(tokenizer)


def read(tokenizer, table, text):
    idx = torch.tensor([[tokenizer.bos_id, *tokenizer.encode(text)]])
    return idx, read_numbers(idx, table, documents_of(idx, tokenizer.bos_id))


def values(tokenizer, table, text):
    _, r = read(tokenizer, table, text)
    return r.value[r.number & ~r.absorbed].tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12 + 30 * 2", [12, 30, 2]),
        ("3.14 and 0.5.", [3.14, 0.5]),
        ("What is -5 + 3?", [-5, 3]),
        ("5 - 3", [5, 3]),
        ("5-3", [5, 3]),
        ("5 - -3", [5, -3]),
        ("(-2.5)*(4)-1", [-2.5, 4, 1]),
        ("-7", [-7]),
        ("2 × −3", [2, -3]),
        ("1,234,567 + 1", [1234567, 1]),
        ("3, 4, 5", [3, 4, 5]),
        ("version 1.2.3", [1.2, 3]),
        ("2020-01-05", [2020, 1, 5]),
        ("B-52", [52]),
        ("(3)-4", [3, 4]),
        ("He paid 12. Then 7.", [12, 7]),
        ("00012", [12]),
        ("123456789012345", [123456789012345]),
        ("1234567890123456", [math.inf]),
        ("no number", []),
        ("$5.50 and -$5 or $-5", [5.5, -5, -5]),
        ("5 $ - 3", [5, 3]),
        ("20% -5", [20, 5]),
        ("20 % - 5", [20, 5]),
        ("3/4", [3, 4]),
        (r"\frac{3}{-4.5} \times 2 - 1", [3, -4.5, 2, 1]),
        (".5 + .5", [0.5, 0.5]),
        ("What is .25 - .5?", [0.25, 0.5]),
        ("-.5*(.125)", [-0.5, 0.125]),
        ("5-.5", [5, 0.5]),
        ("5 - -.5", [5, -0.5]),
        ("$.99 or -$.99 or $-.99", [0.99, -0.99, -0.99]),
        (".5.25 and .1.2.3", [0.5, 25, 0.1, 2.3]),
        ("the end.5 apples (2).5 and 20%.5", [5, 2, 5, 20, 5]),
        ("wait...5", [5]),
        (". 5", [5]),
        ("3 .5", [3, 0.5]),
        (".500,250", [0.5, 250]),
        (".123456789012345", [0.123456789012345]),
        (".1234567890123456", [math.inf]),
        (r"\frac{.5}{2}", [0.5, 2]),
        ("on the 1st of May, the 22nd, the 3rd and the 104th", []),
        ("1st + 2", [2]),
        ("5 than 6", [5, 6]),
        ("5 th", [5]),
        (r"{7} -2 \cdot -3 \div \left(-1\right) -6", [7, 2, -3, -1, 6]),
    ],
)
def test_numbers_are_read_as_a_person_reads_them(tokenizer, table, text, expected):
    assert values(tokenizer, table, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,234", [1234]),
        ("1,234,567", [1234567]),
        ("-1,234.56", [-1234.56]),
        ("999,999,999,999,999", [999999999999999]),
        ("1, 234", [1, 234]),
        ("3,4", [3, 4]),
        ("3,14,159", [3, 14, 159]),
        ("10,20,300", [10, 20, 300]),
        ("1,23", [1, 23]),
        ("1,23.5", [1, 23.5]),
        ("1,234,5", [1234, 5]),
        ("1,234,56.5", [1234, 56.5]),
        ("1234,567", [1234, 567]),
        ("0,500", [0, 500]),
        ("1.5,250", [1.5, 250]),
        ("1,2345", [math.inf]),
        ("1,2345.6", [math.inf]),
        ("1,2345,678", [math.inf, 678]),
        ("(1,234)", [1234]),
        ("111,222,333,444,555,666,777", [111222333444555, 666, 777]),
    ],
)
def test_a_comma_makes_thousands_only_before_exactly_three_digits(tokenizer, table, text, expected):
    assert values(tokenizer, table, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3{,}000", [3000]),
        ("-3{,}000.5 + 12{,}345{,}678", [-3000.5, 12345678]),
        ("999{,}999{,}999{,}999{,}999", [999999999999999]),
        ("1{,}234,567", [1234567]),
        ("3{,}14", [3, 14]),
        ("3{,}0001", [math.inf]),
        ("1234{,}567", [1234, 567]),
        ("3{,} 000", [3, 0]),
        ("3(,)000", [3, 0]),
        ("3{.}000", [3, 0]),
        (r"\frac{3{,}000}{2} - 1", [3000, 2, 1]),
    ],
)
def test_braces_around_a_comma_make_the_same_thousands(tokenizer, table, text, expected):
    assert values(tokenizer, table, text) == expected


def test_braces_of_a_comma_do_not_plan_and_leave_the_depth_as_it_was(tokenizer, table):
    _, r = read(tokenizer, table, "3{,}000")
    assert r.value[0, 1:].tolist() == [3, 0, 0, 0, 0, 0, 3000] and not r.anchor[0, 1:].any()
    assert r.absorbs[0, 1:].tolist() == [0, 0, 0, 0, 0, 1, 5] and r.depth[0, -1] == 0
    _, r = read(tokenizer, table, r"{3}{,")
    assert r.anchor[0, -2:].all(), "a brace behind a brace is none of a number"


@pytest.mark.parametrize("words", [["st"], ["s", "t"]])
def test_an_ordinal_takes_its_digits_back_when_its_ending_is_whole(words):
    tokenizer = Tokenizer({bytes([i]): i for i in range(256)} | {word.encode(): 256 for word in words if len(word) == 2})
    _, r = read(tokenizer, NumberTable(tokenizer), "21st")
    assert r.value[0, 1:].tolist() == [2, 21, *[0] * len(words)] and r.absorbs[0, 1:].tolist() == [
        0,
        1,
        *[0] * (len(words) - 1),
        len(words),
    ]
    assert r.anchor[0, 1:].tolist() == [False] * (1 + len(words)) + [True]


def test_the_third_digit_behind_a_comma_takes_in_what_stands_before_it(tokenizer, table):
    _, r = read(tokenizer, table, "1,234,567")
    assert r.value[0, 1:].tolist() == [1, 0, 2, 23, 1234, 0, 5, 56, 1234567]
    assert r.absorbs[0, 1:].tolist() == [0, 0, 0, 1, 3, 0, 0, 1, 3]


def test_signs_that_are_no_part_of_a_number_may_plan(tokenizer, table):
    idx, r = read(tokenizer, table, "20% of $5 - 3,4")
    may_plan = [tokenizer.decode([i]).strip() for i in idx[0, r.anchor[0]]]
    assert may_plan[1] == "%" and may_plan[-2:] == ["$", "-"]


def test_braces_count_as_brackets(tokenizer, table):
    idx, r = read(tokenizer, table, r"\frac{1}{(2)}")
    assert [r.depth[0, t].item() for t in range(idx.shape[1]) if r.number[0, t]] == [1, 2]
    assert r.depth[0, -1] == 0


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [*"0123456789.,-+()* =", " -", "a", " is", "<bos>", ",123", "{", "}", "$", "%", "{,}", "{,}123", "st", "n", "d", " .", ".5"]
        ),
        min_size=1,
        max_size=24,
    )
)
def test_reading_is_causal_and_equal_prefix_by_prefix(tokenizer, table, pieces):
    """What is read at a token never depends on later tokens, and the words absorbed add up."""
    ids = [tokenizer.bos_id]
    for p in pieces:
        ids += [tokenizer.bos_id] if p == "<bos>" else tokenizer.encode(p)
    idx = torch.tensor([ids])
    whole = read_numbers(idx, table, documents_of(idx, tokenizer.bos_id))
    stack = []
    for t in range(1, len(ids) + 1):
        part = read_numbers(idx[:, :t], table, documents_of(idx[:, :t], tokenizer.bos_id))
        for name in ("value", "number", "absorbs", "reach", "anchor", "space", "depth"):
            assert getattr(part, name)[0, -1] == getattr(whole, name)[0, t - 1], (name, t)
        for _ in range(int(part.absorbs[0, -1])):
            stack.pop()
        stack.append(t - 1)
        assert torch.equal(torch.nonzero(~part.absorbed[0]).squeeze(1), torch.tensor(stack))
    assert not (whole.anchor & whole.absorbed).any()


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**9), st.integers(0, 4), st.booleans())
def test_what_is_printed_is_read_back_as_the_same_number(tokenizer, table, integer, decimals, negative):
    value = (-integer if negative else integer) / 10**decimals
    text = format_value(value)
    assert float(text) == value and values(tokenizer, table, "= " + text) == [value]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (72.0, "72"), (-0.0, "0"), (0.1 + 0.2, "0.3"), (2.5, "2.5"), (-3.0, "-3"), (10 / 3, "3.333333"),
        (1e15, "1000000000000000"), (1e-9, "0"), (-1e-9, "0"), (123456789012.25, "123456789012.25"),
    ],
)  # fmt: skip
def test_numbers_print_as_a_person_writes_them(value, text):
    assert format_value(value) == text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e16])
def test_numbers_float64_cannot_vouch_for_are_not_printed(value):
    assert format_value(value) is None


def test_reading_is_the_same_alone_and_in_a_padded_batch(tokenizer, table):
    texts = ["1 + 2.5 = ", "(-3) * 4,000", "7", "seventy-seven hundred and two"]
    rows = [[tokenizer.bos_id, *tokenizer.encode(t)] for t in texts]
    width = max(map(len, rows)) + 2
    idx = torch.tensor([r + [tokenizer.bos_id] * (width - len(r)) for r in rows])
    together = read_numbers(idx, table, documents_of(idx, tokenizer.bos_id))
    for i, row in enumerate(rows):
        alone = read_numbers(torch.tensor([row]), table, documents_of(torch.tensor([row]), tokenizer.bos_id))
        np.testing.assert_array_equal(together.value[i, : len(row)], alone.value[0])
