"""The tasks made by the project itself: registered, all splits without any file, right answers judged right."""

import pytest

from nanochat.infer.calculator import calculate
from tasks.common import Mixture, answer_text, load_task

NAMES = ("facts", "identity", "embedded_chat", "word_problems", "word_problems_tool")


@pytest.fixture(scope="module", params=NAMES)
def task(request):
    return load_task(request.param, None, "test")


def test_evaluation_split_has_items_and_judges_its_own_answers_right(task):
    assert len(task) >= 200
    for i in range(0, len(task), 7):
        conversation = task[i]
        assert task.evaluate(conversation, answer_text(conversation))
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


def test_word_problems_as_calls_are_the_same_with_the_expression_and_its_value_before_the_answer():
    plain, tool = (load_task(name, None, "test") for name in ("word_problems", "word_problems_tool"))
    for i in range(0, len(plain), 5):
        (question, answer), (same, called) = plain[i]["messages"], tool[i]["messages"]
        call, output, text = called["content"]
        assert question == same and "plan" not in called and text["text"] == answer["content"] == output["text"] == calculate(call["text"])


def test_a_mixture_of_them_needs_no_files():
    mixture = Mixture(["identity:100", "facts:100", "word_problems:50", "embedded_chat:50*2"], None, "test", seed=1)
    assert mixture.counts() == {"identity": 100, "facts": 100, "word_problems": 50, "embedded_chat": 100}
