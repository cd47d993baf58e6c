import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nanochat.dag.numbers import NumberTable, documents_of, read_numbers
from nanochat.dag.numerals import WORDS, in_words
from nanochat.data.tokenizer import Tokenizer

NAMES = ("bytes", "pieces", "words")
# Words and parts of words that make, continue, interrupt and break numerals.
PIECES = [
    *"- .,+5", " two", " five", " ten", "ty", "teen", "th", "der", " seven", " twenty", " hundred", " thousand", " million", " and",
    " point", " zero", " six", "six", " half", " dozen", "-five", "and", "½", " 3", "\n", " plus", " one", "s", "Six", " Eight", "y",
    "-", "<bos>", ".5", "3", "{,}000", "thousand", "5", "t", "nd",
]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizers():
    """Numerals as single bytes, in a few pieces each, and mostly as whole words; each with its table."""
    draw = random.Random(0)
    texts = [" ".join(in_words(draw.randrange(10 ** draw.randint(1, 9)), draw.random() < 0.5) for _ in range(8)) for _ in range(300)]
    texts += [word for word in WORDS for _ in range(40)] + ["A dozen tender people often came; half of them twice."] * 40
    made = [Tokenizer({bytes([i]): i for i in range(256)}), Tokenizer.train(texts, 320), Tokenizer.train(texts, 600)]
    return {name: (tokenizer, NumberTable(tokenizer)) for name, tokenizer in zip(NAMES, made, strict=True)}


def ids_of(tokenizer, pieces):
    ids = [tokenizer.bos_id]
    for piece in pieces:
        ids += [tokenizer.bos_id] if piece == "<bos>" else tokenizer.encode(piece)
    return torch.tensor([ids])


def read(tokenizer, table, idx, **options):
    return read_numbers(idx, table, documents_of(idx, tokenizer.bos_id), **options)


def values(tokenizer, table, text):
    reading = read(tokenizer, table, ids_of(tokenizer, [text]))
    return reading.value[reading.number & ~reading.absorbed].tolist()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two hundred and five point three", [205.3]),
        ("twenty-five", [25]),
        ("Seventeen thousand four hundred", [17400]),
        ("a dozen", [12]),
        ("two dozen eggs", [24]),
        ("a hundred", [100]),
        ("half of twice ten", [0.5, 2, 10]),
        ("zero point zero five", [0.05]),
        ("nineteen hundred", [1900]),
        ("one million and two hundred thousand", [1200000]),
        ("one hundred percent", [100]),
        ("five plus six times seven", [5, 6, 7]),
        ("two and three", [2, 3]),
        ("two hundred and", [200]),
        ("five - three", [5, 3]),
        ("five -3", [5, 3]),
        ("twenty - five", [20, 5]),
        ("twenty-three - -3", [23, -3]),
        ("twenty-ten", [20, 10]),
        ("five six seven", [5, 6, 7]),
        ("five\nhundred", [5, 100]),
        ("two hundred six hundred", [206, 100]),
        ("two thousand three thousand", [2003, 1000]),
        ("one point two three point four", [1.23, 4]),
        ("one point " + "five " * 15, [float("inf")]),
        ("zero point " + "five " * 15, [0.555555555555555]),
        ("zero point " + "five " * 18, [float("inf"), 5, 5]),
        ("zero point " + "five " * 16 + "million", [float("inf")]),
        ("3 million and 5", [3000000, 5]),
        ("-1.1 million", [-1100000]),
        ("two point five million", [2500000]),
        ("2½ cups, ¾ and ½", [2.5, 0.75, 0.5]),
        ("100 and five", [100, 5]),
        ("one two", [1, 2]),
        ("point five", [5]),
        ("a half and two and a half", [0.5, 2, 0.5]),
        ("double 7, triple five, a quarter", [7, 5]),
        (".5 million and -.5 million", [500000, -500000]),
        ("3{,}000 million", [3000000000]),
        ("the 1st of 52nd and 5th", []),
        ("21st century, 2 five", [2, 5]),
        ("1990s 5t 6n two", [1990, 5, 6, 2]),
    ],
)
def test_numerals_are_read_as_a_person_reads_them(tokenizers, name, text, expected):
    assert values(*tokenizers[name], text) == expected


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", ["someone tender often tenth sevenths twos Tenders hundredth halfway android points eighth", "None"])
def test_parts_of_other_words_are_no_numbers(tokenizers, name, text):
    assert values(*tokenizers[name], text) == []


@settings(max_examples=200)
@given(
    name=st.sampled_from(NAMES),
    whole=st.integers(0, 999_999_999) | st.integers(0, 9999),
    decimals=st.integers(0, 6),
    british=st.booleans(),
    hyphen=st.sampled_from("- "),
    before=st.sampled_from(["", "What is ", "(", "6 times ", "six + ", "seven\n"]),
)
def test_every_number_in_words_is_read_back(tokenizers, name, whole, decimals, british, hyphen, before):
    value = whole / 10**decimals
    text = in_words(value, british, hyphen)
    assert values(*tokenizers[name], before + text + " plus")[-1] == value
    assert len(values(*tokenizers[name], text[0].upper() + text[1:] + ".")) == 1


