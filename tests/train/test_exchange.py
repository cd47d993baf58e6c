"""However many processes there are, they train what one trains; gradients leave while the backward pass runs, in one order everywhere."""

import pytest
import torch
import torch.distributed as dist
import torch.nn as nn

from nanochat.common import all_reduce_sum
from nanochat.model.gpt import GPT
from nanochat.model.kinds import KINDS
from nanochat.model.presets import make_config
from nanochat.train import exchange, sharding
from nanochat.train.exchange import _buckets, _runs, processes
from nanochat.train.optimizer import Group, MuonAdamW
from nanochat.train.scaler import LossScaler
from nanochat.train.sharding import Piece
from tests.processes import in_processes

GROUPS = {kind: Group(0.01, 0.1, eps=1e-5) for kind in KINDS}
ROWS, T, VOCAB = 8, 12, 100


def small_pieces() -> None:
    """Many buckets, and tables that are cut, even in a tiny model; in child processes only."""
    if dist.is_initialized():
        exchange.BUCKET_ELEMENTS, sharding.GRAIN = 1500, 64


def tiny_gpt() -> GPT:
    torch.manual_seed(0)
    model = GPT(make_config("tiny", vocab_size=VOCAB))
    with torch.no_grad():
        for p in model.parameters():  # a fresh model has gradients of nothing but rounding errors, which differ
            p.add_(torch.randn_like(p) * 0.2)
    return model


def rows_of(step: int) -> torch.Tensor:
    """This process's rows of a step: all processes together always have the same ones."""
    rank, world = processes()
    ids = torch.randint(0, VOCAB, (ROWS, T), generator=torch.Generator().manual_seed(step))
    return ids.chunk(world)[rank]


def train(model: GPT, optimizer: MuonAdamW, steps: range, passes: int = 1) -> list[float]:
    """The loss of each step over the rows of all processes."""
    losses = []
    for step in steps:
        losses.append(0.0)
        for i, ids in enumerate(rows_of(step).chunk(passes)):
            if i + 1 == passes:
                optimizer.last_pass()
            loss = model(ids, ids.roll(-1, 1)).loss / passes
            loss.backward()
            losses[-1] += loss.item() / processes()[1]
        optimizer.send_gradients()
        optimizer.step(lr=0.1)
        optimizer.zero_grad()
    return all_reduce_sum(losses)


def trained(before: dict | None, steps: range, passes: int = 1) -> dict:
    """A tiny model after some steps, from the beginning or from what this function gave."""
    small_pieces()
    model = tiny_gpt()
    optimizer = MuonAdamW(model, GROUPS)
    if before:
        model.load_state_dict(before["model"])
        optimizer.load_state_dict(before["optimizer"])
    losses = train(model, optimizer, steps, passes)
    buckets = len(optimizer.exchange.buckets) if optimizer.exchange else None
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "buckets": buckets, "losses": losses}


