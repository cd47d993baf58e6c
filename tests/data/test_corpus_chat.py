"""Conversations of the embedded corpus: well formed, deterministic, wordings in one split only, answers that hold their value."""

import re

import pytest

from nanochat.data import corpus
from nanochat.data.corpus_chat import ALL_KINDS, IDENTITY_KINDS, plain
from nanochat.data.corpus_manners import FEW_FORMS, TOPICS
from tasks.embedded_chat import EmbeddedChat


@pytest.fixture(scope="module")
def made() -> dict[str, list[dict]]:
    return {split: list(corpus.conversations(split, count=1_500 if split == "train" else 300)) for split in corpus.SPLITS}


def users(conversation: dict) -> list[str]:
    return [m["content"] for m in conversation["messages"] if m["role"] == "user"]


def test_same_arguments_give_the_same_conversations(made):
    assert list(corpus.conversations("train", count=50)) == made["train"][:50]
    assert list(corpus.conversations("train", seed=1, count=50)) != made["train"][:50]


def test_users_and_assistant_take_one_to_three_turns(made):
    turns = set()
    for conversation in made["train"]:
        roles = [m["role"] for m in conversation["messages"]]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        turns.add(len(roles) // 2)
        assert all(m["content"].strip() == m["content"] != "" for m in conversation["messages"])
        assert sum(len(m["content"]) for m in conversation["messages"]) < 1_000
    assert turns == {1, 2, 3}


def test_every_kind_is_there(made):
    assert {c["kind"] for c in made["train"]} == set(ALL_KINDS)


def test_no_conversation_is_in_two_splits(made):
    texts = {split: {tuple(m["content"] for m in c["messages"]) for c in items} for split, items in made.items()}
    assert not texts["train"] & texts["val"] and not texts["train"] & texts["test"] and not texts["val"] & texts["test"]


@pytest.mark.parametrize("kind", ["world", "self", "numbers", "group", "about"])
def test_wordings_of_questions_are_in_one_split_only(kind):
    asked = {}
    for split in corpus.SPLITS:
        asked[split] = {
            plain(user) for c in corpus.conversations(split, count=200, kinds={kind: 1.0}) if len(c["messages"]) == 2 for user in users(c)
        }
        assert len(asked[split]) > 10
    assert not asked["train"] & asked["val"] and not asked["train"] & asked["test"] and not asked["val"] & asked["test"]


def test_answers_contain_the_value_and_judge_themselves_right(made):
    judge = EmbeddedChat.evaluate
    for conversation in [*made["train"], *made["val"]]:
        answer = conversation["messages"][-1]["content"]
        assert judge(None, conversation, answer)
        if conversation["value"]:
            assert conversation["value"].lower() in answer.lower()
            assert not judge(None, conversation, "I do not know.")


def test_yes_and_no_are_judged():
    right = {
        "messages": [{"role": "user", "content": "Is Inky red?"}, {"role": "assistant", "content": "No. Inky is black."}],
        "value": "black",
    }
    assert EmbeddedChat.evaluate(None, right, "No, Inky is not red. Inky is black.")
    assert not EmbeddedChat.evaluate(None, right, "Yes, Inky is black.")


def test_answers_are_sentences_and_hold_no_digits(made):
    for conversation in made["train"]:
        for message in conversation["messages"]:
            if message["role"] == "assistant":
                assert message["content"][0].isupper() and message["content"][-1] in '.!?"', message
                assert not re.search(r"[0-9<>\[\]|{}]|  | [.,!?]|\.\.", message["content"]), message


def test_users_sometimes_write_digits_that_mean_nothing(made):
    some = [c for c in made["train"] if c["kind"] == "numbers"]
    assert len(some) > 20 and all(re.search(r"[0-9]", users(c)[-1]) for c in some)
    assert not any("plan" in m for c in some for m in c["messages"])


def test_identity_conversations_tell_the_name_and_admit_ignorance():
    answers = [
        m["content"]
        for c in corpus.conversations("train", count=600, kinds=IDENTITY_KINDS)
        for m in c["messages"]
        if m["role"] == "assistant"
    ]
    assert sum("Abacus" in a for a in answers) > 50
    assert sum("do not know" in a for a in answers) > 50
    assert set(FEW_FORMS) <= set(TOPICS)
