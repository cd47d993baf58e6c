"""Products in 8 bits are products up to their rounding, in both directions, and only where they were asked for and fit."""

import pytest
import torch

from nanochat.model import float8
from nanochat.model.float8 import BACKWARD, FORWARD, float8_linear, lacking, round_to, use_float8
from nanochat.model.gpt import GPT
from nanochat.model.linear import Linear
from nanochat.model.presets import make_config
from nanochat.train.settings import TrainSettings, make_optimizer

GPU = torch.device("cuda")


def difference(found, expected) -> float:
    return float((found - expected).detach().float().norm() / expected.detach().float().norm())


@pytest.mark.parametrize("kind, error", [(FORWARD, 0.04), (BACKWARD, 0.08)])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_rounding_keeps_every_size_and_the_largest_number_exactly(kind, error, size):
    x = size * torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    rounded, scale = round_to(x, kind)
    assert rounded.dtype == kind and difference(rounded.float() * scale, x) < error
    assert (rounded.float() * scale).abs().max() == pytest.approx(x.abs().max().item(), rel=1e-6)


def test_zeros_stay_zeros():
    rounded, scale = round_to(torch.zeros(16, 16), FORWARD)
    assert not rounded.float().any() and torch.isfinite(scale)


def test_a_product_and_its_gradients_are_those_of_the_exact_one_up_to_rounding():
    random = torch.Generator().manual_seed(0)
    x = torch.randn(2, 16, 256, generator=random).bfloat16().requires_grad_()
    weight = torch.randn(128, 256, generator=random).requires_grad_()
    grad = torch.randn(2, 16, 128, generator=random).bfloat16()
    y = float8_linear(x, weight)
    found = [y, *torch.autograd.grad(y, (x, weight), grad)]
    exact = torch.nn.functional.linear(x, weight.bfloat16())
    expected = [exact, *torch.autograd.grad(exact, (x, weight), grad)]
    assert [t.dtype for t in found] == [torch.bfloat16, torch.bfloat16, torch.float32]
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape and difference(one, other) < 0.08


def test_what_is_kept_for_the_backward_pass_has_one_byte_a_number():
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        float8_linear(torch.ones(16, 128, dtype=torch.bfloat16, requires_grad=True), torch.ones(128, 128, requires_grad=True))
    assert {t.element_size() for t in kept if t.numel() > 1} == {1}


def test_large_maps_multiply_in_8_bits_and_only_in_training():
    model = GPT(make_config("tiny", depth=2, vocab_size=64, aspect_ratio=64, head_dim=64, sequence_len=32))
    assert use_float8(model.blocks) == (12, 13)  # six in each of two blocks, but not the gate of the value embedding
    assert not model.head.float8
    idx = torch.randint(0, 64, (1, 32))
    with torch.no_grad():
        for block in model.blocks:
            torch.nn.init.normal_(block.mlp.down.weight, std=0.1)
        torch.nn.init.normal_(model.head.weight, std=0.1)
        model.compute_dtype = torch.bfloat16
        trained, evaluated = model.train()(idx).logits, model.eval()(idx).logits
        for part in model.modules():
            part.float8 = False
        exact = model.train()(idx).logits
    assert torch.equal(evaluated, exact) and not torch.equal(trained, exact) and difference(trained, exact) < 0.1


@pytest.mark.parametrize("inputs, outputs", [(127, 256), (64, 256), (136, 128)])
def test_small_and_odd_maps_are_left_alone(inputs, outputs):
    assert use_float8(Linear(inputs, outputs)) == (0, 1)


def test_a_model_learns_in_8_bits_about_as_well():
    def last_loss(in_8_bits: bool) -> float:
        torch.manual_seed(0)
        model = GPT(make_config("tiny", depth=2, vocab_size=64, aspect_ratio=64, head_dim=64, sequence_len=32)).train()
        model.compute_dtype = torch.bfloat16
        if in_8_bits:
            use_float8(model.blocks)
        optimizer = make_optimizer(model, TrainSettings(lr_scale=2.0), 256)
        rows = torch.randint(0, 64, (8, 1), generator=torch.Generator().manual_seed(1)) + torch.arange(33) * 3
        for _ in range(15):
            loss = model(rows[:, :-1] % 64, rows[:, 1:] % 64).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return loss.item()

    exact, rounded = last_loss(False), last_loss(True)
    assert exact < 2 and rounded == pytest.approx(exact, abs=0.3)


def test_why_a_machine_cannot_is_said(monkeypatch):
    assert lacking(torch.device("cpu"), torch.bfloat16, 512) == "there is no GPU"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    assert "compute capability 8.0, they begin at 8.9" in lacking(GPU, torch.bfloat16, 512)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert lacking(GPU, torch.bfloat16, 512) == "" == lacking(GPU, torch.bfloat16, 16)
    assert "not bfloat16" in lacking(GPU, torch.float16, 512) and "not a multiple of 16" in lacking(GPU, torch.bfloat16, 520)
    assert float8.CAPABILITY == (8, 9)
