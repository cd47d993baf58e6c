"""The hand-written cross-entropy of the soft-capped head agrees with autograd, value and gradients."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from nanochat.model import loss as module
from nanochat.model.loss import capped, capped_nll, nll_of_piece, nll_of_piece_as_one


def by_autograd(x, weight, targets, cap):
    return F.cross_entropy(capped(x @ weight.T, cap), targets, ignore_index=-1, reduction="none")


def gradients(function, x, weight, targets, cap, upstream):
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    nll = function(x, weight, targets, cap)
    (nll * upstream).sum().backward()
    return nll.detach(), x.grad, weight.grad


AT_ONCE, CAPS = st.sampled_from([16, 1 << 19]), st.sampled_from([0.0, 1.0, 15.0, 30.0])
PIECES = st.sampled_from([nll_of_piece, nll_of_piece_as_one])


@given(st.integers(1, 40), st.integers(2, 50), st.integers(0, 10**6), CAPS, AT_ONCE, st.booleans(), PIECES)
def test_value_and_gradients_are_autograds(n, vocab, seed, cap, at_once, kept, piece):
    g = torch.Generator().manual_seed(seed)
    x, weight, upstream = torch.randn(n, 8, generator=g) * 3, torch.randn(vocab, 8, generator=g) * 3, torch.randn(n, generator=g)
    targets = torch.randint(-1, vocab, (n,), generator=g)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(module.LOGITS_AT_ONCE, "cpu", at_once)  # few rows a piece, and all at once
        patch.setitem(module.LOGITS_KEPT, "cpu", 1 << 27 if kept else 0)  # slopes kept for the backward pass, and computed again
        mine = gradients(partial(capped_nll, piece=piece), x, weight, targets, cap, upstream)
    for a, b in zip(mine, gradients(by_autograd, x, weight, targets, cap, upstream), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_ignored_targets_cost_nothing_and_teach_nothing():
    x, weight = torch.randn(4, 8), torch.randn(10, 8)
    nll, dx, _ = gradients(capped_nll, x, weight, torch.tensor([3, -1, 0, -1]), 15.0, torch.ones(4))
    assert nll[[1, 3]].tolist() == [0, 0] and dx[[1, 3]].abs().sum() == 0 and dx[[0, 2]].abs().sum() > 0


def test_bfloat16_inputs_give_float32_losses_close_to_the_exact_ones():
    x, weight, targets = torch.randn(64, 32), torch.randn(100, 32), torch.randint(0, 100, (64,))
    nll, dx, dw = gradients(lambda x, w, *rest: capped_nll(x.bfloat16(), w, *rest), x, weight, targets, 15.0, torch.ones(64))
    exact, ex, ew = gradients(by_autograd, x, weight, targets, 15.0, torch.ones(64))
    assert nll.dtype == torch.float32 and dw.dtype == torch.float32
    assert (nll - exact).abs().max() < 0.2 and (dx - ex).norm() < 0.02 * ex.norm() and (dw - ew).norm() < 0.02 * ew.norm()


def test_without_gradients_nothing_is_kept():
    with torch.no_grad():
        nll = capped_nll(torch.randn(4, 8, requires_grad=True), torch.randn(10, 8), torch.tensor([1, 2, 3, 4]), 15.0)
    assert not nll.requires_grad


@pytest.mark.parametrize(("most", "kept"), [(64 * 500, True), (64 * 500 - 1, False)])
def test_a_large_head_keeps_nothing_of_the_size_of_the_logits(monkeypatch, most, kept):
    monkeypatch.setitem(module.LOGITS_KEPT, "cpu", most)
    monkeypatch.setitem(module.LOGITS_AT_ONCE, "cpu", 8 * 500)
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
        capped_nll(torch.randn(64, 8, requires_grad=True), torch.randn(500, 8), torch.randint(0, 500, (64,)), 15.0)
    assert (max(sizes) >= 64 * 500) == kept