@settings(max_examples=150)
@given(name=st.sampled_from(NAMES), pieces=st.lists(st.sampled_from(PIECES), min_size=1, max_size=14))
def test_reading_is_causal_and_equal_prefix_by_prefix(tokenizers, name, pieces):
    """What is read at a token never depends on later tokens, the words absorbed add up, and none of them could have planned."""
    tokenizer, table = tokenizers[name]
    idx = ids_of(tokenizer, pieces)
    whole, stack = read(tokenizer, table, idx), []
    for t in range(1, idx.shape[1] + 1):
        part = read(tokenizer, table, idx[:, :t])
        for field in ("value", "number", "absorbs", "reach", "anchor", "space"):
            assert getattr(part, field)[0, -1] == getattr(whole, field)[0, t - 1], (field, t)
        del stack[len(stack) - int(part.absorbs[0, -1]) :]
        stack.append(t - 1)
        assert torch.nonzero(~part.absorbed[0]).squeeze(1).tolist() == stack
    assert not (whole.anchor & whole.absorbed).any()


@settings(max_examples=20)
@given(name=st.sampled_from(NAMES[1:]), pieces=st.lists(st.sampled_from(PIECES), min_size=300, max_size=320))
def test_the_window_read_again_in_decoding_is_long_enough(tokenizers, name, pieces):
    tokenizer, table = tokenizers[name]
    idx = ids_of(tokenizer, pieces)
    whole = read(tokenizer, table, idx)
    for t in range(table.window, idx.shape[1], 7):
        part = read(tokenizer, table, idx[:, t - table.window : t], last_only=True)
        for field in ("value", "number", "absorbs", "anchor"):
            assert getattr(part, field)[0, -1] == getattr(whole, field)[0, t - 1], (field, t)


def test_the_longest_numeral_fits_into_the_window(tokenizers):
    text = "two point five " + in_words(777_777_777_777) + " point" + " seven" * 15
    for tokenizer, table in tokenizers.values():
        assert len(tokenizer.encode(text)) < table.window


def test_an_open_number_has_the_value_of_its_prefix(tokenizers):
    tokenizer, table = tokenizers["words"]
    idx = ids_of(tokenizer, ["two hundred and seventy-five"])
    reading = read(tokenizer, table, idx)
    assert [tokenizer.decode([i]) for i in idx[0, 1:]] == ["two", " hundred", " and", " seventy", "-", "five"]
    assert reading.value[0, 1:].tolist() == [2, 200, 0, 270, 0, 275]
    assert reading.absorbs[0, 1:].tolist() == [0, 1, 0, 2, 0, 2]
    assert reading.anchor[0, 1:].tolist() == [False] * 6


def test_the_start_of_a_longer_word_is_a_number_until_it_is_taken_back(tokenizers):
    tokenizer, table = tokenizers["bytes"]
    reading = read(tokenizer, table, ids_of(tokenizer, ["two hundred tender"]))
    assert reading.value[0, 3] == 2 and reading.value[0, 11] == 200
    assert reading.value[0, 15] == 210 and reading.number[0, 15]  # two hundred (and) ten
    assert reading.value[0, 16] == 200 and reading.absorbs[0, 16] == 1  # "d": the number before is two hundred again
    assert reading.number[0, 17:].tolist() == [False, False]


def test_words_that_may_join_numbers_plan_unless_they_can(tokenizers):
    tokenizer, table = tokenizers["words"]

    def plans(text):
        return bool(read(tokenizer, table, ids_of(tokenizer, [text])).anchor[0, -1])

    assert plans("two and") and plans("apples and") and plans("the point") and plans("twenty -") and plans("20-") and plans("five-")
    assert not any(map(plans, ("two hundred and", "six thousand and", "two point", "twenty-")))


def test_reading_does_not_depend_on_the_other_rows(tokenizers):
    for tokenizer, table in tokenizers.values():
        texts = ["3 and 4 - 5", "two hundred and five", "a point of order", "hundred and seven", "six"]
        rows = [ids_of(tokenizer, [t])[0] for t in texts]
        idx = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=tokenizer.bos_id)
        together = read(tokenizer, table, idx)
        for i, row in enumerate(rows):
            alone = read(tokenizer, table, row[None])
            for field in ("value", "number", "absorbs", "anchor"):
                assert torch.equal(getattr(together, field)[i, : len(row)], getattr(alone, field)[0]), (i, field)


@pytest.mark.parametrize(
    ("value", "british", "american"),
    [
        (0, "zero", "zero"),
        (25, "twenty-five", "twenty-five"),
        (205.3, "two hundred and five point three", "two hundred five point three"),
        (17_400, "seventeen thousand four hundred", "seventeen thousand four hundred"),
        (2_000_005, "two million and five", "two million five"),
        (923_456.07, "nine hundred and twenty-three thousand four hundred and fifty-six point zero seven", None),
        (100_023_000, "one hundred million twenty-three thousand", "one hundred million twenty-three thousand"),
    ],
)
def test_numbers_have_words(value, british, american):
    assert in_words(value) == british and in_words(value, british=False) == (american or british.replace(" and", ""))


@pytest.mark.parametrize("value", [-1, 10**12])
def test_numbers_without_words_are_refused(value):
    with pytest.raises(ValueError, match=str(value)):
        in_words(value)
