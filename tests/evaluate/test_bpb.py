"""Bits per byte against sums worked out by hand."""

import math

import pytest
import torch

from nanochat.common import UserError, rank, world_size
from nanochat.evaluate.bpb import bits_per_byte
from tests.evaluate.fakes import Bigram, byte_tokenizer
from tests.processes import in_processes


def batch(text, ignore=()):
    ids = [ord(c) for c in text]
    targets = [-1 if i in ignore else t for i, t in enumerate(ids[1:])]
    return torch.tensor([ids[:-1]]), torch.tensor([targets])


def test_it_is_nats_over_bytes_in_bits():
    model = Bigram({"a": {"b": 0.25}, "b": {"a": 0.5}})
    assert bits_per_byte(model, [batch("abab")], byte_tokenizer().token_bytes, 1) == pytest.approx((2 + 1 + 2) / 3)


def test_bytes_are_those_of_the_tokens_not_their_number():
    lengths = byte_tokenizer().token_bytes.copy()
    lengths[ord("b")] = 4
    model = Bigram({"a": {"b": 0.25}, "b": {"a": 0.5}})
    assert bits_per_byte(model, [batch("aba")], lengths, 1) == pytest.approx((2 + 1) / (4 + 1))


def test_ignored_and_special_targets_count_neither_nats_nor_bytes():
    tokenizer = byte_tokenizer()
    model = Bigram({"a": {"b": 0.25}, "b": {"a": 0.5}})
    inputs, targets = batch("abab", ignore={0})
    targets[0, 2] = tokenizer.bos_id
    assert bits_per_byte(model, [(inputs, targets)], tokenizer.token_bytes, 1) == pytest.approx(1.0)


def test_only_the_asked_number_of_batches_is_taken():
    batches = iter([batch("ab"), batch("ab"), batch("ab")])
    bits_per_byte(Bigram({}), batches, byte_tokenizer().token_bytes, 2)
    assert len(list(batches)) == 1


def test_a_uniform_model_needs_the_log_of_the_vocabulary():
    assert bits_per_byte(Bigram({}), [batch("hello")], byte_tokenizer().token_bytes, 1) == pytest.approx(math.log2(265))


@pytest.mark.parametrize("batches", [[], [batch("ab", ignore={0})]])
def test_no_bytes_at_all_is_refused_instead_of_infinite(batches):
    with pytest.raises(UserError, match="held none"):
        bits_per_byte(Bigram({}), batches, byte_tokenizer().token_bytes, 3)


def test_the_model_is_left_in_the_mode_it_was_in():
    model = Bigram({}).train()
    bits_per_byte(model, [batch("ab")], byte_tokenizer().token_bytes, 1)
    assert model.training


TEXTS = ("abab", "bbaab", "a", "abbbbbbbbb")


def share_of_texts() -> float:
    model = Bigram({"a": {"b": 0.25}, "b": {"a": 0.5}})
    mine = [batch(text + "a") for text in TEXTS[rank() :: world_size()]]
    return bits_per_byte(model, mine, byte_tokenizer().token_bytes, 9)


@pytest.mark.parametrize("world", [2, 4])
def test_several_processes_measure_what_one_does_whoever_has_how_much(tmp_path, world):
    assert in_processes(world, share_of_texts, tmp_path) == [pytest.approx(share_of_texts(), rel=1e-12)] * world
