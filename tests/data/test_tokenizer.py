"""The tokenizer gives back every text, keeps digits apart, never reads specials out of text, and survives its files."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanochat.common import UserError
from nanochat.data.tokenizer import SPECIAL_TOKENS, SPLIT_PATTERN, Tokenizer
from tests.data.conftest import TEXT

HOSTILE = st.one_of(
    st.text(),
    st.text(alphabet=" \n\t\r.,-+*/=×÷−()0123456789'’aÄß你🎉\u0301\u00a0\u2028"),
    st.lists(st.sampled_from([*SPECIAL_TOKENS, "<|", "|>", " ", "bos", "12.5", "I'll"])).map("".join),
)
UNTRAINED = Tokenizer({bytes([b]): b for b in range(256)})


def pieces(tokenizer, text):
    return [tokenizer.decode_bytes([i]).decode(errors="replace") for i in tokenizer.encode(text)]


@given(HOSTILE)
def test_every_text_comes_back_and_its_bytes_are_counted(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.token_bytes[ids].sum() == len(text.encode())


@given(HOSTILE)
def test_specials_are_never_read_out_of_text(tokenizer, text):
    assert not set(tokenizer.encode(text)) & set(tokenizer.specials.values())


@given(HOSTILE)
def test_a_digit_is_a_token_of_its_own(tokenizer, text):
    for piece in tokenizer.encode(text):
        token = tokenizer.decode_bytes([piece])
        assert len(token) == 1 or not any(48 <= byte <= 57 for byte in token)


@given(HOSTILE)
def test_the_split_pattern_covers_every_character(text):
    """Nothing may fall between the alternatives: an uncovered character would vanish in encoding."""
    assert UNTRAINED.decode(UNTRAINED.encode(text)) == text


def test_numbers_and_operators_are_cut_as_the_arithmetic_needs(tokenizer):
    trained = Tokenizer.train(["What is it? + - * / = ( ) plus minus 12,500.75 "] * 50, 400)
    assert pieces(trained, "What is 12.5 + 3?") == ["What", " is", " ", "1", "2", ".", "5", " +", " ", "3", "?"]
    assert pieces(trained, "(12,500-4)*2=") == ["(", "1", "2", ",", "5", "0", "0", "-", "4", ")", "*", "2", "="]
    assert pieces(trained, " (4 plus 5) - 6") == [" (", "4", " plus", " ", "5", ")", " -", " ", "6"]


@pytest.mark.parametrize("run", [" ", "a", "1", "\n", "!", "’", "你"])
def test_very_long_runs_of_a_character_are_encoded_quickly_and_exactly(tokenizer, run):
    text = run * 200_000
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_cut_character_is_replaced_not_an_error(tokenizer):
    first_byte = tokenizer.ranks["🎉".encode()[:1]]
    assert tokenizer.decode([first_byte]) == "\ufffd"


def test_text_that_is_not_unicode_does_not_stop_encoding(tokenizer):
    assert tokenizer.decode(tokenizer.encode("a\ud83dz")) == "a\ufffdz"


def test_specials_follow_the_merges_in_order(tokenizer):
    assert [tokenizer.special(name) for name in SPECIAL_TOKENS] == list(range(tokenizer.vocab_size - 9, tokenizer.vocab_size))
    assert tokenizer.bos_id == tokenizer.special("<|bos|>")
    assert (tokenizer.token_bytes[list(tokenizer.specials.values())] == 0).all()
    assert tokenizer.token_bytes.dtype == np.int32 and tokenizer.token_bytes.shape == (tokenizer.vocab_size,)
    assert tokenizer.decode([tokenizer.bos_id]) == "<|bos|>"


def test_an_unknown_special_and_an_id_outside_the_vocabulary_are_named(tokenizer):
    with pytest.raises(ValueError, match="<|bos|>"):
        tokenizer.special("<|start|>")
    with pytest.raises(ValueError, match=str(tokenizer.vocab_size)):
        tokenizer.decode([tokenizer.vocab_size])


def test_training_is_deterministic_and_counts_specials_in_the_size():
    one, two = Tokenizer.train(TEXT, 350), Tokenizer.train(TEXT, 350)
    assert one.hash == two.hash and one.vocab_size == 350


def test_little_text_gives_a_smaller_vocabulary_and_too_small_a_wish_is_refused():
    assert Tokenizer.train(["aa"], 1000).vocab_size < 300
    with pytest.raises(UserError, match="at least 265"):
        Tokenizer.train(["aa"], 200)


@given(st.lists(HOSTILE, max_size=5))
def test_encoding_in_batches_is_encoding_one_by_one(tokenizer, texts):
    assert tokenizer.encode_batch(texts, threads=2) == [tokenizer.encode(text) for text in texts]


def test_saving_and_loading_changes_nothing(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "tokenizer")
    loaded = Tokenizer.load(tmp_path / "tokenizer")
    assert loaded.hash == tokenizer.hash and loaded.ranks == tokenizer.ranks and loaded.specials == tokenizer.specials
    for text in TEXT[:4]:
        assert loaded.encode(text) == tokenizer.encode(text)
    info = json.loads((tmp_path / "tokenizer" / "tokenizer.json").read_text())
    assert info["hash"] == tokenizer.hash and info["vocab_size"] == tokenizer.vocab_size and info["pattern"] == SPLIT_PATTERN


def test_the_hash_changes_with_anything_that_changes_an_encoding(tokenizer):
    other_pattern = Tokenizer(tokenizer.ranks, pattern=r"\p{N}|[^\p{N}]+")
    other_specials = Tokenizer(tokenizer.ranks, specials=SPECIAL_TOKENS[::-1])
    assert len({tokenizer.hash, other_pattern.hash, other_specials.hash}) == 3


def test_saving_again_replaces_the_folder_whole(tokenizer, tmp_path):
    folder = tmp_path / "tokenizer"
    tokenizer.save(folder)
    (folder / "stale").touch()
    other = Tokenizer.train(TEXT, 300)
    other.save(folder)
    assert Tokenizer.load(folder).hash == other.hash and not (folder / "stale").exists()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".tokenizer")] == []


def test_a_missing_tokenizer_names_the_command_that_makes_it(base_dir):
    with pytest.raises(UserError, match="python -m scripts.tok_train"):
        Tokenizer.load()


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer.tiktoken"])
@pytest.mark.parametrize("damage", ["removed", "cut", "changed"])
def test_a_damaged_tokenizer_is_one_sentence(tokenizer, tmp_path, file, damage):
    tokenizer.save(tmp_path / "tokenizer")
    path = tmp_path / "tokenizer" / file
    text = path.read_text()
    if damage == "removed":
        path.unlink()
    else:
        path.write_text(text[: len(text) // 2] if damage == "cut" else text.replace("aGU=", "eGU=").replace("<|bos|>", "<|box|>"))
    with pytest.raises(UserError, match="tok_train|tiktoken rank file"):
        Tokenizer.load(tmp_path / "tokenizer")


def test_a_folder_without_its_marker_does_not_exist(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "tokenizer")
    (tmp_path / "tokenizer" / "COMPLETE").unlink()
    with pytest.raises(UserError, match="there is no tokenizer"):
        Tokenizer.load(tmp_path / "tokenizer")
