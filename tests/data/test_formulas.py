"""Written arithmetic as plans."""

import pytest

from nanochat.data.formulas import plain, plan_of


@pytest.mark.parametrize(
    ("expression", "plan"),
    [
        ("48/2", [["divide", "v48", "v2"]]),
        ("(22.0-14.0)/4", [["subtract", "v22", "v14"], ["divide", "s0", "v4"]]),
        ("10-4-3", [["subtract", "v10", "v4"], ["subtract", "s0", "v3"]]),
        ("2+3*4", [["multiply", "v3", "v4"], ["add", "v2", "s0"]]),
        ("3*4+3*4", [["multiply", "v3", "v4"], ["add", "s0", "s0"]]),
        ("1,000×.5", [["multiply", "v1000", "v0.5"]]),
        ("$05 ÷ 20%", [["multiply", "v20", "v0.01"], ["divide", "v5", "s0"]]),
        ("-3+5", [["subtract", "c0", "v3"], ["add", "s0", "v5"]]),
        ("72", [["identity", "v72", "v72"]]),
    ],
)
def test_an_expression_becomes_steps_in_the_order_of_calculation(expression, plan):
    assert plan_of(expression) == plan


@pytest.mark.parametrize(
    "text", ["", "x-6", "2**3", "7//2", "3(4)", "GCD(6,4)", "3 r6", "1e999", "'3'*4", "(" * 250, "1+" * 200 + "1", "True+1"]
)
def test_what_is_not_plain_arithmetic_is_refused(text):
    with pytest.raises(ValueError):
        plan_of(text)


def test_numbers_are_written_without_exponents():
    assert [plain(x) for x in (22.0, 2.5, 0.00001, 1e15, 7)] == ["22", "2.5", "0.00001", "1000000000000000", "7"]
