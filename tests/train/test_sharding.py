"""Every element of every parameter belongs to exactly one process, and all processes keep about as much."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nanochat.model.gpt import GPT
from nanochat.model.kinds import KINDS
from nanochat.model.presets import make_config
from nanochat.train import exchange, optimizer, sharding
from nanochat.train.optimizer import Group, MuonAdamW
from nanochat.train.sharding import Piece, share_matrices, share_others, state_bytes

sizes = st.integers(1, 3000)


def named(values) -> dict:
    return {f"p{i}": value for i, value in enumerate(values)}


@given(st.lists(st.tuples(sizes, sizes), max_size=12), st.lists(st.integers(0, 100_000), max_size=12), st.integers(1, 9))
def test_every_element_is_in_one_piece_and_matrices_are_whole(shapes, others, processes):
    shapes, others = {f"m{i}": shape for i, shape in enumerate(shapes)}, named(others)
    pieces = share_matrices(shapes, processes)
    assert [(p.name, p.start, p.stop) for p in pieces] == [(name, 0, rows * columns) for name, (rows, columns) in shapes.items()]
    pieces += share_others(others, state_bytes(pieces, shapes, processes))
    for name, size in others.items():
        parts = [p for p in pieces if p.name == name]
        assert parts[0].start == 0 and parts[-1].stop == size
        assert all(a.stop == b.start and a.owner < b.owner for a, b in zip(parts, parts[1:], strict=False))
    assert all(0 <= p.owner < processes for p in pieces)


@given(st.lists(st.integers(50_000, 1_000_000), min_size=1, max_size=9), st.lists(st.integers(0, 5_000_000), min_size=1, max_size=9))
def test_what_can_be_cut_fills_up_those_who_have_least(sizes, kept):
    pieces, slack = share_others(named(sizes), kept), 8 * sharding.GRAIN * (len(sizes) + 1)
    taken = state_bytes(pieces, [], len(kept))
    after = [a + b for a, b in zip(kept, taken, strict=True)]
    level = max((total for total, t in zip(after, taken, strict=True) if t > slack), default=0)
    assert sum(taken) == 8 * sum(sizes)
    assert all(total >= level - slack for total in after), "somebody who has less got nothing"


def test_small_parameters_stay_whole_and_cuts_are_aligned():
    pieces = share_others(named([10_000, 1023, 7, 512, 5000]), [0] * 6)
    assert all(p.start % sharding.GRAIN == 0 for p in pieces)
    assert sorted(p.name for p in pieces if p.name in ("p1", "p2", "p3")) == ["p1", "p2", "p3"]


def test_matrices_of_equal_shape_are_dealt_out_evenly():
    pieces = share_matrices({f"m{i}": (64, 64) for i in range(16)}, 8)
    assert sorted(p.owner for p in pieces) == sorted([*range(8)] * 2)
    assert share_matrices({"a": (8, 8)}, 4) == [Piece("a", 0, 64, 0)], "more processes than matrices"


def kept_bytes(model, processes, monkeypatch) -> list[int]:
    """Bytes of the state tensors that an optimizer makes in each process."""
    kept = []
    for rank in range(processes):
        for module in (optimizer, exchange):
            monkeypatch.setattr(module, "processes", lambda rank=rank: (rank, processes))
        made = MuonAdamW(model, {kind: Group(0.01) for kind in KINDS})
        tensors = [t for s in made.stacks for t in (s.momentum, s.variance)] + [*made.first.values(), *made.second.values()]
        kept.append(sum(t.numel() * t.element_size() for t in tensors))
        if processes > 1:
            elements = sum(p.numel() for p in model.parameters())
            assert made.exchange.buffer.numel() == sum(b.flat.numel() for b in made.exchange.buckets) == elements
        assert all(0.99 < a / b <= 1 for a, b in zip(made.state_bytes(), [max(made.state_bytes())] * processes, strict=True))
    return kept


@pytest.mark.parametrize("depth, processes", [(12, 1), (12, 8), (20, 8), (5, 3), (26, 16)])
def test_the_state_of_real_shapes_is_spread_evenly(depth, processes, monkeypatch):
    with torch.device("meta"):
        model = GPT(make_config(depth))
    kept, whole = kept_bytes(model, processes, monkeypatch), kept_bytes(model, 1, monkeypatch)[0]
    assert sum(kept) == whole
    assert max(kept) / (whole / processes) < 1.01
