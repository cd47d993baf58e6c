"""Figures and free text as people read them."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanochat.report.text import code, count, duration, exactly, fenced, memory, number, percent, plain, power, shorten, table


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (7, "7"), (9_999, "9,999"), (12_400, "12.4 k"), (999_700, "1.00 M"), (1_830_000, "1.83 M"), (1.4e9, "1.40 B"),
     (0.02, "0.0200"),
     (3.14159, "3.14"), (2e-5, "2.00 × 10⁻⁵"), (3.92e15, "3.92 × 10¹⁵"), (-1_830_000, "-1.83 M"), (None, "–"), (math.nan, "NaN"),
     (math.inf, "∞"), ("words", "words"), (True, "True")],
)  # fmt: skip
def test_a_number_has_three_digits_and_a_suffix(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.972, "97.2 %"),
        (1, "100 %"),
        (0.0, "0 %"),
        (0.9997, "99.97 %"),
        (0.99999, "99.999 %"),
        (0.0002, "0.02 %"),
        (math.nan, "NaN"),
        (None, "–"),
    ],
)
def test_a_share_is_a_percentage(share, text):
    assert percent(share) == text


@given(st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_what_is_not_everything_never_reads_100_and_what_is_not_nothing_never_reads_0(share):
    shown = percent(share)
    assert not re.fullmatch(r"(100|0)(\.0*)? %", shown), shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.21, "3.2 s"), (42, "42 s"), (59.7, "1 min"), (843, "14 min 3 s"), (25_980, "7 h 13 min"), (183_600, "2 d 3 h"), (None, "–")],
)
def test_a_duration_has_the_units_that_matter(seconds, text):
    assert duration(seconds) == text


def test_other_figures():
    assert (count(21_400), count(560_988_160), exactly(3)(0.61284), exactly(3)(None)) == ("21,400", "561 M", "0.613", "–")
    assert (power(3.9e13), power(0), memory(8 * 2**30), memory(870 * 2**20)) == ("3.90 × 10¹³", "0", "8.0 GiB", "870 MiB")


def test_markdown_and_html_in_free_text_lose_their_meaning():
    assert plain("a|b *c* <i>&\n$x$ [l](u)") == "a\\|b \\*c\\* &lt;i&gt;&amp; \\$x\\$ \\[l\\](u)"
    assert code("a|`b`") == "`` a\\|`b` ``"


@given(st.text() | st.text("a`\\| \n"), st.text() | st.text("a`\\| \n"))
def test_a_row_of_a_table_stays_one_line_of_its_cells_whatever_they_hold(first, second):
    row = table(["one", "two"], [[plain(first), code(second)]]).split("\n")[2:]
    assert len(row) == 1
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", row[0])) == 3


@given(st.text())
def test_nothing_within_a_code_block_closes_it(text):
    block = fenced(text)
    fence = block[: len(block) - len(block.lstrip("`"))]
    assert block.endswith("\n" + fence)
    assert fence not in block[len(fence) : -len(fence)]


def test_long_text_is_cut_to_one_line():
    assert shorten("a\nb " * 50, 10) == "a b a b a…"
