"""Word problems: the plan over the numbers of the text gives exactly the printed answer, and training knows nothing held out."""

import re
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanochat.data import corpus, problem_nouns
from nanochat.data.corpus_grammar import compiled, fill
from nanochat.data.corpus_problems import draw_problem, printed, settled, steps, word_problem, wording
from nanochat.data.problem_grammar import CLOSINGS, FAMILIES, SCENES, compose
from nanochat.data.problem_story import SOME_WORDS, TABLES, Problem
from nanochat.data.problem_templates import WRITTEN
from nanochat.data.split import held_out

COUNTS = {"train": 3_000, "val": 400, "test": 400}
NUMBER = re.compile(r"\d+(?:\.\d+)?|\b(?:a dozen|dozen|half|twice)\b", re.IGNORECASE)
NUMERALS = re.compile(
    r"\b(one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|hundred|thousand|single|pair|zero)\b",
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


@pytest.fixture(scope="module")
def composed() -> list[Problem]:
    random = Random(2).random
    return [compose(random) for _ in range(60_000)]


IN_SCENE = re.compile(r"([A-Z]+\d+)((?: WORDING\d+)*) FORMULA(\d+) QUESTION(\d+)")


def test_every_sentence_of_the_tables_is_used_by_some_story(composed):
    used = {word for problem in composed for word in IN_SCENE.sub("", problem.key).split()}
    assert used == {f"{name}{i}" for name, table in TABLES.items() for i in range(len(table))}


def test_every_wording_and_question_of_the_scenes_is_used(composed):
    lines, asked = set(), set()
    for scene, wordings, kind, question in (found for problem in composed for found in IN_SCENE.findall(problem.key)):
        lines |= {(scene, line, int(at)) for line, at in enumerate(re.findall(r"\d+", wordings))}
        asked.add((scene, int(kind), int(question)))
    for name, scenes in (*SCENES, ("CLOSING", CLOSINGS)):
        for i, (told, questions) in enumerate(scenes):
            assert all((f"{name}{i}", n, at) in lines for n, line in enumerate(told) for at in range(len(line)))
            assert all((f"{name}{i}", kind, at) in asked for kind, group in enumerate(questions.values()) for at in range(len(group)))


def sentences() -> list[tuple[str, str]]:
    """Every sentence that may be told or asked, with the name of its table."""
    found = [(name, text if isinstance(text, str) else text[0]) for name, table in TABLES.items() for text in table]
    for name, scenes in (*SCENES, ("CLOSING", CLOSINGS)):
        for told, asked in scenes:
            found += [(name, text) for group in (*told, *asked.values()) for text in group]
    return found


@pytest.mark.parametrize("name", sorted({name for name, _ in sentences()}))
def test_every_sentence_is_well_formed_and_ends(name):
    for text in (text for at, text in sentences() if at == name):
        compiled(text)
        assert text.endswith((".", "?")) and text == text.strip() and "  " not in text, text
        assert not NUMERALS.search(text), text


@pytest.mark.parametrize(
    "more, less",
    [("GAINS", "LOSES"), ("COME", "GO"), ("EARNS", "SPENDS"), ("HAS_MORE", "HAS_FEWER"), ("OLDER", "YOUNGER"), ("ADDS_ON", "CUTS_OFF"),
     ("CHEAPER", "DEARER"), ("GAINED_FIRST", "LOST_FIRST"), ("GAINED_SOME", "LOST_SOME"), ("HOW_MANY_CAME", "HOW_MANY_WENT")],
)  # fmt: skip
def test_no_sentence_means_both_more_and_less(more, less):
    random = Random(5).random
    slots = (
        problem_nouns.people(random)
        | problem_nouns.THINGS[0]
        | {"who": "birds", "where": "lake", "at": "on", "box": "box", "day": "Monday"}
    )
    slots |= {"s": "cup", "s2": "hat", "u": "euros", "m": "meters", "when": ""}
    told = [{fill(text, random, slots) for text in TABLES[name] for _ in range(150)} for name in (more, less)]
    assert min(map(len, told)) >= 3 and not told[0] & told[1]


def test_the_same_sentences_always_have_the_same_formula(composed):
    formulas: dict[tuple[str, str], str] = {}
    for problem in composed:
        assert formulas.setdefault((problem.told, problem.asked), problem.formula) == problem.formula, problem


def test_every_number_of_a_formula_is_told_exactly_once(composed):
    random = Random(6).random
    for problem in composed[:15_000]:
        words = wording(random, problem)
        holes = re.findall(r"\{(\w)", words.text)
        assert sorted(holes) == sorted({*re.findall("[a-h]", problem.formula)} | ({"x"} & {*holes})), words


def test_form_changes_keep_what_is_told():
    """The last event in the question, the question first, a sentence without a number: each occurs, with the formula unchanged."""
    random = Random(7).random
    problem = Problem("<A> has {a} <t>.\n<when><A.he> eats {b} of them.", "how many <t> does <A> have left?", "[a-b]", key="HAS0")
    made = [wording(random, problem) for _ in range(2_000)]
    assert all(words.formula == "[a-b]" and {"a", "b"} <= {*words.kinds} for words in made)
    asking = [w for w in made if re.search(r"(If|After|When) (she|he|[A-Z]\w*|[Tt]he \w+) eats \{b\} of them, how many", w.text)]
    behind = [w for w in made if re.search(r"have left (if|after|when|once) \S.* eats \{b\} of them\?", w.text)]
    first = [w for w in made if re.match(r"How many .*\? \S", w.text)]
    joined = [w for w in made if re.search(r"\{a\} \w+[,;]?( and| then| but| and then)? eats \{b\}", w.text)]
    assert min(len(asking), len(behind), len(first), len(joined)) > 20
    assert all(w.settled_by == [-1] for w in asking + behind) and any(w.settled_by == [1] for w in made)


def test_until_somebody_is_named_the_name_stands_for_the_pronoun():
    random = Random(8).random
    problem = Problem(
        "there are {a} rows with {b} <t> in each.\n<A.he> sells {c} of them.\n<A.he> smiles.", "how many are left?", "[[a*b]-c]", key="x"
    )
    made = [wording(random, problem) for _ in range(300)]
    assert not any(re.search(r"\b([Ss]he|[Hh]e) sells", w.text) for w in made if w.text.startswith("There"))
    assert sum(bool(re.search(r"\b([Ss]he|[Hh]e) smiles", w.text)) for w in made) > 200


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
            text, plan = problem["messages"][0]["content"], problem["messages"][1]["plan"]
            assert not NUMERALS.search(text), problem
            for word, constant in (("third", "c3"), ("quarter", "c4"), ("triple", "c3"), ("double", "c2")):
                assert not re.search(rf"\b{word}s?\b", text) or any(constant in step for step in plan), problem


def test_texts_read_well(made):
    for problem in made["train"]:
        text = problem["messages"][0]["content"]
        assert (
            text.endswith(("?", "."))
            and re.match(r"\w|\$\d", text)
            and not re.search(
                r"  |[<>{}\[\]|~]|\$(?!\d)| [.,?;]|\.\."
                "|[,;][,;]",
                text,
            )
        ), text
        assert not re.search(
            r"\b[Aa] (?=[aeiou])(?!one\b|use|uni)|\b[Aa]n (?![aeiou]|hour)|\b(\w+) \1\b(?! \1)", text.replace("had had", "had")
        ), text


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
