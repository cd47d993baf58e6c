"""Packing: rows are full and begin with <|bos|>, every token is placed once, nothing loops for ever, resuming changes nothing."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanochat.data.packing import ItemPacker, TextPacker, Waiting, epoch_order

LENGTHS = st.lists(st.integers(2, 60), min_size=1, max_size=30)


def length_of(piece):
    document, start, end = piece
    return end - start + (start > 0)


@given(LENGTHS, st.integers(2, 40), st.integers(1, 8), st.integers(0, 3))
def test_every_row_is_full_and_begins_with_bos(lengths, capacity, buffer, seed):
    packer = TextPacker(lengths, capacity, seed, buffer)
    for _ in range(20):
        row = packer.next_row()
        assert sum(map(length_of, row)) == capacity, "a piece with start > 0 brings its own <|bos|>, one with start 0 has the document's"
        assert all(0 <= start <= end <= lengths[document] for document, start, end in row)


@given(LENGTHS, st.integers(2, 40), st.integers(1, 8), st.integers(0, 3))
def test_no_token_of_an_epoch_is_lost_or_doubled(lengths, capacity, buffer, seed):
    packer, placed = TextPacker(lengths, capacity, seed, buffer), Counter()
    for _ in range(3000):
        for document, start, end in packer.next_row():
            placed.update((document, i) for i in range(start, end))
        if packer.epoch >= 2:
            break
    waiting = Counter((d, i) for d, start, end in packer.state_dict()["waiting"] for i in range(start, end))
    taken_up = packer.epoch * [*range(len(lengths))] + [int(d) for d in epoch_order(len(lengths), seed, packer.epoch)[: packer.cursor]]
    assert placed + waiting == Counter((d, i) for d in taken_up for i in range(lengths[d]))


@given(LENGTHS, st.integers(2, 40), st.integers(1, 8), st.integers(0, 20))
def test_text_rows_go_on_exactly_from_a_saved_state(lengths, capacity, buffer, steps):
    one = TextPacker(lengths, capacity, 5, buffer)
    for _ in range(steps):
        one.next_row()
    two = TextPacker(lengths, capacity, 5, buffer)
    two.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert [one.next_row() for _ in range(15)] == [two.next_row() for _ in range(15)]


def test_documents_that_fit_are_not_cut():
    packer = TextPacker([10] * 50, 20, 0)
    assert all(piece[1:] == (0, 10) for _ in range(50) for piece in packer.next_row())


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
