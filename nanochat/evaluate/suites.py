"""Suites of arithmetic questions: what `dag_eval` asks.

    for cell, questions in SUITES["digits"](Asking(tokenizer, items=500)).items(): ...

A suite is a function from `Asking` to questions by cell, and a line in SUITES; one that gives no cells is not present. All generated
questions are about expressions that training could not have seen.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from random import Random

from nanochat.common import derive_seed
from nanochat.dag.arithmetic import SPECIAL, answers_of, evaluation_batches, prompts_of
from nanochat.dag.executor import CONSTANTS, OPERATIONS
from nanochat.dag.expressions import Batch, ExpressionSettings, ExpressionStream
from nanochat.dag.numbers import DECIMALS, PRINTED_DECIMALS, format_value
from nanochat.dag.surface import STYLES
from nanochat.dag.trace import exact_step
from nanochat.data import corpus
from nanochat.data.conversations import render_prompt
from nanochat.data.corpus_grammar import choose
from nanochat.data.corpus_problems import draw_problem, word_problem
from nanochat.data.problem_story import SOME_WORDS, Problem
from nanochat.data.problem_templates import WRITTEN
from nanochat.data.split import held_out
from nanochat.evaluate.arithmetic import Numbers, Question, labelled_result, prints
from tasks.answers import last_number
from tasks.common import TASKS, Task, answer_text, sample_indices

CHAIN_LENGTHS = (2, 3, 5, 10, 15, 20)
_NUMERAL = re.compile(r"\d+(?:\.\d+)?|\.\d+")


@dataclass(frozen=True)
class Asking:
    """What suites are made from: `items` questions per cell, up to `operations` operations and `max_digits` digits of a number."""

    tokenizer: object
    items: int = 10_000
    seed: int = 0
    operations: int = 6
    max_digits: int = 4
    data_dir: Path | str = "."


Cells = dict[str, list[Question]]


# ---------------------------------------------------------------------------------------------------------------------
# Suites from the generator of expressions


def operations(asking: Asking) -> Cells:
    """By number of operations."""
    settings = ExpressionSettings(operations=(1, asking.operations), max_digits=asking.max_digits)
    batches = evaluation_batches(asking.tokenizer, settings, asking.items, asking.seed)
    return {f"{k}_op{'s' if k > 1 else ''}": _of_batch(batch, settings.steps) for k, batch in batches.items()}


def styles(asking: Asking) -> Cells:
    """By way of writing, each with any number of operations."""
    return {f"style_{name}": _styled(asking, name, (1, asking.operations)) for name in STYLES}


def chains(asking: Asking) -> Cells:
    """Statements that build on each other (`Let x = 3 + 1. Let y = x * 4. What is y?`), by how many of them calculate."""
    return {f"chain_of_{n}": _styled(asking, "let", (n, n)) for n in CHAIN_LENGTHS}


def in_words(asking: Asking) -> Cells:
    """Questions whose answer no number can say, by why; right is one of the sentences of training."""
    settings = ExpressionSettings(operations=(1, asking.operations), max_digits=asking.max_digits)
    cells = {}
    for kind, special in SPECIAL.items():
        seed = derive_seed(asking.seed, "arithmetic evaluation", kind)
        batch = ExpressionStream(asking.tokenizer, settings, "val", seed).unprintable(kind, asking.items)
        cells[kind] = [Question(p, special.answers[0], sentences=special.answers) for p in prompts_of(batch)]
    return cells


def _styled(asking: Asking, style: str, counts: tuple[int, int]) -> list[Question]:
    settings = ExpressionSettings(operations=counts, max_digits=asking.max_digits, chat_share=1.0, styles=(style,))
    seed = derive_seed(asking.seed, "arithmetic evaluation", style, *counts)
    return _of_batch(ExpressionStream(asking.tokenizer, settings, "val", seed).batch(asking.items), settings.steps)


def rounding(asking: Asking) -> Cells:
    """Questions for a number rounded to 0 to 4 decimals, and for numbers of more than six decimals as they are."""
    settings, cells = ExpressionSettings(operations=(1, asking.operations), max_digits=asking.max_digits), {}
    for decimals in DECIMALS:
        seed = derive_seed(asking.seed, "arithmetic evaluation", "rounding", decimals)
        batch = ExpressionStream(asking.tokenizer, settings, "val", seed).rounded(asking.items, decimals)
        name = "not_rounded" if decimals == PRINTED_DECIMALS else f"rounded_to_{decimals}"
        cells[name] = [replace(question, decimals=decimals) for question in _of_batch(batch, settings.steps)]
    return cells


def _of_batch(batch: Batch, steps: int) -> list[Question]:
    def readable(row: int, expected: str) -> Callable[[Numbers], bool]:
        labels, decimals = (batch.operation[row], batch.operand1[row], batch.operand2[row]), int(batch.decimals[row])

        def computable(numbers: Numbers) -> bool:
            result = labelled_result(labels, int(batch.length[row]) - 1, numbers, steps)
            return result is not None and prints(result, expected, decimals)

        return computable

    prompts, answers = prompts_of(batch), answers_of(batch)
    return [Question(p, a, readable(i, a)) for i, (p, a) in enumerate(zip(prompts, answers, strict=True))]


# ---------------------------------------------------------------------------------------------------------------------
# Suites of expressions with chosen numbers

LONGEST_NUMBER = 7
MOST_REPEATED = 4
WORDINGS = {"+": ("+", "plus"), "-": ("-", "minus"), "*": ("*", "times"), "/": ("/", "divided by")}
OPERATOR_SHARES = (0.3, 0.3, 0.25, 0.15)
QUESTIONS = ("What is {}?", "How much is {}?", "Calculate {}.", "Compute {}.", "Work out {}.", "{} =")


@dataclass(frozen=True)
class Expression:
    """A text with its exact value and its canonical form (see `data/split.py`); `level`: 1 a sum, 2 a product, 3 a number or brackets."""

    text: str
    canonical: str
    value: Fraction
    level: int = 3


def digits(asking: Asking) -> Cells:
    """One to three operations on numbers that all have exactly so many digits."""

    def draw(random: Random, n: int) -> list[int]:
        return [random.randrange(10 ** (n - 1), 10**n) for _ in range(random.randint(2, 4))]

    return {
        f"{n}_digit{'s' if n > 1 else ''}": _expressions(asking, f"digits {n}", lambda random, n=n: draw(random, n), 10**n)
        for n in range(1, LONGEST_NUMBER + 1)
    }


def repeated(asking: Asking) -> Cells:
    """The same number two, three or four times, with up to two others."""

    def draw(random: Random, times: int) -> list[int]:
        def number() -> int:
            return random.randrange(1, 10 ** random.randint(1, asking.max_digits))

        numbers = [number()] * times + [number() for _ in range(random.randint(0, 2))]
        random.shuffle(numbers)
        return numbers

    counts = range(2, MOST_REPEATED + 1)
    return {f"repeated_{n}_times": _expressions(asking, f"repeated {n}", lambda random, n=n: draw(random, n)) for n in counts}


def _expressions(asking: Asking, name: str, draw: Callable[[Random], list[int]], below: int = 0) -> list[Question]:
    """Different questions about unseen expressions of the numbers that `draw` gives. A dividend of another number would hardly ever
    come out even: where `below` is given, it becomes a multiple of its divisor below that."""
    random, found = Random(derive_seed(asking.seed, "arithmetic evaluation", name)), {}
    while len(found) < asking.items:
        words = random.choice(("tight", "symbols", "words", "mixed"))
        expression = _grow(random, draw(random), words, below)
        if expression is not None and held_out(expression.canonical):
            text = random.choice(QUESTIONS).format(expression.text)
            found.setdefault(text, expression)
    return [_worded(asking.tokenizer, text, e.canonical, format_value(float(e.value))) for text, e in found.items()]


def _grow(random: Random, numbers: Sequence[int], words: str, below: int) -> Expression | None:
    """A random tree over the numbers in their order, None if a value in it cannot be printed exactly."""
    if len(numbers) == 1:
        return Expression(str(numbers[0]), str(numbers[0]), Fraction(numbers[0]))
    symbol, cut = random.choices("+-*/", OPERATOR_SHARES)[0], random.randrange(1, len(numbers))
    if symbol == "/" and below and len(numbers) == 2:
        numbers = [numbers[1] * random.randint(1, (below - 1) // numbers[1]), numbers[1]]
    left, right = _grow(random, numbers[:cut], words, below), _grow(random, numbers[cut:], words, below)
    if left is None or right is None:
        return None
    value = exact_step(OPERATIONS["+-*/".index(symbol)], left.value, right.value)
    if value is None or not _exact_in_float64(value):
        return None
    level = 1 if symbol in "+-" else 2
    worded = words == "words" or (words == "mixed" and random.random() < 0.5)
    gap = "" if words == "tight" else " "
    first = f"({left.text})" if left.level < level else left.text
    second = f"({right.text})" if right.level <= level else right.text
    text = f"{first}{gap}{WORDINGS[symbol][worded]}{gap}{second}"
    return Expression(text, f"({left.canonical}{symbol}{right.canonical})", value, level)


def _exact_in_float64(value: Fraction) -> bool:
    """True for whole numbers within 2^53, and for numbers of four decimals at most that float64 tells apart with room to spare."""
    return abs(value) < 2**53 if value.denominator == 1 else abs(value) < 10**9 and (value * 10**4).denominator == 1


def _worded(tokenizer, text: str, expression: str, expected: str, *, given: Sequence[float] = (), by_value: bool = False) -> Question:
    """A question to the assistant. `expression`: where the right numbers stand; `given`: values that need not be read."""
    needed = {Fraction(numeral) for numeral in _NUMERAL.findall(expression)} - {Fraction(repr(value)) for value in given}
    prompt = render_prompt(tokenizer, {"messages": [{"role": "user", "content": text}]})
    return Question(prompt, expected, lambda numbers: needed <= set(numbers.values()), by_value)


# ---------------------------------------------------------------------------------------------------------------------
# Suites of word problems

Draw = Callable[[corpus.Random], Problem]
HELD_OUT = tuple(problem for problem in WRITTEN if problem.held_out)


def templates(asking: Asking) -> Cells:
    """Unseen numbers in templates that training knows, in those that compose known sentences anew, and in those of unknown sentences."""
    return {
        "trained_templates": _problems(asking, "trained", draw_problem),
        "new_combinations": _problems(asking, "combinations", _held_out_combination),
        "new_sentences": _problems(asking, "sentences", lambda random: choose(random, HELD_OUT)),
    }


def _held_out_combination(random: corpus.Random) -> Problem:
    while not (problem := draw_problem(random, held_out=True)).key:
        pass
    return problem


def distractors(asking: Asking) -> Cells:
    """Trained templates with and without a number that has nothing to do with the question."""
    return {
        f"{name}_distractor": _problems(asking, f"distracted {wanted}", draw_problem, wanted)
        for name, wanted in (("without", False), ("with", True))
    }


def _problems(asking: Asking, name: str, draw: Draw, distracted: bool | None = None) -> list[Question]:
    """Different word problems; `distracted`: only those with a distractor, or only those without."""
    random, found = corpus.stream("test", asking.seed, f"word problems {name}"), {}
    while len(found) < asking.items:
        made = word_problem(random, draw, lambda canonical: corpus.problem_split(canonical) == "test")
        if distracted in (None, made["distracted"]):
            found.setdefault(made["messages"][0]["content"], (made["canonical"], made["messages"][1]["content"]))
    # Some numbers stand in the text as words, others (days of a week) do not stand there at all.
    given = (*CONSTANTS, *SOME_WORDS.values())
    return [_worded(asking.tokenizer, text, *rest, given=given) for text, rest in found.items()]


# ---------------------------------------------------------------------------------------------------------------------
# Suites from files


def _annotations(row: dict) -> str:
    """The expressions of GSM8K's annotations without the results of earlier ones."""
    found, results = re.findall(r"<<([^=<>]*)=([^<>]*)>>", row["answer"]), set()
    needed = []
    for expression, result in found:
        needed += [numeral for numeral in _NUMERAL.findall(expression) if Fraction(numeral) not in results]
        results |= {Fraction(numeral) for numeral in _NUMERAL.findall(result)}
    return " ".join(needed)


