"""Word problems: templates with the arithmetic behind them, so that question, plan and answer cannot disagree.

    Problem("<A> has {a} <t>. <B> gives <A.him> {b} more.", "how many <t> does <A> have now?", "(a+b)")

`{a}` is a number of one to three digits, `{a~}` a small one (2 to 12), `{a$}` one that may have decimals, like a price, `{a%}` a
percentage, `{a@}` an age, `{a=half}` a word that is a number. The formula is written with full brackets (square ones: see
`problem_grammar`), numbers that the text does not name as digits (a week has `7` days); filled in it is the canonical expression that
decides the split (`split.py`). A plan counts the numbers of the text in reading order, whatever the order of the letters in the formula;
no other word of a problem is a numeral.

Most templates are composed (`problem_grammar.py`), some are written one by one (`problem_templates.py`).
"""

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nanochat.data.corpus_grammar import Random, choose, fill, polish
from nanochat.data.corpus_world import COLORS, DAYS, PLACES
from nanochat.data.problem_asides import DISTRACTIONS, REMARKS
from nanochat.data.problem_grammar import compose
from nanochat.data.problem_nouns import (
    BOXES,
    DISTANCES,
    LENGTHS,
    PLACES_OF_STORIES,
    SINGLE,
    THINGS,
    UNITS_OF_MONEY,
    WEIGHTS,
    WHO,
    people,
)
from nanochat.data.problem_story import SOME_WORDS, Problem
from nanochat.data.problem_templates import WRITTEN
from nanochat.data.problem_words import WHEN

OPERATIONS = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide"}
LARGEST = 1_000_000
DISTRACTED = 0.15  # share of the problems with a number that has nothing to do with the question
WRITTEN_SHARE = 0.2
JOINED = 0.25  # share of the sentences that are joined to the one before by `and`
IN_QUESTION = 0.25  # share of the questions that take in the last event, where they can
QUESTION_FIRST = 0.06
CONJUNCTIONS = (", and", " and")
SAME_SUBJECT = (*CONJUNCTIONS, ", then", " and then", " but")
THEN = (*CONJUNCTIONS, ", but", ", and then", ", then", " and then", ";")
REMARKED = 0.1  # share of the problems with a sentence that has no number
TRIES = 2_000
PERCENTAGES = (5, 10, 20, 25, 30, 40, 50, 60, 75, 80, 90)

HOLE = re.compile(r"\{(\w)([~$%@]?|=[^}]*)\}")
DOLLARS = re.compile(r"(\{\w[~$]?\}) dollars\b")


@dataclass(frozen=True)
class Wording:
    """A template with its words chosen and its numbers open: `text` with holes, `kinds` letter -> mark of the hole in reading order."""

    text: str
    kinds: dict[str, str]
    formula: str

    @property
    def in_hundredths(self) -> bool:
        """Numbers may have two decimals: nothing is counted, money is."""
        return "$" in self.kinds.values()

    @property
    def canonical(self) -> str:
        """The formula in round brackets, with letters for the numbers."""
        return self.formula.replace("[", "(").replace("]", ")")

    @property
    def steps(self) -> tuple[tuple[str, str, str], ...]:
        return steps(self.formula)

    @property
    def settled_by(self) -> list[int]:
        """For every step the last number it takes, directly or through other steps, counted in reading order; -1 if only the question
        settles it or one of them, or names that number."""
        order = {letter: i for i, letter in enumerate(self.kinds)}
        told = {letter for letter, _ in HOLE.findall(self.text[: self.text.rfind(". ") + 1])}
        last: list[int] = []
        for (_, *operands), square in zip(self.steps, settled(self.formula), strict=True):
            numbers = [last[int(o[1:])] if o.startswith("s") else order[o] if o in told else -1 for o in operands if not o.isdigit()]
            last.append(max(numbers) if square and min(numbers) >= 0 else -1)
        return last


