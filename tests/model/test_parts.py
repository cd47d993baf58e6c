"""The parts of a block keep their promises."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from nanochat.model.linear import Linear
from nanochat.model.norm import rms_norm
from nanochat.model.position import Rotary, rotate


@given(st.integers(1, 40), st.integers(0, 10**6), st.sampled_from([1e-4, 1.0, 1e4]))
def test_norm_and_its_gradient_are_torchs(width, seed, size):
    g = torch.Generator().manual_seed(seed)
    x, upstream = torch.randn(3, 2, width, generator=g) * size, torch.randn(3, 2, width, generator=g)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, expected = rms_norm(ours), F.rms_norm(theirs, (width,), eps=torch.finfo(torch.float32).eps)
    torch.testing.assert_close(y, expected)
    y.backward(upstream)
    expected.backward(upstream)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-5 / size)


def test_norm_of_zero_is_zero():
    assert rms_norm(torch.zeros(2, 4)).tolist() == [[0.0] * 4] * 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_norm_gives_root_mean_square_one_in_the_precision_it_was_given(dtype):
    y = rms_norm(torch.randn(5, 64, dtype=dtype) * 7)
    assert y.dtype == dtype
    torch.testing.assert_close(y.float().square().mean(-1), torch.ones(5), rtol=0.02, atol=0.0)


def test_rotation_keeps_lengths_and_makes_scores_depend_on_the_distance_only():
    rotary, q, k = Rotary(16, 10_000.0, 8), torch.randn(16), torch.randn(16)
    turned_q, turned_k = (rotate(v.expand(1, 40, 1, 16), *rotary(40, None, torch.float32))[0, :, 0] for v in (q, k))
    torch.testing.assert_close(turned_q.norm(dim=-1), q.norm().expand(40))
    scores = turned_q @ turned_k.T  # (40, 40)
    for distance in (0, 3, 20):
        same = scores.diagonal(-distance)
        torch.testing.assert_close(same, same[:1].expand_as(same), rtol=1e-3, atol=1e-3)
    assert (turned_q[1] - turned_q[0]).abs().max() > 0.1


def test_positions_choose_the_rows_of_the_same_table():
    rotary = Rotary(8, 10_000.0, 4)
    cos, sin = rotary(30, None, torch.float32)
    at = torch.tensor([[3, 4], [20, 21]])
    chosen_cos, chosen_sin = rotary(30, at, torch.float32)
    assert torch.equal(chosen_cos, cos[0, at]) and torch.equal(chosen_sin, sin[0, at])


def test_a_linear_map_multiplies_in_the_precision_of_its_input_and_learns_in_float32():
    linear = Linear(4, 3)
    y = linear(torch.randn(2, 4, dtype=torch.bfloat16))
    y.sum().backward()
    assert y.dtype == torch.bfloat16 and linear.weight.dtype == linear.weight.grad.dtype == torch.float32
