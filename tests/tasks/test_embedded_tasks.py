"""The tasks made by the project itself: registered, all splits without any file, right answers judged right."""

import pytest

from tasks.common import Mixture, load_task

NAMES = ("facts", "identity", "embedded_chat", "word_problems")


@pytest.fixture(scope="module", params=NAMES)
def task(request):
    return load_task(request.param, None, "test")


def test_evaluation_split_has_items_and_judges_its_own_answers_right(task):
    assert len(task) >= 200
    for i in range(0, len(task), 7):
        conversation = task[i]
        assert task.evaluate(conversation, conversation["messages"][-1]["content"])
        assert not task.evaluate(conversation, "")


def test_facts_have_four_letters_and_chance_a_quarter():
    facts = load_task("facts", None, "test")
    assert facts.kind == "categorical" and facts.chance == 0.25
    assert all(facts[i]["letters"] == list("ABCD") and facts[i]["messages"][-1]["content"] in "ABCD" for i in range(50))


def test_word_problems_carry_plans_and_are_judged_by_value():
    problems = load_task("word_problems", None, "test")
    item = problems[0]
    answer = item["messages"][-1]["content"]
    assert item["messages"][-1]["plan"]
    assert problems.evaluate(item, f"The answer is {answer}.") and not problems.evaluate(item, f"{answer}1")


def test_a_mixture_of_them_needs_no_files():
    mixture = Mixture(["identity:100", "facts:100", "word_problems:50", "embedded_chat:50*2"], None, "test", seed=1)
    assert mixture.counts() == {"identity": 100, "facts": 100, "word_problems": 50, "embedded_chat": 100}
