"""Muon and AdamW do what their equations say, for every parameter once, the same with one process and with several."""

import math
import os
import socket
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn as nn
from hypothesis import given
from hypothesis import strategies as st

from nanochat.common import UserError
from nanochat.model.gpt import GPT
from nanochat.model.kinds import KINDS
from nanochat.model.presets import make_config
from nanochat.train import optimizer as module
from nanochat.train.optimizer import Group, Muon, MuonAdamW, average, polar

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
    "muon", [PLAIN, replace(PLAIN, equal_rows=True), replace(PLAIN, unit_size=True), replace(PLAIN, variance=0.8), Muon()]
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
            u = polar(u[None])[0]
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


def test_adamw_is_torchs():
    torch.manual_seed(0)
    mine, theirs = nn.LayerNorm(7), nn.LayerNorm(7)
    optimizer = MuonAdamW(mine, {"scalar": Group(0.03, 0.2, (0.8, 0.95), 1e-8)})
    reference = torch.optim.AdamW(theirs.parameters(), lr=0.03, weight_decay=0.2, betas=(0.8, 0.95), eps=1e-8)
    for step in range(6):
        set_gradients(mine, step)
        set_gradients(theirs, step)
        optimizer.step()
        reference.step()
    for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


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


def test_the_state_of_another_model_is_refused():
    with pytest.raises(UserError, match="--resume=off"):
        MuonAdamW(Matrices(), GROUPS).load_state_dict(MuonAdamW(nn.LayerNorm(3), GROUPS).state_dict())


def test_buckets_hold_every_gradient_once_and_are_about_the_size_asked_for(monkeypatch):
    monkeypatch.setattr(module, "BUCKET_BYTES", 400)
    gradients = [torch.zeros(n) for n in (50, 60, 1, 300, 2)] + [torch.zeros(3, dtype=torch.float64)]
    buckets = module._buckets(gradients)
    assert [id(g) for bucket in buckets for g in bucket] == [id(g) for g in gradients]
    assert [[len(g) for g in bucket] for bucket in buckets] == [[50, 60], [1, 300], [2], [3]]


def test_alone_the_average_is_the_gradient():
    g = torch.ones(3)
    average([g])
    assert g.tolist() == [1, 1, 1]


# ---------------------------------------------------------------------------------------------------------------------
# One process or two


def trained(batches: list[torch.Tensor]) -> dict:
    """A tiny model after some steps, each on the mean gradient of this process's batches."""
    torch.manual_seed(0)
    model = GPT(make_config("tiny", vocab_size=100))
    with torch.no_grad():
        for p in model.parameters():  # a fresh model has gradients of nothing but rounding errors, which differ
            p.add_(torch.randn_like(p) * 0.2)
    optimizer = MuonAdamW(model, GROUPS)
    for ids in batches:
        model(ids, ids.roll(-1, 1)).loss.backward()
        optimizer.step(lr=0.1)
        optimizer.zero_grad()
    return {name: p.detach() for name, p in model.named_parameters()}


def half_of_each(batches, rank):
    return [ids[2 * rank : 2 * rank + 2] for ids in batches]


def worker(rank, port, batches, out):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE="2")
    torch.set_num_threads(1)
    module.BUCKET_BYTES = 50_000  # several buckets
    dist.init_process_group("gloo", rank=rank, world_size=2)
    torch.save(trained(half_of_each(batches, rank)), f"{out}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_with_half_the_rows_each_train_what_one_trains_with_all(tmp_path):
    batches = [torch.randint(0, 100, (4, 16), generator=torch.Generator().manual_seed(i)) for i in range(3)]
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    mp.spawn(worker, args=(port, batches, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    alone = trained(batches)
    for name, p in alone.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], p, rtol=1e-3, atol=1e-4, msg=name)
