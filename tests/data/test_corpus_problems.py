"""Word problems: the plan over the numbers of the text gives exactly the printed answer, and training knows nothing held out."""

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanochat.data import corpus
from nanochat.data.corpus_problems import PROBLEMS, printed, steps
from nanochat.data.split import held_out

COUNTS = {"train": 3_000, "val": 400, "test": 400}
NUMERALS = re.compile(
    r"\b(one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|hundred|thousand|dozen|half|twice|double|third|quarter|single|pair|zero)\b",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def made() -> dict[str, list[dict]]:
    return {split: list(corpus.word_problems(split, count=count)) for split, count in COUNTS.items()}


def execute(plan: list[list], numbers: list[Fraction]) -> Fraction:
    """An executor of its own: the last step's result, exactly."""
    results: list[Fraction] = []
    for operation, *operands in plan:
        x, y = (results[int(o[1:])] if isinstance(o, str) else numbers[o] for o in operands)
        results.append({"add": x + y, "subtract": x - y, "multiply": x * y, "divide": x / y if y else None}[operation])
    return results[-1]


@pytest.mark.parametrize("split", corpus.SPLITS)
def test_plan_over_the_numbers_in_reading_order_gives_the_printed_answer(made, split):
    for problem in made[split]:
        user, assistant = problem["messages"]
        numbers = [Fraction(n) for n in re.findall(r"\d+(?:\.\d+)?", user["content"])]
        result = execute(assistant["plan"], numbers)
        assert Fraction(assistant["content"]) == result > 0, problem
        assert assistant["content"] == printed(int(result * 100)) and re.fullmatch(r"\d+(\.\d{1,2})?", assistant["content"])


@pytest.mark.parametrize("split", corpus.SPLITS)
def test_canonical_expression_gives_the_answer_and_belongs_to_the_split(made, split):
    for problem in made[split]:
        canonical, answer = problem["canonical"], problem["messages"][1]["content"]
        assert re.fullmatch(r"[\d.()*/+-]+", canonical)
        exact = re.sub(r"\d+(\.\d+)?", lambda m: f"Fraction('{m[0]}')", canonical)
        assert eval(exact, {"Fraction": Fraction}) == Fraction(answer)
        assert held_out(canonical) == (split != "train")


def test_training_sees_no_held_out_template_and_evaluation_sees_all(made):
    assert {p["template"] for p in made["train"]} == {i for i, p in enumerate(PROBLEMS) if not p.held_out}
    assert {p["template"] for p in made["val"]} == set(range(len(PROBLEMS)))


def test_there_are_enough_templates():
    assert sum(not p.held_out for p in PROBLEMS) >= 25 and sum(p.held_out for p in PROBLEMS) >= 4


def test_val_and_test_share_no_expression(made):
    assert not {p["canonical"] for p in made["val"]} & {p["canonical"] for p in made["test"]}


def test_texts_are_different_and_deterministic(made):
    assert len({p["messages"][0]["content"] for p in made["train"]}) == COUNTS["train"]
    assert list(corpus.word_problems("train", count=100)) == made["train"][:100]


def test_no_number_is_written_as_a_word(made):
    for split in corpus.SPLITS:
        for problem in made[split]:
            assert not NUMERALS.search(problem["messages"][0]["content"]), problem


def test_texts_read_well(made):
    for problem in made["train"]:
        text = problem["messages"][0]["content"]
        assert text.endswith("?") and text[0].isalnum() and not re.search(r"  |[<>{}\[\]|~$]| [.,?]|\.\.", text), text


def test_some_problems_have_a_number_too_many(made):
    extra = [p for p in made["train"] if len(re.findall(r"\d+(?:\.\d+)?", p["messages"][0]["content"])) > len(p["messages"][1]["plan"]) + 1]
    assert 0.1 < len(extra) / len(made["train"]) < 0.3


def test_numbers_have_one_to_three_digits(made):
    sizes = {len(n.split(".")[0]) for p in made["train"] for n in re.findall(r"\d+(?:\.\d+)?", p["messages"][0]["content"])}
    assert sizes == {1, 2, 3}


def test_formula_becomes_steps_from_the_inside():
    assert steps("(c+(a*b))") == (("*", "a", "b"), ("+", "c", "s0"))
    with pytest.raises(AssertionError, match="bracketed"):
        steps("(a+b)*c")


@given(st.integers(-(10**9), 10**9))
def test_printing_is_exact_and_without_trailing_zeros(hundredths):
    text = printed(hundredths)
    assert Fraction(text) == Fraction(hundredths, 100)
    assert not ("." in text and text.endswith("0"))
