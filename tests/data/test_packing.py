"""Packing: rows are full and begin with <|bos|>, every token is placed once, nothing loops for ever, resuming changes nothing."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanochat.data.packing import ItemPacker, TextPacker, Waiting, best_fit, epoch_order

LENGTHS = st.lists(st.integers(2, 60), min_size=1, max_size=30)
CAPACITY, BLOCK, SEED = st.integers(2, 40), st.integers(1, 40), st.integers(0, 3)


def rows_of(packer, n):
    """n rows, each a list of its pieces (document, start, end)."""
    return [packer.next_rows(1).tolist() for _ in range(n)]


def size(pieces):
    """Tokens of pieces, the <|bos|> of each counted."""
    return sum(end - start + 1 for _, start, end in pieces)


def tokens_of(pieces):
    return Counter((document, i) for document, start, end in pieces for i in range(start, end))


def through(packer, epochs):
    """All pieces of the blocks up to the end of an epoch."""
    pieces = []
    while packer.documents_read < epochs * len(packer.lengths):
        pieces += packer.next_rows(1).tolist()
    return pieces


@given(LENGTHS, CAPACITY, BLOCK, SEED)
def test_every_row_is_full_of_pieces_that_bring_a_bos_each(lengths, capacity, block, seed):
    for row in rows_of(TextPacker(lengths, capacity, seed, block), 20):
        assert size(row) == capacity
        assert all(1 <= start <= end <= lengths[document] for document, start, end in row)


@given(LENGTHS, CAPACITY, BLOCK, SEED)
def test_no_token_of_an_epoch_is_lost_or_doubled(lengths, capacity, block, seed):
    packer = TextPacker(lengths, capacity, seed, block)
    placed, state = tokens_of(through(packer, 2)), packer.state_dict()
    assert state["row"] == 0 and state["taken"] == packer.documents_read
    taken_up, rest = divmod(state["taken"], len(lengths))
    documents = Counter({d: taken_up for d in range(len(lengths))}) + Counter(map(int, epoch_order(len(lengths), seed, taken_up)[:rest]))
    assert placed + tokens_of(state["waiting"]) == Counter({(d, i): n for d, n in documents.items() for i in range(1, lengths[d])})


@given(LENGTHS, CAPACITY, BLOCK, st.integers(0, 20))
def test_text_rows_go_on_exactly_from_a_saved_state(lengths, capacity, block, steps):
    one = TextPacker(lengths, capacity, 5, block)
    rows_of(one, steps)
    two = TextPacker(lengths, capacity, 5, block)
    two.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert rows_of(one, 15) == rows_of(two, 15) and one.state_dict() == two.state_dict()
    assert one.documents_read == two.documents_read


@given(LENGTHS, CAPACITY, BLOCK, st.lists(st.integers(0, 9), max_size=6))
def test_rows_are_the_same_however_many_are_asked_for_at_a_time(lengths, capacity, block, counts):
    one, many = TextPacker(lengths, capacity, 2, block), TextPacker(lengths, capacity, 2, block)
    for n in counts:
        assert many.next_rows(n).tolist() == [piece for row in rows_of(one, n) for piece in row]


def test_documents_that_fit_are_not_cut():
    assert all((start, end) == (1, 10) for row in rows_of(TextPacker([10] * 50, 20, 0), 50) for _, start, end in row)


@pytest.mark.parametrize(("capacity", "most"), [(257, 0.05), (2049, 0.05)])
def test_few_documents_are_cut_for_nothing(capacity, most):
    """Lengths as on the web: many short ones, a few long ones."""
    lengths = np.clip(np.random.default_rng(0).lognormal(5.9, 1.0, 20_000), 8, 30_000).astype(int)
    packer = TextPacker(lengths, capacity, 0)
    pieces = Counter(document for document, *_ in through(packer, 1))
    fit = [pieces[d] for d in range(len(lengths)) if lengths[d] <= capacity and pieces[d]]
    assert sum(n > 1 for n in fit) / len(fit) < most
    assert len(packer.state_dict()["waiting"]) < 1000


def test_an_epoch_is_read_to_its_end_before_the_next_begins():
    lengths = 5 + np.arange(3000) * 37 % 400
    packer = TextPacker(lengths, 65, 1, block=500)
    for epoch in (1, 2, 3):
        through(packer, epoch)
        assert packer.documents_read == epoch * len(lengths)
        assert size(packer.state_dict()["waiting"]) < 4 * 65, "a row that is not full, and what cutting adds"


def test_what_waits_comes_first_in_the_next_block():
    packer, seen = TextPacker(5 + np.arange(8000) * 37 % 200, 257, 1, block=800), 0
    for _ in range(9):
        waiting = packer.state_dict()["waiting"]
        taken = packer.taken
        while packer.taken == taken:
            packer.next_rows(1)
        still = [piece for piece in packer.state_dict()["waiting"] if piece in waiting]
        assert not still
        seen += len(waiting)
    assert seen > 100


def test_rows_come_in_random_order_with_their_pieces_in_any():
    rows = rows_of(TextPacker([10] * 200 + [20] * 200, 30, 0), 100)
    firsts = [len(range(start, end)) for (_, start, end), *_ in rows]
    assert 0.2 < sum(n == 9 for n in firsts) / len(firsts) < 0.8
    assert rows != rows_of(TextPacker([10] * 200 + [20] * 200, 30, 1), 100)


@given(st.lists(st.integers(1, 30), max_size=40), st.lists(st.integers(1, 30), max_size=40))
def test_each_room_takes_the_longest_piece_that_is_left_from_the_smallest_on(rooms, lengths):
    found = best_fit(np.array(rooms, dtype=int), np.array(lengths, dtype=int))
    assert len({i for i in found.tolist() if i >= 0}) == (found >= 0).sum()
    left = sorted(lengths)
    for room, at in sorted(zip(rooms, found.tolist(), strict=True), key=lambda pair: pair[0]):
        fitting = [n for n in left if n <= room]
        assert (lengths[at] if at >= 0 else None) == (max(fitting) if fitting else None)
        if fitting:
            left.remove(max(fitting))


def test_each_epoch_has_an_order_of_its_own():
    orders = [tuple(epoch_order(20, seed, epoch)) for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(orders)) == 4 and all(sorted(order) == list(range(20)) for order in orders)


def test_nothing_to_pack_is_refused():
    with pytest.raises(ValueError):
        TextPacker([], 10, 0)
    with pytest.raises(ValueError):
        ItemPacker(0, list, 10, 0)


def items(lengths, capacity, seed=0, buffer=8):
    return ItemPacker(len(lengths), lambda chosen: [lengths[i] for i in chosen], capacity, seed, buffer)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=60), st.integers(20, 50), st.integers(1, 12), st.integers(0, 3))
def test_every_item_is_placed_once_an_epoch_and_rows_do_not_overflow(lengths, capacity, buffer, seed):
    packer, placed, rows = items(lengths, capacity, seed, buffer), Counter(), 0
    if not any(lengths):
        with pytest.raises(ValueError):
            packer.next_row()
        return
    while packer.epoch < 2:
        row = packer.next_row()
        assert row and sum(lengths[i] for i in row) <= capacity
        assert 0 <= packer.progress <= 1
        placed.update(row)
        rows += 1
        assert rows < 10_000, "packing must come to an end"
    assert placed == Counter({i: 2 for i, n in enumerate(lengths) if n})


@given(st.lists(st.integers(1, 20), min_size=1, max_size=60), st.integers(0, 40), st.integers(1, 12))
def test_item_rows_go_on_exactly_from_a_saved_state(lengths, steps, buffer):
    one = items(lengths, 25, 3, buffer)
    for _ in range(steps):
        one.next_row()
    two = items(lengths, 25, 3, buffer)
    two.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert [one.next_row() for _ in range(20)] == [two.next_row() for _ in range(20)]


def test_best_fit_fills_rows_well():
    lengths = [5 + (i * 37) % 50 for i in range(500)]
    packer = items(lengths, 64, buffer=64)
    rows = 0
    while packer.epoch == 0:
        packer.next_row()
        rows += 1
    assert sum(lengths) / (rows * 64) > 0.95


def test_an_item_longer_than_a_row_is_an_error_and_not_an_endless_loop():
    with pytest.raises(ValueError, match="more than a row"):
        items([30], 20).next_row()


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 30)), max_size=60))
def test_the_buffer_finds_the_longest_wait_and_the_best_fit(actions):
    waiting, model = Waiting(), []
    for n, (take, value) in enumerate(actions):
        if not take or not model:
            waiting.add(value, n)
            model.append((value, n))
        elif value % 2:
            assert waiting.oldest() == model.pop(0)
        else:
            fitting = [item for item in model if item[0] <= value]
            expected = max(fitting) if fitting else None
            assert waiting.largest(value) == expected
            if expected:
                model.remove(expected)
        assert waiting.entries() == [[entry] for _, entry in model]