# name -> the part of a row in which the numbers of the right expression stand
REAL: dict[str, Callable[[dict], str]] = {
    "gsm8k": _annotations,
    "svamp": lambda row: str(row.get("Equation", "")),
    "asdiv": lambda row: row.get("Formula", "").partition("=")[0],
    "mawps": lambda row: str(row.get("equation", "")).rpartition("=")[2],
    "bigbench_arithmetic": lambda row: str(row.get("input", row.get("inputs"))),
}


def real_task(name: str) -> type[Task]:
    return TASKS[name].type()


def real_split(name: str, data_dir: Path | str) -> str | None:
    """The split of a real data set that is measured: the test split or, where its file is missing, the validation split; else None."""
    return next((split for split in ("test", "val") if real_task(name).present(data_dir, split)), None)


def _real(name: str) -> Callable[[Asking], Cells]:
    def cells(asking: Asking) -> Cells:
        split = real_split(name, asking.data_dir)
        if split is None:
            return {}
        task, questions = real_task(name)(asking.data_dir, split), []
        for i in sample_indices(len(task), asking.items, asking.seed):
            conversation, gold = task[i], last_number(answer_text(task[i]))
            expected = format_value(float(gold)) if gold is not None else None
            if expected is not None:
                text = conversation["messages"][0]["content"]
                expression = REAL[name](task.items[i]).replace(",", "")
                questions.append(_worded(asking.tokenizer, text, expression, expected, given=CONSTANTS, by_value=True))
        return {name: questions}

    return cells


SUITES: dict[str, Callable[[Asking], Cells]] = {
    "operations": operations,
    "digits": digits,
    "repeated": repeated,
    "styles": styles,
    "chains": chains,
    "in_words": in_words,
    "rounding": rounding,
    "templates": templates,
    "distractors": distractors,
    **{name: _real(name) for name in REAL},
}
