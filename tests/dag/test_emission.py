import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nanochat.dag.emission import LONGEST, NumberPrinter, latch, mixture_logits, mixture_nll
from nanochat.dag.numbers import DECIMALS, format_value


@settings(max_examples=500, deadline=None)
@given(
    st.one_of(
        st.floats(-1e16, 1e16),
        st.floats(-100, 100),
        st.integers(-(10**15), 10**15).map(float),
        st.integers(-(10**8), 10**8).map(lambda i: i / 10**4),
        st.integers(-(10**4), 10**4).map(lambda i: i / 8),  # ties
    ),
    st.sampled_from(DECIMALS),
)
def test_printed_tokens_are_the_formatted_number(tokenizer, value, decimals):
    tokens = NumberPrinter(tokenizer)(torch.tensor([value], dtype=torch.float64), torch.tensor([decimals]))[0].tolist()
    text = format_value(value, decimals)
    assert tokens == (([] if text is None else [tokenizer.encode(c)[0] for c in text]) + [-1] * LONGEST)[:LONGEST]


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e17])
def test_nothing_is_printed_for_an_invalid_value(tokenizer, value):
    assert (NumberPrinter(tokenizer)(torch.tensor(value, dtype=torch.float64)) == -1).all()


def test_latch_follows_the_number_until_its_end_or_the_first_other_token():
    stream = torch.full((1, 6, LONGEST), -1)
    stream[0, 1, :3] = torch.tensor([7, 8, 9])
    speaks = torch.tensor([[False, True, False, False, False, False]])
    source, following = latch(torch.tensor([[5, 5, 7, 8, 9, 5]]), speaks, stream)
    assert following.tolist() == [[-1, 7, 8, 9, -1, -1]] and source[0, 1:].tolist() == [1] * 5
    _, following = latch(torch.tensor([[5, 5, 7, 3, 9, 5]]), speaks, stream)
    assert following.tolist() == [[-1, 7, 8, -1, -1, -1]]


def test_mixture_is_a_distribution_and_its_nll_is_that_of_its_logits():
    torch.manual_seed(0)
    logits, targets = torch.randn(2, 5, 11), torch.randint(0, 11, (2, 5))
    following = torch.randint(-1, 11, (2, 5))
    gate = torch.rand(2, 5) * (torch.rand(2, 5) < 0.7)
    mixed = mixture_logits(logits, following, gate)
    nll = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(2, 5)
    expected = torch.nn.functional.cross_entropy(mixed.flatten(0, 1), targets.flatten(), reduction="none").view(2, 5)
    torch.testing.assert_close(mixture_nll(nll, targets, following, gate), expected, rtol=1e-4, atol=1e-5)
    copied = (following >= 0) & (gate > 0)
    torch.testing.assert_close(mixed[copied].exp().sum(-1), torch.ones(int(copied.sum())))
    assert torch.equal(mixed[~copied], logits[~copied])


def test_gate_gets_a_gradient_up_where_the_copy_is_right_and_down_where_it_is_wrong():
    gate = torch.tensor([[0.3, 0.3]], requires_grad=True)
    nll = torch.tensor([[2.0, 2.0]])
    mixture_nll(nll, torch.tensor([[4, 4]]), torch.tensor([[4, 5]]), gate).sum().backward()
    assert gate.grad[0, 0] < 0 < gate.grad[0, 1]
