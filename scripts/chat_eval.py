"""Evaluates a chat model on tasks with right answers: multiple choice by the likeliest letter, the rest by what it writes.

    python -m scripts.chat_eval -i mid                            # -i is short for --source: base, mid, sft or rl
    python -m scripts.chat_eval -i sft --tasks=arc_easy,mmlu:500  # name:limit asks that many questions
    python -m scripts.chat_eval -i mid --model_tag=plain          # another training run of that stage
    torchrun --standalone --nproc_per_node=8 -m scripts.chat_eval -i sft --profile=d20_a100x8

The result's folder is stages/chat_eval.<tag>/; the tag is the model tag if one is given, else the source. It holds status.json
(accuracy/<task>, chance/<task>, n/<task>, chatcore) and <task>.jsonl with every question and answer. ChatCORE is the mean over
the tasks of (accuracy - chance) / (1 - chance). Tasks whose files are not in the data folder are named and left out. The last
line on stdout is a JSON object with the figures.
"""

import json
import sys
from dataclasses import dataclass

from nanochat import common
from nanochat.common import Interrupted
from nanochat.config import StageConfig, at_least, option
from nanochat.evaluate.arguments import option_value, spell_out
from nanochat.evaluate.chat import ChatResult, Settings, chatcore, evaluate, write_rows
from nanochat.infer.engine import Engine
from nanochat.pipeline.ledger import read_status
from nanochat.pipeline.manifest import advice
from nanochat.pipeline.stage import Input, Run, Stage, execute
from nanochat.train import checkpoint
from tasks.common import Share, check_shares, load_task, parse_share, present, task_files

SOURCES = ("base", "mid", "sft", "rl")
DEFAULT_SOURCE = "sft"


@dataclass
class Config(StageConfig):
    source: str = option("auto", "which model, -i is short for it; auto: the one that the tag names, else sft", choices=("auto", *SOURCES))
    model_tag: str = option("", "tag of the training run, for example plain; default: the one without")
    tasks: list[str] = option(["arc_easy", "arc_challenge", "mmlu", "gsm8k", "humaneval"], "tasks, each a name or name:limit")
    split: str = option("test", "val for choosing between models, test for reporting", choices=("val", "test"))
    max_problems: int = option(0, "questions per task that has no limit of its own; 0 asks all", unit="questions")
    max_tokens: int = option(256, "longest written answer", unit="tokens")
    temperature: float = option(0.0, "0 writes the likeliest token each time")
    top_k: int | None = option(None, "sample among this many likeliest tokens; none: among all")
    batch: int = option(64, "answers written at a time and process", unit="answers")
    batch_tokens: int = option(16_384, "tokens of a batch of multiple-choice prompts", unit="tokens")


def check(config: Config) -> None:
    check_shares(config.tasks, config.split)
    at_least(config, 0, "max_problems", "temperature")
    at_least(config, 1, "max_tokens", "batch", "batch_tokens", "top_k")


def inputs(config: Config) -> list[Input]:
    """The model, and the tasks' files: one task at least must have its own."""
    data = common.data_dir(config.data_dir)
    some = bool(_shares(config, data)[0])
    files = [
        Input(path, advice(path, config.data_dir, config.profile), optional=some) for path in task_files(config.tasks, data, config.split)
    ]
    return [checkpoint.as_input(_source(config), config.model_tag), *files]


def work(config: Config, run: Run) -> str:
    data = common.data_dir(config.data_dir)
    shares, absent = _shares(config, data)
    if absent:
        run.say(f"not present under {data}: {', '.join(absent)}")
    model, tokenizer, _ = checkpoint.load_model(_source(config), config.model_tag, device=run.compute.device)
    engine = Engine(model, tokenizer)
    context = model.config.sequence_len
    settings = Settings(config.max_tokens, context, config.batch_tokens, config.batch, config.temperature, config.top_k, config.seed)
    results = []
    for share in shares:
        if run.stop_requested():
            raise Interrupted("stopped between two tasks; the same command starts them again")
        task = load_task(share.name, data, config.split)
        results.append(evaluate(task, model, tokenizer, engine, share.limit or config.max_problems, settings))
        _report(run, results[-1])
    run.result(chatcore=chatcore(results), chatcore_tasks=len(results))
    summary = ", ".join(f"{r.name} {100 * r.accuracy:.1f} %" for r in results)
    return f"{summary}; ChatCORE {chatcore(results):.3f}" + (f"; not present: {', '.join(absent)}" if absent else "")


def _source(config: Config) -> str:
    if config.source != "auto":
        return config.source
    return config.tag if config.tag in SOURCES else DEFAULT_SOURCE


def _report(run: Run, result: ChatResult) -> None:
    low, high = result.interval
    values = {"accuracy": result.accuracy, "chance": result.chance, "n": result.n, "low": low, "high": high}
    run.result(**{f"{key}/{result.name}": value for key, value in values.items()})
    path = run.folder / f"{result.name}.jsonl"
    if common.rank() == 0:
        write_rows(path, result)
    run.output(path)
    figures = f"95 %: {100 * low:.1f} to {100 * high:.1f}; guessing {100 * result.chance:.1f}"
    run.say(f"{result.name}: {100 * result.accuracy:.1f} % of {result.n} ({figures})")


def _shares(config: Config, data) -> tuple[list[Share], list[str]]:
    """The tasks that are present, and the names of those that are not; UserError for an unknown one."""
    shares = [parse_share(text) for text in config.tasks]
    there = [present(share.name, data, config.split) for share in shares]
    by_presence = {True: [], False: []}
    for share, ok in zip(shares, there, strict=True):
        by_presence[ok].append(share)
    return by_presence[True], [share.name for share in by_presence[False]]


STAGE = Stage("chat_eval", Config, inputs, work, check)


def main(argv: list[str] | None = None) -> int:
    words = spell_out(sys.argv[1:] if argv is None else argv, DEFAULT_SOURCE)
    code = execute(STAGE, words)
    if code == 0 and common.rank() == 0:
        print(json.dumps(read_status("chat_eval", option_value(words, "tag"))["metrics"]), flush=True)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
