"""Muon and AdamW do what their equations say, for every parameter once; test_exchange.py has them in several processes."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn as nn
from hypothesis import given
from hypothesis import strategies as st

from nanochat.common import UserError
from nanochat.model.gpt import GPT
from nanochat.model.kinds import KINDS
from nanochat.model.presets import make_config
from nanochat.train.muon import Muon, polar
from nanochat.train.optimizer import Group, MuonAdamW
from nanochat.train.scaler import LossScaler

GROUPS = {kind: Group(0.01, 0.1, eps=1e-5) for kind in KINDS}


@given(st.integers(1, 4), st.integers(2, 40), st.integers(2, 40), st.integers(0, 10**6))
def test_polar_gives_nearly_orthogonal_matrices_whatever_the_shape(k, rows, columns, seed):
    x = torch.randn(k, rows, columns, generator=torch.Generator().manual_seed(seed))
    u, _, v = torch.linalg.svd(x, full_matrices=False)
    strong = torch.linalg.svdvals(x) > 0.01 * torch.linalg.matrix_norm(x, 2)[:, None]  # a direction of no size stays small
    values = torch.diagonal(u.mT @ polar(x) @ v.mT, dim1=-2, dim2=-1)  # in the basis of x: the singular vectors are kept
    assert (values[strong] > 0.6).all() and (values < 1.3).all()


def test_polar_of_zero_is_zero():
    assert torch.equal(polar(torch.zeros(2, 4, 3)), torch.zeros(2, 4, 3))


class Matrices(nn.Module):
    """Two matrices of one shape and one of another."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 4, bias=False), nn.Linear(6, 4, bias=False), nn.Linear(4, 8, bias=False)


def set_gradients(model, step):
    for i, p in enumerate(model.parameters()):
        p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(100 * step + i))


PLAIN = Muon(equal_rows=False, unit_size=False, variance=0.0, cautious=False)


@pytest.mark.parametrize(
    "muon",
    [
        PLAIN,
        replace(PLAIN, equal_rows=True),
        replace(PLAIN, unit_size=True),
        replace(PLAIN, variance=0.8),
        replace(PLAIN, orthogonal="newton_schulz"),
        Muon(),
    ],
)
def test_muon_follows_its_equations_matrix_by_matrix(muon):
    torch.manual_seed(0)
    model = Matrices()
    optimizer = MuonAdamW(model, {"matrix": Group(lr=0.02, weight_decay=0.3)}, muon)
    expected = {n: p.detach().clone() for n, p in model.named_parameters()}
    momentum = {n: torch.zeros_like(p) for n, p in expected.items()}
    squares = dict.fromkeys(expected, 0.0)
    for step in range(3):
        set_gradients(model, step)
        for name, p in model.named_parameters():
            g, w = p.grad, expected[name]
            momentum[name] = 0.9 * momentum[name] + 0.1 * g
            u = 0.1 * g + 0.9 * momentum[name]
            if muon.equal_rows:
                u = torch.stack([row * u.norm() / len(u) ** 0.5 / row.norm() for row in u])
            u = polar(u[None], iterations=muon.orthogonal)[0]
            if muon.unit_size:
                u = u / u.norm() * min(u.shape) ** 0.5
            if muon.variance:
                along = 1 if u.shape[0] >= u.shape[1] else 0
                squares[name] = muon.variance * squares[name] + (1 - muon.variance) * (u**2).mean(along, keepdim=True)
                divided = u / squares[name].sqrt()
                u = divided / divided.norm() * u.norm()
            rate = 0.5 * 0.02 * math.sqrt(max(1, w.shape[0] / w.shape[1]))
            decays = u * w >= 0 if muon.cautious else torch.ones_like(w)
            expected[name] = w - rate * (u + 0.5 * 0.3 * w * decays)
        optimizer.step(lr=0.5, momentum=0.9, decay=0.5)
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.detach(), expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "kind", "muon"), [(lambda: nn.LayerNorm(7), "scalar", None), (Matrices, "matrix", Muon(orthogonal="off"))]
)
def test_adamw_is_torchs_for_matrices_too_without_muon(make, kind, muon):
    torch.manual_seed(0)
    mine, theirs = make(), make()
    theirs.load_state_dict(mine.state_dict())
    optimizer = MuonAdamW(mine, {kind: Group(0.03, 0.2, (0.8, 0.95), 1e-8)}, muon)
    reference = torch.optim.AdamW(theirs.parameters(), lr=0.03, weight_decay=0.2, betas=(0.8, 0.95), eps=1e-8)
    for step in range(6):
        set_gradients(mine, step)
        set_gradients(theirs, step)
        optimizer.step()
        reference.step()
    for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    for name, state in optimizer.state_dict()["state"].items():
        shape = mine.get_parameter(name).shape
        assert {key: value.shape for key, value in state.items()} == {"first": shape, "second": shape}
    assert optimizer.state_bytes() == [8 * sum(p.numel() for p in mine.parameters())]


def test_groups_partition_the_parameters():
    model = GPT(make_config("tiny"))
    optimizer = MuonAdamW(model, GROUPS)
    named = [name for names in optimizer.names.values() for name in names]
    assert sorted(named) == sorted(n for n, _ in model.named_parameters())
    assert {p.dim() for n, p in model.named_parameters() if n in optimizer.names["matrix"]} == {2}


