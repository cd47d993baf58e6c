"""Exact match of printed answers to arithmetic, on expressions that training could not have seen, or on a file of your own.

    python -m scripts.dag_eval --source=dag                 # the tower alone, as dag_train left it
    python -m scripts.dag_eval --source=sft --items=10000   # the chat model: what it writes must be the number and nothing else
    python -m scripts.dag_eval --source=mid --suite=my_questions.jsonl

A suite has one JSON object a line: {"question": "What is 3 plus 4?", "answer": "7"}. Answers are compared as text.
The last line on stdout is a JSON object with `exact_match`, `n` and `cells`: for each number of operations (or the suite) its
exact match, n and 95 % interval. Every wrong answer stands in wrong.jsonl in the stage's folder.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from nanochat import common
from nanochat.common import Interrupted, UserError
from nanochat.config import StageConfig, option
from nanochat.evaluate.arguments import option_value
from nanochat.evaluate.arguments import spell_out as spell_out_source
from nanochat.pipeline.ledger import read_status
from nanochat.pipeline.stage import Input, Run, Stage, execute
from nanochat.train import checkpoint

DEFAULT_SOURCE = "dag"


@dataclass
class Config(StageConfig):
    source: str = option(DEFAULT_SOURCE, "which model; -i is short for it", choices=("dag", "mid", "sft"))
    model_tag: str = option("", "tag of the training run, for example plain; default: the one without")
    suite: str = option("", "JSONL file of {question, answer}; default: generated unseen expressions")
    items: int = option(10_000, "questions per number of operations", unit="questions")
    operations: int = option(6, "largest number of operations", unit="operations")
    max_digits: int = option(4, "longest integer", unit="digits")
    batch: int = option(256, "questions answered at once", unit="questions")
    max_tokens: int = option(24, "longest answer", unit="tokens")


def inputs(config: Config) -> list[Input]:
    suite = [Input(Path(config.suite).expanduser(), "give a JSONL file that exists with --suite")] if config.suite else []
    return [checkpoint.as_input(config.source, config.model_tag), *suite]


def work(config: Config, run: Run) -> str:
    model, tokenizer, _ = checkpoint.load_model(config.source, config.model_tag, device=run.compute.device)
    answer = _by_tower(model, tokenizer, config) if config.source == "dag" else _by_writing(model, tokenizer, config)
    cells, wrong = {}, []
    for cell, questions in _cells(config, tokenizer).items():
        if run.stop_requested():
            raise Interrupted("stopped between two cells; the same command starts them again")
        said = [
            text
            for start in range(0, len(questions), config.batch)
            for text in answer([q[0] for q in questions[start : start + config.batch]])
        ]
        right = [s == expected for s, (_, expected) in zip(said, questions, strict=True)]
        cells[cell] = _figures(sum(right), len(right))
        wrong += [
            {"cell": cell, "question": _plain(tokenizer, q), "answer": e, "said": s}
            for s, (q, e), r in zip(said, questions, right, strict=True)
            if not r
        ]
        run.say(f"{cell}: {100 * cells[cell]['exact_match']:.2f} % of {len(right)}")
    return _conclude(config, run, cells, wrong)


def _cells(config: Config, tokenizer) -> dict[str, list[tuple[list[int], str]]]:
    """Prompts and expected answers by cell."""
    if config.suite:
        return {Path(config.suite).stem: _read_suite(Path(config.suite).expanduser(), tokenizer)}
    from nanochat.dag.arithmetic import answers_of, evaluation_batches, prompts_of
    from nanochat.dag.expressions import ExpressionSettings

    settings = ExpressionSettings(operations=(1, config.operations), max_digits=config.max_digits)
    batches = evaluation_batches(tokenizer, settings, config.items, config.seed)
    return {f"{k}_op{'s' if k > 1 else ''}": list(zip(prompts_of(b), answers_of(b), strict=True)) for k, b in batches.items()}


def _read_suite(path: Path, tokenizer) -> list[tuple[list[int], str]]:
    from nanochat.data.conversations import render_prompt

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
        questions.append((prompt, str(expected).strip()))
    if not questions:
        raise UserError(f"{path} has no questions; give a JSONL file with at least one line")
    return questions


def _by_tower(model, tokenizer, config: Config):
    """Answers of the tower alone: the value planned at the last token of each prompt, printed."""
    import torch

    from nanochat.dag.numbers import format_value

    device = next(model.parameters()).device

    def answer(prompts):
        lengths = torch.tensor([len(p) for p in prompts])
        idx = torch.tensor([p + [0] * (int(lengths.max()) - len(p)) for p in prompts])
        return [format_value(v) or "" for v in model.answers(idx.to(device), lengths.to(device))]

    return answer


def _by_writing(model, tokenizer, config: Config):
    """Answers of the chat model: what it writes, greedily."""
    from nanochat.infer.engine import Engine

    engine = Engine(model, tokenizer)
    return lambda prompts: [tokenizer.decode(ids).strip() for ids in engine.generate(prompts, max_tokens=config.max_tokens)]


def _plain(tokenizer, prompt: list[int]) -> str:
    return tokenizer.decode([t for t in prompt if t not in tokenizer.specials.values()])


def _figures(right: int, n: int) -> dict:
    from nanochat.evaluate.chat import wilson

    low, high = wilson(right, n)
    return {"exact_match": right / n, "n": n, "low": low, "high": high, "right": right}


def _conclude(config: Config, run: Run, cells: dict, wrong: list[dict]) -> str:
    n = sum(c["n"] for c in cells.values())
    exact = sum(c["right"] for c in cells.values()) / n
    run.result(exact_match=exact, n=n)
    for cell, figures in cells.items():
        run.result(**{f"{key}/{cell}": figures[key] for key in ("exact_match", "n", "low", "high")})
    if common.rank() == 0:
        path = run.folder / "wrong.jsonl"
        common.write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in wrong))
        run.output(path)
    by_cell = ", ".join(f"{cell} {100 * figures['exact_match']:.1f}" for cell, figures in cells.items())
    return f"exact match {100 * exact:.2f} % of {n} unseen ({by_cell})"


STAGE = Stage("dag_eval", Config, inputs, work)


def main(argv: list[str] | None = None) -> int:
    words = spell_out(sys.argv[1:] if argv is None else list(argv))
    code = execute(STAGE, words)
    if code == 0 and common.rank() == 0:
        print(json.dumps(summary(option_value(words, "tag"))), flush=True)
    return code


def spell_out(words: list[str]) -> list[str]:
    """`-i X` as `--source=X`, and a tag for the results: the model's, and the suite's name so that suites do not replace each other."""
    words = spell_out_source(words, DEFAULT_SOURCE)
    suite = option_value(words, "suite")
    return words if not suite else [w if not w.startswith("--tag=") else f"{w}.{Path(suite).stem}" for w in words]


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
        "exact_match": metrics["exact_match"],
        "n": metrics["n"],
        "cells": cells,
    }


if __name__ == "__main__":
    raise SystemExit(main())