def assert_close(a, b, tolerance=2e-5):
    assert a.keys() == b.keys()
    for name in a:
        if isinstance(a[name], dict):
            assert_close(a[name], b[name], tolerance)
        else:
            torch.testing.assert_close(a[name], b[name], rtol=tolerance, atol=tolerance, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("world", [2, 4])
def test_several_processes_train_what_one_does_and_keep_its_state(tmp_path, world):
    alone, (first, *others) = trained(None, range(3)), in_processes(world, trained, tmp_path, None, range(3))
    assert first["buckets"] > 10 and alone["buckets"] is None
    for other in others:
        assert all(torch.equal(p, other["model"][name]) for name, p in first["model"].items())
        assert other["optimizer"] == {"steps": 3, "state": {}}, "only the first process saves"
    assert_close(first["model"], alone["model"])
    assert_close(first["optimizer"]["state"], alone["optimizer"]["state"])
    assert [list(x["optimizer"]["state"]) for x in (first, alone)] and first["optimizer"]["steps"] == 3


def test_a_run_goes_on_with_any_number_of_processes(tmp_path):
    saved, at, losses = None, 0, []
    for world in (1, 2, 4, 1):
        run = [trained(saved, range(at, at + 2))] if world == 1 else in_processes(world, trained, tmp_path, saved, range(at, at + 2))
        saved, at, losses = run[0], at + 2, losses + run[0]["losses"]
    whole = trained(None, range(8))
    assert losses == pytest.approx(whole["losses"], rel=1e-6)
    assert_close(saved["model"], whole["model"])
    assert saved["optimizer"]["steps"] == 8


class Matrices(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 4, bias=False), nn.Linear(4, 6, bias=True)
        self.unused = nn.Linear(3, 3)

    def forward(self, x):
        return self.b(self.a(x)).square().sum()


def two_matrices(use_in: tuple[int, ...]) -> dict:
    """Three steps; the part `unused` has a gradient only in some processes. Its own gradients, as `hold` shows them, and the weights."""
    torch.manual_seed(0)
    model, (rank, _) = Matrices(), processes()
    optimizer, seen = MuonAdamW(model, GROUPS), []
    for step in range(3):
        x = torch.full((1, 6), 1.0 + rank + step)
        loss = model(x) + (model.unused(x[:, :3]).sum() if rank in use_in else 0.0)
        optimizer.last_pass(hold=rank == 0)
        loss.backward()
        seen.append(model.a.weight.grad.clone())
        optimizer.send_gradients()
        optimizer.step(lr=0.1)
        optimizer.zero_grad()
        assert not any(p.grad.any() for p in model.parameters())
    return {"seen": seen, "weights": {name: p.detach() for name, p in model.named_parameters()}}


def expected_of_two_matrices(world: int, use_in: tuple[int, ...]) -> dict:
    torch.manual_seed(0)
    model = Matrices()
    optimizer = MuonAdamW(model, GROUPS)
    for step in range(3):
        for rank in range(world):
            x = torch.full((1, 6), 1.0 + rank + step)
            ((model(x) + (model.unused(x[:, :3]).sum() if rank in use_in else 0.0)) / world).backward()
        optimizer.step(lr=0.1)
        optimizer.zero_grad()
    return {name: p.detach() for name, p in model.named_parameters()}


@pytest.mark.parametrize("use_in", [(), (1,), (0, 2, 3)])
def test_more_processes_than_matrices_and_gradients_that_only_some_have(tmp_path, use_in):
    found, expected = in_processes(4, two_matrices, tmp_path, use_in), expected_of_two_matrices(4, use_in)
    for run in found:
        assert_close(run["weights"], expected)
        assert all(torch.equal(p, found[0]["weights"][name]) for name, p in run["weights"].items())
    torch.manual_seed(0)
    model = Matrices()
    model(torch.full((1, 6), 1.0)).backward()
    assert torch.equal(found[0]["seen"][0], model.a.weight.grad), "held, the gradients are those of this process"


def watched(uneven: bool) -> dict:
    """Which bucket left when, and how many gradients were complete by then, in the third step. `uneven`: process 1 has no gradient of
    the last layer's matrices."""
    small_pieces()
    model, (rank, _) = tiny_gpt(), processes()
    optimizer = MuonAdamW(model, GROUPS)
    train(model, optimizer, range(2), passes=2)
    left, complete, send = [], [], exchange.Exchange._send_next
    for name, p in model.named_parameters():
        p.register_post_accumulate_grad_hook(lambda _, name=name: complete.append(name))

    def noted(self):
        left.append((self.order[self.sent], len(set(complete))))
        send(self)

    exchange.Exchange._send_next = noted
    ids = rows_of(9)
    optimizer.last_pass()
    x = model(ids, ids.roll(-1, 1)).loss
    if uneven and rank == 1:
        x = x.detach() + model.embedding.weight.sum()
    x.backward()
    early = len(left)
    optimizer.send_gradients()
    dist.all_reduce(torch.zeros(1))  # comes after all gradients in every process
    optimizer.step()
    order, ready = zip(*left, strict=True)
    return {"order": list(order), "complete": ready, "early": early, "parameters": len(optimizer.parameters)}


def test_gradients_leave_before_the_backward_pass_is_over_in_the_order_in_which_they_are_complete(tmp_path):
    for run in in_processes(2, watched, tmp_path, False):
        assert run["early"] == len(run["order"]) > 10, "everything left by itself"
        assert run["complete"][0] < run["parameters"] / 4 and run["complete"][len(run["order"]) // 2] < run["parameters"]
        assert sorted(run["order"]) == list(range(len(run["order"])))


def test_processes_with_different_gradients_send_them_in_the_same_order(tmp_path):
    first, second = in_processes(2, watched, tmp_path, True)
    assert first["order"] == second["order"] and second["early"] < first["early"]


def summed(passes: int) -> dict:
    """The mean gradient of a step, whole, in every process."""
    model = tiny_gpt()
    optimizer = MuonAdamW(model, GROUPS)
    for i, ids in enumerate(rows_of(5).chunk(passes)):
        if i + 1 == passes:
            optimizer.last_pass(hold=True)
        (model(ids, ids.roll(-1, 1)).loss / passes).backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    optimizer.send_gradients()
    if processes()[1] > 1:
        for g in gradients:
            dist.all_reduce(g)
            g /= processes()[1]
    return {name: g for (name, _), g in zip(model.named_parameters(), gradients, strict=True)}


def test_many_passes_over_few_rows_have_the_gradient_of_one_over_all(tmp_path):
    whole = summed(1)
    for parts in (summed(2), summed(8), in_processes(2, summed, tmp_path, 2)[0]):
        assert_close(parts, whole, 1e-6)


def abandoned() -> dict:
    """A step that is given up after its gradients have left, as when the loss is not a number, and a good one after it."""
    small_pieces()
    model = tiny_gpt()
    optimizer = MuonAdamW(model, GROUPS)
    for step in (7, 0):
        optimizer.last_pass()
        ids = rows_of(step)
        model(ids, ids.roll(-1, 1)).loss.backward()
        if step == 7:
            optimizer.send_gradients()
            optimizer.zero_grad()
    optimizer.step(lr=0.1)
    return model.state_dict()


def test_a_step_that_is_given_up_leaves_no_trace(tmp_path):
    for found in in_processes(2, abandoned, tmp_path):
        assert_close(found, trained(None, range(1))["model"])


def overflowing() -> dict:
    """Two steps with a loss scaler; in the first one gradient of one process is not finite."""
    model, (rank, world) = tiny_gpt(), processes()
    optimizer, took = MuonAdamW(model, GROUPS, scaler=LossScaler()), []
    for step in (7, 0):
        ids = rows_of(step)
        optimizer.last_pass()
        loss, some = model(ids, ids.roll(-1, 1)).loss, model.head.weight[0, 0]
        if step == 7 and rank == world - 1:
            loss = loss + 1e36 * (some - some.detach())  # its gradient is infinite, once it is scaled
        (loss * optimizer.loss_scale).backward()
        took.append(optimizer.step(lr=0.1))
        optimizer.zero_grad()
    return {"model": model.state_dict(), "took": took, "scale": optimizer.loss_scale, "saved": optimizer.state_dict()["scaler"]}


@pytest.mark.parametrize("world", [1, 2])
def test_an_overflow_in_one_process_skips_the_step_in_all(tmp_path, world):
    for found in [overflowing()] if world == 1 else in_processes(world, overflowing, tmp_path):
        assert found["took"] == [False, True] and found["scale"] == 2.0**15
        assert found["saved"] == {"scale": 2.0**15, "good_steps": 1}
        assert_close(found["model"], trained(None, range(1))["model"])


def judged() -> dict:
    """A step that is refused, and one whose verdict is a tensor: elements that the judge saw, and whether weights moved."""
    model, seen, moved = tiny_gpt(), [], []
    optimizer = MuonAdamW(model, GROUPS)
    for verdict in (False, torch.tensor(False), torch.tensor(True)):
        before = [p.detach().clone() for p in model.parameters()]
        ids = rows_of(len(seen))
        optimizer.last_pass()
        model(ids, ids.roll(-1, 1)).loss.backward()
        optimizer.step(judge=lambda gradients, verdict=verdict: seen.append(sum(g.numel() for g in gradients)) or verdict)
        optimizer.zero_grad()
        moved.append(any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)))
    return {"seen": seen, "moved": moved, "elements": sum(p.numel() for p in model.parameters()), "steps": optimizer.steps}


def test_each_gradient_is_judged_once_and_a_refused_step_moves_nothing_in_any_process(tmp_path):
    found = in_processes(2, judged, tmp_path)
    assert all(run["moved"] == [False, False, True] and run["steps"] == 2 for run in found)
    assert [sum(seen) for seen in zip(*(run["seen"] for run in found), strict=True)] == [found[0]["elements"]] * 3


def test_buckets_are_of_one_owner_and_about_the_size_asked_for(monkeypatch):
    monkeypatch.setattr(exchange, "BUCKET_ELEMENTS", 100)
    matrices = [Piece(f"m{i}", 0, 40, i % 2) for i in range(7)]
    assert [[p.name for p in b] for b in _buckets(_runs(matrices))] == [["m0", "m2", "m4"], ["m1", "m3", "m5"], ["m6"]]
    others = [Piece("a", 0, 500, 0), Piece("b", 0, 30, 0), Piece("b", 30, 60, 1), Piece("c", 0, 80, 1), Piece("d", 0, 1, 1)]
    assert [[(p.name, len(p)) for p in b] for b in _buckets(others)] == [[("a", 500)], [("b", 30)], [("b", 30), ("c", 80)], [("d", 1)]]
