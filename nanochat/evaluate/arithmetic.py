"""The answering of arithmetic questions, and where an answer went wrong.

    respondent = Respondent(model, tokenizer)
    result = ask(respondent, questions)          # result.said, result.right, result.causes

An answer goes wrong in one of four ways:

    reading    the plan is wrong, and a number of the right expression was not among the numbers read
    plan       the plan is wrong though all of them were read: worked out in exact fractions it is not the answer
    execution  the plan is right in exact fractions, but float64 prints another number
    emission   the tower's result is right, but something else was written: the gate was closed, the number was left or rounded
               otherwise; or there rightly is no result, but the words for that were others
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import median
from time import perf_counter

import torch

from nanochat.dag.executor import CONSTANTS, IDENTITY, OPERATIONS
from nanochat.dag.numbers import PRINTED_DECIMALS, format_value, printed_scale
from nanochat.dag.trace import exact_step
from nanochat.evaluate.batches import inference, pad_right
from nanochat.evaluate.chat import wilson
from nanochat.infer.text import TOOL_SPANS
from tasks.answers import last_number

CAUSES = ("reading", "plan", "execution", "emission")
Numbers = dict[int, Fraction]  # position of a number's last token -> its exact value


@dataclass(frozen=True)
class Question:
    """`prompt`: tokens after which the answer begins. `readable` says whether the numbers that were read contain those of the right
    expression; None where no expression is known. `by_value`: any text that ends in the same number is right. `sentences`: the answer is
    one of these, since no number can be printed; a tower alone is right if it has none. `decimals`: to how many the answer is rounded;
    a tower alone is right if its value is, rounded to so many."""

    prompt: list[int]
    expected: str
    readable: Callable[[Numbers], bool] | None = None
    by_value: bool = False
    sentences: tuple[str, ...] = ()
    decimals: int = PRINTED_DECIMALS

    def is_right(self, said: str) -> bool:
        if not self.by_value:
            return said == self.expected or said in self.sentences
        number = last_number(said)
        return number is not None and prints(number, self.expected)


def prints(exact: Fraction, expected: str, rounded: int = PRINTED_DECIMALS) -> bool:
    """True if `exact`, `rounded` to so many decimals, is printed as `expected`. Periodic numbers of real data are cut at fewer decimals
    than ours: at least four."""
    value, decimals = Fraction(expected), len(expected.partition(".")[2])
    if rounded < PRINTED_DECIMALS:
        return round(exact, rounded) == value
    return round(exact, decimals if decimals >= 4 else printed_scale(float(value))) == value


def labelled_result(labels, answer: int, numbers: Numbers, steps: int) -> Fraction | None:
    """The exact result at token `answer` of labels (operation, operand1, operand2: (T, D) of one example, references in the executor's
    form) on the numbers that were read; None if one of them is missing."""
    operation, *operands = labels

    def value(reference: int) -> Fraction | None:
        if reference < 0:
            return Fraction(repr(CONSTANTS[-1 - reference])) if -reference <= len(CONSTANTS) else None
        token, part = divmod(reference, steps + 1)
        return numbers.get(token) if part == 0 else result(token, part - 1)

    def result(token: int, step: int) -> Fraction | None:
        x, y = (value(int(o[token, step])) for o in operands)
        return exact_step(OPERATIONS[operation[token, step]], x, y) if operation[token, step] >= 0 else None

    reduced = [s for s in range(steps) if 0 <= operation[answer, s] != IDENTITY]
    return result(answer, reduced[-1] if reduced else 0)


@dataclass(frozen=True)
class Answer:
    """What was printed, how many tokens were said for it (calls of the calculator and their outputs too), and the milliseconds that it
    took: those of its batch, divided by the answers in it."""

    text: str
    tokens: int = 0
    milliseconds: float = 0.0


class Respondent:
    """A model that answers: the tower (or another variant of dag_train) alone with the value it plans, a chat model with what it writes,
    greedily."""

    def __init__(self, model, tokenizer, batch: int = 256, max_tokens: int = 24):
        self.model, self.tokenizer, self.batch, self.max_tokens = model, tokenizer, batch, max_tokens
        self.alone = hasattr(model, "answers")
        self.engine, self.tower = None, getattr(model, "tower", None)
        if not self.alone:
            from nanochat.infer.engine import Engine

            self.engine, self.tower = Engine(model, tokenizer), model.branch.tower if model.branch is not None else None

    def answers(self, prompts: Sequence[list[int]]) -> list[Answer]:
        """What is printed after each prompt, "" for nothing. Calls of the calculator are answered and not part of it."""
        return [answer for start in range(0, len(prompts), self.batch) for answer in self._answer(prompts[start : start + self.batch])]

    def _answer(self, prompts: Sequence[list[int]]) -> list[Answer]:
        begun = perf_counter()
        if self.alone:
            texts = [format_value(value) or "" for value in self.model.answers(*self._tensors(prompts))]
            lengths = [len(text) for text in texts]  # a character of a number is a token
        else:
            said = self.engine.generate(prompts, max_tokens=self.max_tokens)
            texts, lengths = [self.tokenizer.decode(self._outside_calls(ids)).strip() for ids in said], [len(ids) for ids in said]
        each = 1000 * (perf_counter() - begun) / len(prompts)
        return [Answer(text, n, each) for text, n in zip(texts, lengths, strict=True)]

    def _outside_calls(self, ids: list[int]) -> list[int]:
        """The tokens outside of tool calls and their outputs; a call that never ends hides the rest."""
        spans, until, kept = {self.tokenizer.special(a): self.tokenizer.special(b) for a, b in TOOL_SPANS.items()}, None, []
        for token in ids:
            if until is None and token not in spans:
                kept.append(token)
            until = (None if token == until else until) if until is not None else spans.get(token)
        return kept

    def causes(self, wrong: Sequence[Question]) -> list[str]:
        """For each wrongly answered question one of CAUSES; only for a model with a tower."""
        return [cause for start in range(0, len(wrong), self.batch) for cause in self._causes(wrong[start : start + self.batch])]

    def _causes(self, wrong: Sequence[Question]) -> list[str]:
        fitted = [q.prompt if self.alone else self.engine.fit(q.prompt, self.max_tokens) for q in wrong]
        idx, lengths = self._tensors(fitted)
        with inference(self.model):
            if self.alone:
                output = self.model(idx, lengths=lengths)
            else:  # with targets no logits of vocabulary size are made
                output = self.model(idx, targets=torch.full_like(idx, -1)).side["output"]
        return [
            cause_of(question, Row(output, i, length)) for i, (question, length) in enumerate(zip(wrong, lengths.tolist(), strict=True))
        ]

    def _tensors(self, prompts: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        device = next(self.model.parameters()).device
        return pad_right(prompts, self.tokenizer.bos_id, device), torch.tensor([len(p) for p in prompts], device=device)


def cause_of(question: Question, row: "Row") -> str:
    """Why a wrong answer is wrong, see the module's text. Without a known expression every wrong plan counts as `plan`."""
    printed, exact = format_value(row.result, question.decimals), row.exact_result
    if printed is not None and (prints(Fraction(printed), question.expected) if question.by_value else printed == question.expected):
        return "emission"
    if printed is None and question.sentences:
        return "emission"
    if exact is not None and _is_number(question.expected) and prints(exact, question.expected, question.decimals):
        return "execution"
    return "plan" if question.readable is None or question.readable(row.numbers) else "reading"


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?(\d+\.?\d*|\.\d+)", text) is not None