@functools.cache
def steps(formula: str) -> tuple[tuple[str, str, str], ...]:
    """The formula as steps (operator, operand, operand); an operand is a letter, digits, or "s" and the number of an earlier step."""
    return tuple(step for step, _ in _parsed(formula))


@functools.cache
def settled(formula: str) -> tuple[bool, ...]:
    """Of each step, whether it stands in square brackets: its sentence settles it."""
    return tuple(square for _, square in _parsed(formula))


def _parsed(formula: str) -> list[tuple[tuple[str, str, str], bool]]:
    found: list[tuple[tuple[str, str, str], bool]] = []
    while True:
        simpler, n = re.subn(
            r"[(\[]([a-z]|\d+|s\d+)([-+*/])([a-z]|\d+|s\d+)[)\]]",
            lambda m: found.append(((m[2], m[1], m[3]), m[0][0] == "[")) or f"s{len(found) - 1}",
            formula,
            count=1,
        )
        if not n:
            assert re.fullmatch(r"s\d+", simpler), f"the formula {formula!r} is not fully bracketed"
            return found
        formula = simpler


def printed(hundredths: int) -> str:
    """A number of hundredths in digits: 700 as `7`, 250 as `2.5`."""
    sign, whole, rest = "-" if hundredths < 0 else "", abs(hundredths) // 100, abs(hundredths) % 100
    return f"{sign}{whole}.{rest:02d}".rstrip("0").rstrip(".")


