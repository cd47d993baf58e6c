"""The embedded corpus: deterministic, disjoint splits, a closed vocabulary, every fact often, no arithmetic in its documents."""

import re
from collections import Counter

import pytest

from nanochat.data import corpus
from nanochat.data.corpus_facts import ALIKE, FACTS, ask, has_back, pools, state, wrong_values
from nanochat.data.corpus_world import ANIMALS, PEOPLE, PERSON, PLACES, VILLAGE

SIZE = 1_000_000


@pytest.fixture(scope="module")
def train() -> list[str]:
    return list(corpus.documents("train", size=SIZE))


@pytest.fixture(scope="module")
def val() -> list[str]:
    return list(corpus.documents("val"))


def test_same_seed_gives_same_documents_and_another_seed_others(train):
    again = list(corpus.documents("train", size=50_000))
    assert again == train[: len(again)]
    assert list(corpus.documents("train", seed=1, size=50_000))[:5] != again[:5]


def test_sizes_are_as_asked(train, val):
    assert SIZE <= sum(len(d) + 1 for d in train) < SIZE + 5_000
    assert 200_000 <= sum(len(d.encode()) + 1 for d in val) < 205_000


def test_no_document_is_in_two_splits_whatever_the_seed(train, val):
    test = set(corpus.documents("test", seed=3))
    assert not set(train) & set(val) and not set(train) & test and not set(val) & test


def test_unknown_split_is_an_error():
    with pytest.raises(ValueError, match="train, val, test"):
        next(corpus.documents("valid"))


def test_vocabulary_is_closed_and_words_repeat(train, val):
    words = Counter(word for text in train for word in re.findall(r"[a-z']+", text.lower()))
    assert 800 < len(words) < 1_500
    assert len({word for text in val for word in re.findall(r"[a-z']+", text.lower())} - set(words)) <= 3
    assert sum(count < 3 for count in words.values()) < 0.05 * len(words)


def test_documents_hold_no_digits_and_no_operators(train):
    assert not [text for text in train if re.search(r"[0-9+*/=×÷<>|\[\]{}]", text)]


def test_documents_rarely_repeat(train):
    assert len(set(train)) > 0.995 * len(train)


def test_typography_is_right(train):
    for text in train:
        assert text == text.strip() and "  " not in text and not re.search(r" [.,!?]|,[.,!?]|\.\.|\bvery very\b", text), text
        assert not re.search(r"(?:^|[.!?] )\"?[a-z]", text), text
        assert not re.search(r"\b[Aa] (?=[aeio])(?!one\b)", text), text


def test_sentences_are_short_and_documents_fit_a_context(train):
    sentences = [s for text in train for s in re.split(r"(?<=[.!?])\"?\s", text)]
    lengths = sorted(len(s.split()) for s in sentences)
    assert 5 <= lengths[len(lengths) // 2] <= 12 and lengths[-1] < 50
    assert max(map(len, train)) < 1_800


def test_every_fact_is_told_often(train):
    """In a seventh of the default size every subject stands beside its value in at least 4 documents, most in 15."""
    sentence_facts = ("outcome", "advice", "reason", VILLAGE)  # their question is their subject: the value alone must be told
    together = []
    for fact in FACTS:
        subject = "" if fact.topic in sentence_facts else re.sub(r"^(a|an|the) ", "", fact.subject)
        together.append(sum(fact.value in text and subject in text for text in train))
    assert min(together) >= 4, FACTS[together.index(min(together))]
    assert sorted(together)[len(together) // 2] >= 15


def test_world_tables_agree_with_one_another():
    for person in PEOPLE:
        assert PERSON[person.friend].name != person.name
        assert not person.pet or [a.owner for a in ANIMALS if a.name == person.pet] == [person.name]
        places = {p.name for p in PLACES}
        assert person.work in places and person.near in places
    assert len({p.name for p in PEOPLE} | {a.name for a in ANIMALS}) == len(PEOPLE) + len(ANIMALS)


def test_statements_and_answers_contain_the_value():
    random = corpus.stream("train", 0, "test")
    for fact in FACTS:
        for _ in range(8):
            if fact.relation.name not in ("says", "eats", "lives", "gives"):
                assert fact.value.lower() in state(random, fact).lower()
            question = ask(random, fact)
            assert question.value.lower() in question.answer.lower()
            assert question.text[0].isupper() and question.text[-1] in ".?!" and question.answer.endswith(".")


def test_wrong_values_are_wrong_different_and_of_the_same_kind():
    random = corpus.stream("train", 0, "test")
    for fact in FACTS:
        for back in {False, has_back(fact)}:
            question = ask(random, fact, back=back)
            wrong = wrong_values(random, fact, question.value, question.pool, 3)
            assert len(set(wrong)) == 3 and question.value not in wrong
            assert question.pool == "number" or set(wrong) <= set(pools()[question.pool])
            assert not any(question.value in group and set(wrong) & group for group in ALIKE)


@pytest.mark.parametrize("split", corpus.SPLITS)
def test_fact_questions_have_exactly_one_right_option(split):
    told = {(f.relation.name, f.subject, f.value) for f in FACTS}
    for item in corpus.facts_questions(split, count=400):
        fact, options = FACTS[item["fact"]], item["options"]
        assert len(set(options)) == 4
        forward = {i for i, option in enumerate(options) if (fact.relation.name, fact.subject, option) in told}
        backward = {i for i, option in enumerate(options) if (fact.relation.name, option, fact.value) in told}
        assert forward == {item["answer"]} or backward == {item["answer"]}, item


def test_fact_questions_are_disjoint_between_splits_and_letters_are_even():
    keys, letters = {}, Counter()
    for split in corpus.SPLITS:
        items = list(corpus.facts_questions(split, count=1_000))
        letters.update(item["answer"] for item in items)
        keys[split] = {(item["question"], *sorted(item["options"])) for item in items}
    assert not keys["train"] & keys["val"] and not keys["train"] & keys["test"] and not keys["val"] & keys["test"]
    assert max(letters.values()) < 1.2 * min(letters.values())