class Row:
    """One row of a TowerOutput, `length` tokens long: the `numbers` read in it, the `result` at its last token as float64 (NaN if there
    is none), and `exact_result`, the same plan in exact fractions (None if there is none)."""

    def __init__(self, output, row: int, length: int):
        plan, reading = output.plan, output.reading
        ends = (reading.number & ~reading.absorbed)[row, :length].nonzero().flatten().tolist()
        self.numbers = {at: exact for at in ends if (exact := _exact(float(reading.value[row, at]))) is not None}
        self.operation, self.operands = plan.operation[row].tolist(), (plan.operand1[row].tolist(), plan.operand2[row].tolist())  # (A, D)
        self.slots, self.depth = plan.slot_values[row].tolist(), plan.operation.shape[-1]
        self.first_result = len(self.slots) - plan.operation.shape[1] * self.depth  # before it constants and numbers
        self.known: dict[int, Fraction | None] = {}
        anchor = int(output.of_token[row, length - 1])
        self.result = float(plan.result[row, anchor]) if anchor >= 0 else float("nan")
        self.exact_result = self._at(self.first_result + anchor * self.depth + self._last_step(anchor)) if anchor >= 0 else None

    def _last_step(self, anchor: int) -> int:
        """The step that gives a token's result: the last one before an identity, or the first."""
        steps = self.operation[anchor]
        return max(0, (steps.index(IDENTITY) if IDENTITY in steps else self.depth) - 1)

    def _at(self, slot: int) -> Fraction | None:
        if slot < self.first_result:
            return _exact(self.slots[slot])
        if slot not in self.known:
            self.known[slot] = None  # what a step that depends on itself would find
            anchor, step = divmod(slot - self.first_result, self.depth)
            x, y = (self._at(operand[anchor][step]) for operand in self.operands)
            self.known[slot] = exact_step(OPERATIONS[self.operation[anchor][step]], x, y)
        return self.known[slot]


def _exact(value: float) -> Fraction | None:
    """The number as it was written: the shortest decimal that float64 reads as `value`."""
    return Fraction(repr(value)) if abs(value) < float("inf") else None


@dataclass(frozen=True)
class Result:
    """Of one cell: what was said, whether it was right, and the cause of each error (None: it was right, or there is no tower)."""

    questions: list[Question]
    answers: list[Answer]
    right: list[bool]
    causes: list[str | None]

    @property
    def said(self) -> list[str]:
        return [answer.text for answer in self.answers]

    @property
    def figures(self) -> dict[str, float]:
        """exact_match, n, low, high (95 %, Wilson), right, the number of errors of each cause, and the median tokens and milliseconds of
        an answer."""
        n, right = len(self.right), sum(self.right)
        low, high = wilson(right, n)
        counts = {cause: self.causes.count(cause) for cause in CAUSES}
        costs = {"tokens_per_answer": median(a.tokens for a in self.answers), "ms_per_answer": median(a.milliseconds for a in self.answers)}
        return {"exact_match": right / n, "n": n, "low": low, "high": high, "right": right, **counts, **costs}


def _alone_is_right(question: Question, said: str) -> bool:
    """Whether what a tower alone has to say is right: it has no words, and does not see to how many decimals it should round."""
    if question.sentences:
        return not said
    rounds = said and question.decimals < PRINTED_DECIMALS
    return question.is_right(format_value(float(said), question.decimals) if rounds else said)


def ask(respondent: Respondent, questions: list[Question]) -> Result:
    """Asks all questions and looks for the cause of each wrong answer."""
    answers = respondent.answers([q.prompt for q in questions])
    right = [_alone_is_right(q, a.text) if respondent.alone else q.is_right(a.text) for q, a in zip(questions, answers, strict=True)]
    wrong = [] if respondent.tower is None else [q for q, r in zip(questions, right, strict=True) if not r]
    causes = iter(respondent.causes(wrong))
    return Result(questions, answers, right, [None if r or not wrong else next(causes) for r in right])