def execute(plan: tuple[tuple[str, str, str], ...], numbers: dict[str, int]) -> list[int]:
    """The result of every step, numbers and results in hundredths; cut short before one that is not a whole number of them."""
    known, results = dict(numbers), []
    for i, (operator, left, right) in enumerate(plan):
        x, y = (known[o] if o in known else 100 * int(o) for o in (left, right))
        top, bottom = {"+": (x + y, 1), "-": (x - y, 1), "*": (x * y, 100), "/": (x * 100, y)}[operator]
        if bottom == 0 or top % bottom:
            break
        results.append(top // bottom)
        known[f"s{i}"] = results[-1]
    return results


def _draw(random: Random, mark: str) -> int:
    """A number in hundredths, as a template's mark asks for; small ones are as frequent as large ones."""
    if mark.startswith("="):
        return round(100 * SOME_WORDS[mark[1:]])
    if mark == "~":
        return 100 * (2 + int(random() * 11))
    if mark == "@":
        return 100 * (4 + int(random() * 70))
    if mark == "%":
        return 100 * choose(random, PERCENTAGES)
    least = (1, 10, 100)[int(random() * 3)]
    whole = 100 * max(2, int(least + random() * 9 * least))
    if mark == "$" and random() < 0.6:
        return whole + choose(random, (50, 50, 25, 75, 10 * (1 + int(random() * 9))))
    return whole


def numbers_for(random: Random, wording: Wording, accept: Callable[[str], bool]) -> tuple[dict[str, str], str, str] | None:
    """Numbers that make sense in a problem and whose canonical expression is accepted: (letter -> printed, canonical, printed result).

    Every result is positive and below LARGEST; where things are counted all are whole numbers, elsewhere they have two decimals at most.
    None after TRIES: of a few small numbers hardly any may lie on one side of the split.
    """
    plan, unit = wording.steps, 1 if wording.in_hundredths else 100
    for _ in range(TRIES):
        values = {letter: _draw(random, mark) for letter, mark in wording.kinds.items()}
        _make_even(random, wording, values)
        results = execute(plan, values)
        if max(values.values()) >= 1000 * 100 or len(results) < len(plan) or any(not 0 < r < LARGEST * 100 or r % unit for r in results):
            continue
        shown = {letter: printed(value) for letter, value in values.items()}
        canonical = "".join(shown.get(c, c) for c in wording.canonical)
        if accept(canonical):
            return shown, canonical, printed(results[-1])
    return None


def _make_even(random: Random, wording: Wording, values: dict[str, int]) -> None:
    """Changes numbers such that most divisions and percentages come out even."""
    operator, dividend, divisor = wording.steps[0]
    if operator == "/" and dividend in values and divisor in values and random() < 0.8:
        values[dividend] = values[dividend] * values[divisor] // 100
    if "%" in wording.kinds.values() or "=half" in wording.kinds.values():
        for letter, mark in wording.kinds.items():
            if mark in ("", "$", "@"):
                values[letter] = 2000 * (1 + values[letter] // 2000)


def _two(random: Random, options: Sequence) -> tuple:
    """Two different ones of `options`; twice as fast as `sample`."""
    size = len(options)
    first, step = int(random() * size), 1 + int(random() * (size - 1))
    return options[first], options[(first + step) % size]


def _slots(random: Random) -> dict[str, str]:
    (single, single2), (color, color2), (things, others) = _two(random, SINGLE), _two(random, COLORS), _two(random, THINGS)
    return {
        **people(random),
        **choose(random, BOXES),
        **choose(random, PLACES_OF_STORIES),
        **things,
        "t2": others["t"],
        "s": single,
        "s2": single2,
        "c": color,
        "c2": color2,
        "u": choose(random, UNITS_OF_MONEY),
        "who": choose(random, WHO),
        "m": choose(random, LENGTHS),
        "km": choose(random, DISTANCES),
        "lb": choose(random, WEIGHTS),
        "day": choose(random, DAYS),
        "L": choose(random, PLACES).name,
    }


def draw_problem(random: Random, held_out: bool | None = False) -> Problem:
    """A template: `held_out` None for any, else one that may be trained on (False) or may not (True)."""
    while True:
        problem = choose(random, WRITTEN) if random() < WRITTEN_SHARE else compose(random)
        if held_out is None or problem.held_out == held_out:
            return problem


def wording(random: Random, problem: Problem) -> Wording:
    """The template with its words chosen, sometimes with a number more than it takes.

    Composed problems also change their form: the last sentence may become part of the question ("If she eats 3 of them, how many are
    left?"), the question may come first, and a sentence without a number may stand between.
    """
    slots, lines, composed = _slots(random), problem.told.split("\n"), bool(problem.key)
    asks = composed and random() < IN_QUESTION and len(lines) > 1 and lines[-1].startswith(WHEN) and problem.asked.startswith("how")
    event = lines.pop()[len(WHEN) : -1] if asks else ""
    told = _told(random, lines, slots)
    asked = fill(problem.asked, random, _known(slots, told, problem.asked))
    if event:
        asked = _conditional(random, asked, fill(event, random, _known(slots, told, event)))
    if random() < DISTRACTED:
        told = _distracted(random, told, asked, slots)
    if composed and random() < REMARKED:
        remark = choose(random, REMARKS)
        told = _with(random, told, fill(remark, random, _known(slots, told, remark)), first=slots["A"] in told)
    first = composed and random() < QUESTION_FIRST and slots["A"] in asked and "{" not in asked and asked.endswith("?")
    text = polish(f"{asked} {told}" if first else f"{told} {asked}")
    if slots["u"] == "dollars" and random() < 0.6:
        text = DOLLARS.sub(r"$\1", text)
    return Wording(text, dict(HOLE.findall(text)), problem.formula)


def _known(slots: dict[str, str], told: str, template: str) -> dict[str, str]:
    """Slots for a sentence behind `told`: if <A> was not named there, the name stands for the pronouns."""
    name = slots["A"]
    if "<A." not in template or name in told:
        return slots
    return {**slots, "A.he": name, "A.him": name, "A.his": f"{name}'s"}


def _conditional(random: Random, asked: str, event: str) -> str:
    """The question with the last event in it, before or behind."""
    if random() < 0.6:
        return f"{choose(random, ('if', 'if', 'after', 'when'))} {event}, {asked}"
    return f"{asked[:-1]} {choose(random, ('if', 'if', 'after', 'when', 'once'))} {event}?"


def _distracted(random: Random, told: str, asked: str, slots: dict[str, str]) -> str:
    sentence, word = choose(random, DISTRACTIONS)
    extra, word = fill(sentence, random, slots), fill(word, random, slots)
    if word in told + asked or ("<A" in sentence and slots["A"] not in told):
        return told
    return _with(random, told, extra, first=not ("<A.his>" in sentence or " also " in sentence))


def _told(random: Random, sentences: list[str], slots: dict[str, str]) -> str:
    """The sentences filled, some two of them joined. One by one, since each is compiled only once."""
    text, joined, before = fill(sentences[0], random, slots), False, sentences[0]
    for sentence in sentences[1:]:
        known = _known(slots, text, sentence)
        longer = ""
        if not joined and text.endswith(".") and random() < JOINED:
            longer = _joined(random, text[:-1], before, sentence, known)
        text, before, joined = longer or f"{text} {fill(sentence, random, known)}", sentence, joined or bool(longer)
    return text


def _joined(random: Random, text: str, before: str, sentence: str, slots: dict[str, str]) -> str:
    """`text` and `sentence` as one sentence, the second without its subject if that is the same; "" if they do not go together."""
    event, sentence = sentence.startswith(WHEN), sentence.removeprefix(WHEN)
    if sentence.startswith("<A.he> ") and before.startswith("<A> ") and "<B>" not in before and random() < 0.6:
        return f"{text}{choose(random, SAME_SUBJECT if event else CONJUNCTIONS)} {fill(sentence[len('<A.he> ') :], random, slots)}"
    if sentence.startswith(("<A.he>", "<A>", "<B>", "{")):
        return f"{text}{choose(random, THEN if event else CONJUNCTIONS)} {fill(sentence, random, slots)}"
    return ""


def _with(random: Random, told: str, extra: str, first: bool) -> str:
    """`told` with the sentence `extra` in front, behind its first sentence, or at the end."""
    place = random()
    if place < 0.35 and first:
        return f"{extra} {told}"
    begin, stop, rest = told.partition(". ")
    return f"{begin}. {extra} {rest}" if place < 0.6 and stop and not rest.startswith(("before", "at first")) else f"{told} {extra}"


def written_out(wording: Wording, shown: dict[str, str]) -> str:
    """The text with its numbers, words that are numbers capital where a sentence begins."""

    def number(match: re.Match) -> str:
        if not match[2].startswith("="):
            return shown[match[1]]
        before = wording.text[: match.start()]
        return match[2][1:].capitalize() if not before or before.endswith((". ", "? ")) else match[2][1:]

    return HOLE.sub(number, wording.text)


def word_problem(random: Random, draw: Callable[[Random], Problem], accept: Callable[[str], bool]) -> dict:
    """A conversation of a problem from a template that `draw` gives and its bare answer, with its plan.

    Also its `canonical` expression, its `template`, whether that is `held_out`, and whether the problem is `distracted` by a number.
    """
    found = None
    while found is None:
        problem = draw(random)
        words = wording(random, problem)
        found = numbers_for(random, words, accept)
    shown, canonical, answer = found
    order = {letter: i for i, letter in enumerate(words.kinds)}

    def operand(o: str) -> int | str:
        return order[o] if o in order else f"c{o}" if o.isdigit() else o

    steps = zip(words.steps, words.settled_by, strict=True)
    plan = [[OPERATIONS[operator], *map(operand, operands), *([at] if at >= 0 else [])] for (operator, *operands), at in steps]
    messages = [{"role": "user", "content": written_out(words, shown)}, {"role": "assistant", "content": answer, "plan": plan}]
    about = {"template": problem.key or problem.told, "held_out": problem.held_out, "distracted": "x" in words.kinds}
    return {"messages": messages, "canonical": canonical, **about}