def test_frozen_parameters_are_left_alone():
    model = Matrices()
    model.a.weight.requires_grad_(False)
    before = model.a.weight.clone()
    optimizer = MuonAdamW(model, GROUPS)
    set_gradients(model, 0)
    optimizer.step()
    assert torch.equal(model.a.weight, before) and "a.weight" not in optimizer.state_dict()["state"]


def test_a_kind_without_a_rate_and_an_unknown_kind_are_refused():
    with pytest.raises(UserError, match="'scalar'"):
        MuonAdamW(nn.LayerNorm(3), {"matrix": Group(0.1)})
    with pytest.raises(UserError, match="'matrixes'"):
        MuonAdamW(Matrices(), {"matrixes": Group(0.1)})


def test_a_missing_gradient_counts_as_zero():
    torch.manual_seed(0)
    models = [Matrices() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    for i, model in enumerate(models):
        optimizer = MuonAdamW(model, GROUPS)
        set_gradients(model, 0)
        model.b.weight.grad = None if i else torch.zeros_like(model.b.weight)
        optimizer.step()
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(a, b)


def test_gradients_that_may_not_be_followed_change_nothing():
    model, seen = GPT(make_config("tiny")), []
    optimizer = MuonAdamW(model, GROUPS)
    set_gradients(model, 0)
    optimizer.step()
    before = [p.detach().clone() for p in model.parameters()]
    state = [x for parts in optimizer.state_dict()["state"].values() for x in parts.values()]
    set_gradients(model, 1)
    optimizer.step(judge=lambda gradients: seen.extend(gradients) or False)
    assert sum(g.numel() for g in seen) == sum(p.numel() for p in model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)) and optimizer.state_dict()["steps"] == 1
    after = [x for parts in optimizer.state_dict()["state"].values() for x in parts.values()]
    assert all(torch.equal(a, b) for a, b in zip(state, after, strict=True))


@pytest.mark.parametrize("good", [True, False])
def test_where_the_device_decides_nobody_waits_and_weights_move_only_if_they_may(good, monkeypatch):
    torch.manual_seed(0)
    one, two = GPT(make_config("tiny")), GPT(make_config("tiny"))
    two.load_state_dict(one.state_dict())
    mine, plain = MuonAdamW(one, GROUPS), MuonAdamW(two, GROUPS)
    for step in range(3):
        for model in (one, two):
            set_gradients(model, step)
        if step == 1 and not good:
            for p in one.parameters():
                p.grad.fill_(math.nan)
        before = [p.detach().clone() for p in one.parameters()]
        verdict = torch.tensor(good or step != 1)
        with monkeypatch.context() as patched:
            for name in ("item", "__bool__", "__float__", "tolist", "cpu"):
                patched.setattr(torch.Tensor, name, lambda *_: pytest.fail("the host waited"))
            mine.step(judge=lambda _: verdict)  # noqa: B023
        plain.step()
        assert all(torch.equal(a, b) for a, b in zip(before, one.parameters(), strict=True)) == (step == 1 and not good)
        assert all(p.isfinite().all() for p in one.parameters())
        if good:
            for a, b in zip(one.parameters(), two.parameters(), strict=True):
                torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_state_survives_a_file_that_can_run_no_code_and_then_steps_are_the_same(tmp_path):
    torch.manual_seed(0)
    model = GPT(make_config("tiny"))
    optimizer = MuonAdamW(model, GROUPS)
    for step in range(2):
        set_gradients(model, step)
        optimizer.step()
    torch.save({"optimizer": optimizer.state_dict(), "model": model.state_dict()}, tmp_path / "state.pt")
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    again = GPT(make_config("tiny"))
    again.load_state_dict(saved["model"])
    resumed = MuonAdamW(again, GROUPS)
    resumed.load_state_dict(saved["optimizer"])
    for which, opt in ((model, optimizer), (again, resumed)):
        set_gradients(which, 9)
        opt.step()
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_step_asks_its_device_for_nothing():
    with torch.device("meta"):  # nothing can be read from it: whatever the host would wait for on a GPU is an error here
        model = GPT(make_config("tiny"))
    optimizer = MuonAdamW(model, GROUPS)
    for p in list(model.parameters())[1:]:
        p.grad = torch.zeros_like(p)
    optimizer.step()
    optimizer.zero_grad()
    with pytest.raises(RuntimeError, match="meta"):
        model.embedding.weight.sum().item()


def test_scaled_gradients_can_be_looked_at_as_if_they_were_not():
    model = Matrices()
    optimizer = MuonAdamW(model, GROUPS, scaler=LossScaler())
    set_gradients(model, 0)
    expected = {name: p.grad.clone() for name, p in model.named_parameters()}
    set_gradients(model, 0)
    for p in model.parameters():
        p.grad *= optimizer.loss_scale
    with optimizer.unscaled():
        assert all(torch.equal(p.grad, expected[name]) for name, p in model.named_parameters())
    assert all(torch.equal(p.grad, 2.0**16 * expected[name]) for name, p in model.named_parameters())


def test_the_state_of_another_model_is_refused():
    with pytest.raises(UserError, match="--resume=off"):
        MuonAdamW(Matrices(), GROUPS).load_state_dict(MuonAdamW(nn.LayerNorm(3), GROUPS).state_dict())
