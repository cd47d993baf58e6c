"""Exact match of printed answers to arithmetic, on expressions that training could not have seen, or on a file of your own.

    python -m scripts.dag_eval --source=dag                 # the tower alone, as dag_train left it; --model_tag=soft: another variant
    python -m scripts.dag_eval --source=sft --items=10000   # the chat model: what it writes must be the number and nothing else
    python -m scripts.dag_eval --source=sft --suites=operations,digits,repeated,templates,gate --operations=10
    python -m scripts.dag_eval --source=mid --suite=my_questions.jsonl

--suites chooses among

    operations     1 to --operations operations, a cell each; what is measured without --suites
    digits         numbers of exactly 1 to 7 digits
    repeated       the same number two, three or four times
    styles         each way of writing: symbols, English, LaTeX, ...
    chains         2 to 20 calculating statements that build on each other
    in_words       divisions by zero and results too large to print: right is a sentence that says so; of the tower alone, no number
    rounding       questions for a rounded number, by decimals, and numbers of many decimals as they are; the tower alone is right if
                   its value is, since the model beside it chooses the decimals
    templates      word problems with unseen numbers: sentences that training knows, and others
    distractors    word problems without and with a number that does not matter
    gsm8k, svamp, asdiv, mawps, bigbench_arithmetic
                   test files under --data_dir (of MAWPS the validation file if there is no test file); right is the same number,
                   written last. What is not there is named and left out
    gate           how often the model wants to print a computed number in ordinary text, per 1,000 tokens; not for --source=dag

--suite=FILE has one JSON object a line: {"question": "What is 3 plus 4?", "answer": "7"}. Answers are compared as text.

The last line on stdout is a JSON object with `exact_match`, `n` and `cells`: for each cell its exact match, n, 95 % interval (low,
high), the median tokens and milliseconds of an answer (`tokens_per_answer`, `ms_per_answer`: of a batch, divided by its answers; with
--batch=1 what one person waits), and the number of errors in reading, plan, execution and emission
(nanochat/evaluate/arithmetic.py says what they mean; not for a model without the tower). Of a model that calls the calculator
what counts is what it prints after the calculator's output. `exact_match` and `n` are over the cells of `operations` if they
were measured, else over all. Every wrong answer stands in wrong.jsonl in the stage's folder, with its cause. The folder of a
suite named on the command line is stages/dag_eval.<model>.<suite>/, of several stages/dag_eval.<model>.suites/, so that they do
not replace what a profile measured.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nanochat import common
from nanochat.common import Interrupted, UserError
from nanochat.config import StageConfig, at_least, nearest, option
from nanochat.dag.expressions import MOST_DIGITS, MOST_OPERATIONS
from nanochat.data import corpus
from nanochat.data.conversations import render_prompt
from nanochat.evaluate.arguments import option_value
from nanochat.evaluate.arguments import spell_out as spell_out_source
from nanochat.evaluate.arithmetic import CAUSES, Question, Respondent, ask
from nanochat.evaluate.chat import wilson
from nanochat.evaluate.ordinary_text import SENTENCES, false_positives
from nanochat.evaluate.suites import REAL, SUITES, Asking, real_split, real_task
from nanochat.pipeline.ledger import read_status
from nanochat.pipeline.stage import Input, Run, Stage, execute
from nanochat.train import checkpoint

DEFAULT_SOURCE = "dag"
NAMES = (*SUITES, "gate")
LONGEST = {"answer": 24, "tool": 160}  # tokens of an answer; in words, in a number, or with an expression of 20 operations before it


@dataclass
class Config(StageConfig):
    source: str = option(DEFAULT_SOURCE, "which model; -i is short for it", choices=("dag", "mid", "sft", "rl"))
    model_tag: str = option("", "tag of the training run, for example plain; default: the one without")
    suites: list[str] = option([], "what to measure, see above; default: operations, or with --suite only that")
    suite: str = option("", "JSONL file of {question, answer}")
    items: int = option(10_000, "questions per cell", unit="questions")
    operations: int = option(6, "largest number of operations", unit="operations")
    max_digits: int = option(4, "longest integer", unit="digits")
    batch: int = option(256, "questions answered at once", unit="questions")
    max_tokens: int = option(0, "longest answer; 0: 24, or 160 of a model that has learnt to call the calculator", unit="tokens")


def check(config: Config) -> None:
    at_least(config, 1, "items", "operations", "max_digits", "batch")
    at_least(config, 0, "max_tokens")
    if config.max_digits > MOST_DIGITS or config.operations > MOST_OPERATIONS:
        raise UserError(f"expressions have at most --max_digits={MOST_DIGITS} and --operations={MOST_OPERATIONS}")
    for name in config.suites:
        if name not in NAMES:
            raise UserError(f"there is no suite '{name}'{nearest(name, NAMES)}; suites: {', '.join(NAMES)}")


def inputs(config: Config) -> list[Input]:
    data = common.data_dir(config.data_dir)
    splits = {name: real_split(name, data) for name in config.suites if name in REAL}
    opened = [path for name, split in splits.items() if split for path in real_task(name).opens(data, split)]
    suite = [Input(Path(config.suite).expanduser(), "give a JSONL file that exists with --suite", own=True)] if config.suite else []
    return [checkpoint.as_input(config.source, config.model_tag), *suite, *(Input(path, "fetch it again") for path in opened)]


def work(config: Config, run: Run) -> str:
    model, tokenizer, meta = checkpoint.load_model(config.source, config.model_tag, device=run.compute.device)
    respondent = Respondent(model, tokenizer, config.batch, config.max_tokens or LONGEST[meta.get("arithmetic_as", "answer")])
    cells, overall, wrong = {}, [], []
    for suite, cell, questions in _questions(config, run, tokenizer):
        if run.stop_requested():
            raise Interrupted("stopped between two cells; the same command starts them again")
        result = ask(respondent, questions)
        cells[cell] = result.figures if respondent.tower is not None else {k: v for k, v in result.figures.items() if k not in CAUSES}
        overall += [cell] if suite == "operations" else []
        wrong += [
            {"cell": cell, "question": _plain(tokenizer, q.prompt), "answer": q.expected, "said": s, **({"cause": c} if c else {})}
            for q, s, r, c in zip(questions, result.said, result.right, result.causes, strict=True)
            if not r
        ]
        run.say(f"{cell}: {_in_words(cells[cell])}")
    gate, fired = _gate(run, model, tokenizer, config.seed) if "gate" in config.suites else ({}, [])
    if not cells and not gate:
        raise UserError(f"none of the suites {', '.join(config.suites)} is there to measure")
    return _conclude(run, cells, overall or list(cells), gate, wrong + fired)


def _questions(config: Config, run: Run, tokenizer) -> Iterator[tuple[str, str, list[Question]]]:
    """(suite, cell, questions), one cell after the other."""
    if config.suite:
        path = Path(config.suite).expanduser()
        yield "file", path.stem, _read_suite(path, tokenizer)
    data = common.data_dir(config.data_dir)
    asking = Asking(tokenizer, config.items, config.seed, config.operations, config.max_digits, data)
    for name in config.suites or ([] if config.suite else ["operations"]):
        cells = SUITES[name](asking) if name != "gate" else {}
        if not cells and name != "gate":
            run.say(f"{name}: not present" + (f" under {data}" if name in REAL else ""))
        for cell, questions in cells.items():
            yield name, cell, questions


def _read_suite(path: Path, tokenizer) -> list[Question]:
    questions = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            question, expected = row["question"], row["answer"]
        except (ValueError, KeyError, TypeError):
            raise UserError(f'{path}, line {number}: every line must be a JSON object {{"question": ..., "answer": ...}}') from None
        prompt = render_prompt(tokenizer, {"messages": [{"role": "user", "content": str(question)}]})
        questions.append(Question(prompt, str(expected).strip()))
    if not questions:
        raise UserError(f"{path} has no questions; give a JSONL file with at least one line")
    return questions


def _gate(run: Run, model, tokenizer, seed: int) -> tuple[dict[str, dict], list[dict]]:
    """False positives of the gate by kind of text, and each of them as a row of wrong.jsonl; nothing for a model without a gate."""
    if getattr(model, "branch", None) is None:
        run.say("gate: this model has none")
        return {}, []
    cells, fired = {}, []
    texts = {**SENTENCES, "all_sentences": sum(SENTENCES.values(), ()), "corpus": tuple(corpus.documents("val", seed))}
    for kind, here in texts.items():
        found, cell = false_positives(model, tokenizer, here, model.config.sequence_len), f"gate_{kind}"
        low, high = wilson(len(found.fired), found.tokens)
        cells[cell] = {"false_positives": found.per_thousand, "tokens": found.tokens, "low": 1000 * low, "high": 1000 * high}
        fired += [] if kind == "all_sentences" else [{"cell": cell, "question": q, "answer": "", "said": s} for q, s in found.fired]
        run.say(f"{cell}: {found.per_thousand:.2f} false positives in 1,000 of {found.tokens:,} tokens")
    return cells, fired


def _plain(tokenizer, prompt: list[int]) -> str:
    return tokenizer.decode([t for t in prompt if t not in tokenizer.specials.values()])


def _in_words(figures: dict) -> str:
    causes = [f"{figures[cause]} {cause}" for cause in CAUSES if figures.get(cause)]
    interval = f"{100 * figures['low']:.1f} to {100 * figures['high']:.1f}"
    errors = f"; wrong in {', '.join(causes)}" if causes else ""
    return f"{100 * figures['exact_match']:.2f} % of {figures['n']} ({interval}{errors})"


def _conclude(run: Run, cells: dict, overall: list[str], gate: dict, wrong: list[dict]) -> str:
    n = sum(cells[cell]["n"] for cell in overall)
    if n:
        run.result(exact_match=sum(cells[cell]["right"] for cell in overall) / n, n=n)
    for cell, figures in {**cells, **gate}.items():
        run.result(**{f"{key}/{cell}": value for key, value in figures.items() if key != "right"})
    if common.rank() == 0:
        path = run.folder / "wrong.jsonl"
        common.write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in wrong))
        run.output(path)
    by_cell = [f"{cell} {100 * figures['exact_match']:.1f}" for cell, figures in cells.items()]
    by_cell += [f"{cell} {figures['false_positives']:.2f}" for cell, figures in gate.items() if cell == "gate_all_sentences"]
    return (f"exact match {100 * run.metrics['exact_match']:.2f} % of {n} unseen " if n else "") + f"({', '.join(by_cell)})"


STAGE = Stage("dag_eval", Config, inputs, work, check)


def main(argv: list[str] | None = None) -> int:
    words = spell_out(sys.argv[1:] if argv is None else list(argv))
    code = execute(STAGE, words)
    if code == 0 and common.rank() == 0:
        print(json.dumps(summary(option_value(words, "tag"))), flush=True)
    return code


def spell_out(words: list[str]) -> list[str]:
    """`-i X` as `--source=X`, and a tag for the results: the model's, and the suite's name so that suites do not replace each other."""
    words = spell_out_source(words, DEFAULT_SOURCE)
    suites, suite = option_value(words, "suites"), option_value(words, "suite")
    names = [*(name.strip() for name in (suites or "").split(",") if name.strip()), *([Path(suite).stem] if suite else [])]
    more = names[0] if len(names) == 1 else "suites"
    return [f"{w}.{more}" if names and w.startswith("--tag=") else w for w in words]


def summary(tag: str) -> dict:
    """The figures of a finished evaluation, from its status.json, so that a skipped repetition prints them too."""
    status = read_status("dag_eval", tag)
    metrics = status["metrics"]
    cells: dict[str, dict] = {}
    for key, value in metrics.items():
        name, _, cell = key.partition("/")
        if cell:
            cells.setdefault(cell, {})[name] = value
    return {
        "source": status["config"]["source"],
        "model_tag": status["config"]["model_tag"],
        "exact_match": metrics.get("exact_match"),
        "n": metrics.get("n", 0),
        "cells": cells,
    }


if __name__ == "__main__":
    raise SystemExit(main())
