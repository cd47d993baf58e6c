"""Word problems: the plan over the numbers of the text gives exactly the printed answer, and training knows nothing held out."""

import re
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanochat.data import corpus, problem_words
from nanochat.data.corpus_problems import draw_problem, printed, settled, steps, word_problem
from nanochat.data.problem_grammar import FAMILIES, SOME_WORDS, Problem, compose
from nanochat.data.problem_templates import WRITTEN
from nanochat.data.split import held_out

COUNTS = {"train": 3_000, "val": 400, "test": 400}
NUMBER = re.compile(r"\d+(?:\.\d+)?|\b(?:a dozen|dozen|half|twice)\b", re.IGNORECASE)
NUMERALS = re.compile(
    r"\b(one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|hundred|thousand|third|quarter|single|pair|zero)\b",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def made() -> dict[str, list[dict]]:
    return {split: list(corpus.word_problems(split, count=count)) for split, count in COUNTS.items()}


def numbers_in(text: str) -> list[Fraction]:
    return [Fraction(SOME_WORDS.get(n.lower(), 0)) or Fraction(n) for n in NUMBER.findall(text)]


def execute(plan: list[list], numbers: list[Fraction]) -> Fraction:
    """An executor of its own: the last step's result, exactly."""
    results: list[Fraction] = []
    for operation, *operands in plan:
        x, y = (numbers[o] if isinstance(o, int) else results[int(o[1:])] if o[0] == "s" else Fraction(o[1:]) for o in operands[:2])
        results.append({"add": x + y, "subtract": x - y, "multiply": x * y, "divide": x / y if y else None}[operation])
    return results[-1]


@pytest.mark.parametrize("split", corpus.SPLITS)
def test_plan_over_the_numbers_in_reading_order_gives_the_printed_answer(made, split):
    for problem in made[split]:
        user, assistant = problem["messages"]
        result = execute(assistant["plan"], numbers_in(user["content"]))
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


def test_training_sees_no_held_out_template_and_evaluation_sees_both(made):
    trained, other = ({p["template"] for p in made[split] if p["held_out"]} for split in ("train", "val"))
    assert not trained and any(t in other for t in (p.told for p in WRITTEN if p.held_out)) and len(other) > 20
    known = {p["template"] for p in made["train"]}
    assert not known & other and not any(p.told in known for p in WRITTEN if p.held_out)


def test_there_are_thousands_of_templates(made):
    assert len({p["template"] for p in made["train"]}) > 1500 and sum(p.held_out for p in WRITTEN) >= 15


@pytest.mark.parametrize("family", [family for family, _ in FAMILIES])
def test_every_family_gives_problems_that_can_be_solved(family):
    random = Random(1).random
    for _ in range(30):
        made = word_problem(random, family, lambda canonical: True)
        user, assistant = made["messages"]
        assert execute(assistant["plan"], numbers_in(user["content"])) == Fraction(assistant["content"]), made


def test_every_sentence_of_the_tables_is_used_by_some_story():
    random, used = Random(2).random, set()
    for _ in range(30_000):
        used |= set(compose(random).key.split())
    tables = {name: len(table) for name, table in vars(problem_words).items() if isinstance(table, tuple) and name in _chosen_from()}
    assert used == {f"{name}{i}" for name, size in tables.items() for i in range(size)}


def _chosen_from() -> set[str]:
    """Tables of which sentences are picked; the others hold single words."""
    return {name for name, table in vars(problem_words).items() if isinstance(table, tuple)} - {
        "WHO", "WHERE", "UNITS_OF_MONEY", "PERIODS", "DISTRACTIONS"
    }  # fmt: skip


def test_a_sentence_settles_a_step_only_if_all_it_takes_was_told(made):
    for split in corpus.SPLITS:
        for problem in made[split]:
            text, plan = problem["messages"][0]["content"], problem["messages"][1]["plan"]
            told = len(NUMBER.findall(text[: text.rfind(". ") + 1]))
            for step in plan:
                if len(step) == 4:
                    assert max(o for o in step[1:] if isinstance(o, int)) == step[3] < told
                    assert all(len(plan[int(o[1:])]) == 4 for o in step[1:3] if isinstance(o, str) and o[0] == "s")


def test_numbers_that_cannot_be_found_make_place_for_another_problem():
    random, tried = Random(3).random, []

    def draw(random):
        tried.append(
            Problem("<A> has {a=a dozen} hens and gets {b~} more.", "how many hens does <A> have?", "(a+b)") if len(tried) < 2 else None
        )
        return tried[-1] or draw_problem(random)

    made = word_problem(random, draw, lambda canonical: "(12+" not in canonical)
    assert tried[:2] != [None, None] and tried[2] is None and "(12+" not in made["canonical"]


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
    extra = [p for p in made["train"] if p["distracted"]]
    assert 0.1 < len(extra) / len(made["train"]) < 0.3
    used = [{o for step in p["messages"][1]["plan"] for o in step[1:3] if isinstance(o, int)} for p in made["train"]]
    for problem, operands in zip(made["train"], used, strict=True):
        assert len(numbers_in(problem["messages"][0]["content"])) == len(operands) + problem["distracted"]


def test_numbers_have_one_to_three_digits(made):
    sizes = {len(n.split(".")[0]) for p in made["train"] for n in re.findall(r"\d+(?:\.\d+)?", p["messages"][0]["content"])}
    assert sizes == {1, 2, 3}


def test_formula_becomes_steps_from_the_inside():
    assert steps("(c+(a*b))") == (("*", "a", "b"), ("+", "c", "s0"))
    assert steps("(c+[a*7])") == (("*", "a", "7"), ("+", "c", "s0")) and settled("(c+[a*7])") == (True, False)
    with pytest.raises(AssertionError, match="bracketed"):
        steps("(a+b)*c")


@given(st.integers(-(10**9), 10**9))
def test_printing_is_exact_and_without_trailing_zeros(hundredths):
    text = printed(hundredths)
    assert Fraction(text) == Fraction(hundredths, 100)
    assert not ("." in text and text.endswith("0"))
