"""Pretrains the tower that plans and executes arithmetic, alone: on unique generated expressions and on word problems with plans.

    python -m scripts.dag_train --profile=embedded
    python -m scripts.dag_train --tag=isolated --mode=isolated      # the whole plan at the answer, no tape
    python -m scripts.dag_train --tag=reads --reader=learned        # numbers read by a network, to compare; cannot be plugged into a GPT
    python -m scripts.dag_train --tag=soft --variant=soft           # an earlier system on the same examples, to compare
    python -m scripts.dag_train --tag=through --mode=isolated --execution=straight_through      # no labels, only answers
    torchrun --standalone --nproc_per_node=8 -m scripts.dag_train --profile=d20_a100x8

The loss is cross-entropy on operations and operands; nothing is differentiated through arithmetic. `answer_match` is exact
match of the printed answer on unseen expressions, `problem_match` on the planned numbers of unseen word problems. Nothing trained on
is from the held-out side of the split. Writes checkpoints/dag_train/<tag>/.

The other variants are the systems that came before the tower: soft (vector nodes, everything a mixture), stack and pointer (numbers
read as sign and log magnitude). They take the same examples, options and loop, plan all at the answer, and cannot be plugged into a
GPT; nanochat/dag/variants.py says more.
"""

from dataclasses import dataclass, replace
from functools import partial

import torch

from nanochat import common
from nanochat.common import UserError, derive_seed
from nanochat.config import StageConfig, at_least, option
from nanochat.dag.arithmetic import answers_of, evaluation_batches, prompts_of, tensors_of
from nanochat.dag.expressions import MOST_DIGITS, MOST_OPERATIONS, Batch, ExpressionSettings, ExpressionStream, check_styles
from nanochat.dag.numbers import format_value
from nanochat.dag.predictor import TowerConfig
from nanochat.dag.relaxed import RELAXATIONS, relaxed_counts, relaxed_loss
from nanochat.dag.stream import PlanBatches, planned_questions
from nanochat.dag.surface import STYLES
from nanochat.dag.variants import VARIANTS, Variant
from nanochat.data.ahead import default_workers
from nanochat.data.conversations import render
from nanochat.data.tokenizer import Tokenizer
from nanochat.pipeline.stage import Input, Run, Stage, execute
from nanochat.train import checkpoint, settings
from nanochat.train.chat import task_inputs, training_mixture, unseen_mixture
from nanochat.train.loop import fit
from nanochat.train.settings import TrainSettings

UNSEEN = 400  # planned numbers of unseen problems in each evaluation


@dataclass
class Config(TrainSettings, StageConfig):
    variant: str = option("tower", "which system, see above", choices=tuple(VARIANTS))
    mode: str | None = option(
        None,
        "tape: tokens may use results of earlier tokens; isolated: only their own; default: tape for the tower, isolated for all others",
        choices=("tape", "isolated"),
    )
    execution: str = option(
        "hard",
        "hard: labelled plans, executed exactly; else the tower learns from answers by a gradient through arithmetic",
        choices=("hard", *RELAXATIONS),
    )
    dag_depth: int | None = option(
        None, "operations a token may carry out; default: 2 in tape mode, as many as --operations in isolated", "operations"
    )
    width: int = option(64, "width of the tower")
    layers: int = option(4, "layers of its trunk", "layers")
    heads: int = option(4, "attention heads")
    reader: str = option(
        "exact",
        "how the tower gets the values of numbers; learned: digits predicted by a network, to compare",
        choices=("exact", "learned"),
    )
    operations: int = option(6, "most operations in an expression", "operations")
    chain_operations: int = option(0, "most operations in a chain of statements; 0: --operations", "operations")
    max_digits: int = option(4, "longest integer", "digits")
    styles: list = option(
        [*STYLES, "problems", "problems"],
        f"how expressions are written, of {', '.join(STYLES)}; one named twice is twice as frequent",
    )
    mixture: list = option([], "tasks whose answers carry plans, each `name`, `name:limit`, beside what is generated")
    decay: float = option(0.9, "share of the run, at its end, over which the learning rate falls")
    problem_share: float = option(0.25, "share of the batches that are questions of the mixture, below 1")
    workers: int = option(-1, "processes that make the next batches; 0: the training process itself; -1: one if it has more than one CPU")
    eval_items: int = option(50, "unseen expressions per number of operations in each evaluation", "expressions")


def inputs(config: Config) -> list[Input]:
    return [Input(common.base_dir() / "tokenizer", "make it with `python -m scripts.tok_train`"), *task_inputs(config)]


def check(config: Config) -> None:
    settings.check(config)
    at_least(config, 1, "width", "layers", "heads", "operations", "max_digits", "eval_items")
    at_least(config, -1, "workers")
    if config.steps < 1:
        raise UserError("expressions never end: give --steps, the number of optimizer steps")
    if config.width % (2 * config.heads):
        raise UserError(f"--width={config.width} must be a multiple of twice the {config.heads} heads")
    at_least(config, 0, "chain_operations")
    if config.max_digits > MOST_DIGITS or max(config.operations, config.chain_operations) > MOST_OPERATIONS:
        raise UserError(f"expressions have at most --max_digits={MOST_DIGITS} and --operations={MOST_OPERATIONS}")
    check_styles(config.styles)
    if not 0 <= config.problem_share < 1:
        raise UserError(f"--problem_share must be at least 0 and below 1, not {config.problem_share}")
    if config.reader != "exact" and config.variant != "tower":
        raise UserError(f"--reader=learned is for the tower; leave it out with --variant={config.variant}")
    _depth(config)
    if config.execution != "hard" and (config.variant != "tower" or _mode(config) != "isolated"):
        raise UserError(f"--execution={config.execution} is for the tower that plans at the answer: add --mode=isolated, no --variant")


def work(config: Config, run: Run) -> str:
    tokenizer, variant = Tokenizer.load(), VARIANTS[config.variant]
    torch.manual_seed(derive_seed(config.seed, "tower"))
    written = ExpressionSettings(
        operations=(1, config.operations),
        chain_operations=config.chain_operations,
        max_digits=config.max_digits,
        mode=_mode(config),
        steps=_depth(config),
        styles=tuple(config.styles),
    )
    tower = TowerConfig(
        tokenizer.vocab_size, tokenizer.bos_id, config.width, config.layers, config.heads, written.steps, written.mode, config.reader
    )
    model, compute = variant.model(tower, tokenizer), run.compute
    batches = PlanBatches(
        tokenizer,
        written,
        config.device_batch,
        config.seed,
        compute.rank,
        compute.world,
        compute.device,
        problems=_problems(config, tokenizer),
        share=config.problem_share,
        workers=default_workers() if config.workers < 0 else config.workers,
    )
    params = sum(p.numel() for p in model.parameters())
    run.say(f"{params:,} parameters, {written.mode} mode, {written.steps} steps a token; {batches.tokens_per_example} tokens an example")
    unseen, told = _unseen_expressions(written, config, tokenizer), _unseen_problems(written, config, tokenizer)
    meta = {"variant": config.variant, "model_config": tower.to_dict(), "branch_config": None, "tokenizer_hash": tokenizer.hash}

    def evaluate(model):
        return match(model, unseen, variant) | ({"problem_match": problem_match(model, told)} if told else {})

    observer = variant.logger(model) if variant.logger else None
    hard = config.execution == "hard"
    loss, counts = (variant.loss, variant.counts) if hard else (partial(relaxed_loss, config.execution), relaxed_counts)
    metrics = fit(run, config, model=model, batches=batches, loss_fn=partial(loss, logger=observer), targets=partial(counts, model),
                  evaluate=evaluate, observer=observer, meta=meta, best=checkpoint.Criterion("answer_match", "higher"))  # fmt: skip
    examples = metrics["tokens"] // batches.tokens_per_example
    run.result(params=params, examples=examples, **metrics)
    problems = f", of word problems {100 * metrics['problem_match']:.0f} %" if told else ""
    return (
        f"{params / 1e6:.2f} M parameters, {examples:,} examples, {100 * metrics['answer_match']:.1f} % of unseen answers exact{problems}"
    )


def _mode(config: Config) -> str:
    modes = VARIANTS[config.variant].modes
    if config.mode not in (None, *modes):
        raise UserError(f"--variant={config.variant} has no {config.mode} mode; leave out --mode={config.mode}")
    return config.mode or modes[0]


def _depth(config: Config) -> int:
    mode = _mode(config)
    operations = max(config.operations, config.chain_operations)
    least = 2 if mode == "tape" else operations
    if config.dag_depth is not None and config.dag_depth < least:
        raise UserError(f"--dag_depth={config.dag_depth} is too few: {mode} mode needs {least} for {operations} operations")
    return config.dag_depth or least


def _problems(config: Config, tokenizer) -> list:
    if not config.mixture or not config.problem_share:
        return []
    found = planned_questions(tokenizer, training_mixture(config))
    if not found:
        raise UserError(f"no answer of {', '.join(config.mixture)} carries a plan; choose other tasks or --mixture=[]")
    return found


def _unseen_expressions(written: ExpressionSettings, config: Config, tokenizer) -> dict[int, Batch]:
    """By number of operations; word problems are counted apart, unless there is nothing else."""
    others = tuple(style for style in written.styles if style != "problems")
    return evaluation_batches(tokenizer, replace(written, styles=others or written.styles), config.eval_items, config.seed)


def _unseen_problems(written: ExpressionSettings, config: Config, tokenizer) -> list[tuple[list[int], str]]:
    """Texts up to a planned number, and the number: of problems whose numbers and, for some, whose wording were never trained on."""
    items = unseen_mixture(config) if config.mixture and config.problem_share else None
    found: list[tuple[list[int], str]] = []
    if "problems" in written.styles:
        told = ExpressionStream(tokenizer, replace(written, styles=("problems",)), "val", derive_seed(config.seed, "unseen problems"))
        batch = told.batch(UNSEEN // 2 if items else UNSEEN)
        found += zip(prompts_of(batch), answers_of(batch), strict=True)
    for i in range(0 if items is None else min(len(items), UNSEEN)):
        item = render(tokenizer, items[i])
        found += [(item.ids[: plan.position + 1], plan.printed) for plan in item.plans]
    return found[:UNSEEN]


@torch.no_grad()
def match(model, unseen: dict, variant: Variant) -> dict[str, float]:
    """answer_match: share of printed answers that are right; plan_match, if the variant decides: share with every decision right. Every
    process takes its share of the batches."""
    answers = plans = n = 0
    device = next(model.parameters()).device
    for batch in list(unseen.values())[common.rank() :: common.world_size()]:
        idx, labels, lengths = tensors_of(batch, device)
        said = [format_value(v) for v in model.answers(idx, lengths)]
        answers += sum(s == expected for s, expected in zip(said, answers_of(batch), strict=True))
        plans += int(variant.plans_right(model, idx, labels, lengths).sum()) if variant.plans_right else 0
        n += len(batch)
    answers, plans, n = common.all_reduce_sum([answers, plans, n])
    return {"answer_match": answers / n, **({"plan_match": plans / n} if variant.plans_right else {})}


def problem_match(model, problems: list[tuple[list[int], str]]) -> float:
    """Share of problems (prompt, printed answer) whose planned value prints as the answer. Every process takes its share of them."""
    mine, right = problems[common.rank() :: common.world_size()], 0
    if mine:
        prompts, expected = zip(*mine, strict=True)
        idx = torch.nn.utils.rnn.pad_sequence([torch.tensor(p) for p in prompts], batch_first=True)
        lengths, device = torch.tensor([len(p) for p in prompts]), next(model.parameters()).device
        said = [format_value(v) for v in model.answers(idx.to(device), lengths.to(device))]
        right = sum(s == e for s, e in zip(said, expected, strict=True))
    return common.all_reduce_sum([right])[0] / len(problems)


STAGE = Stage("dag_train", Config, inputs, work, check)


def main(argv: list[str] | None = None) -> int:
    return execute(STAGE, argv)


if __name__ == "__main__":
    raise SystemExit(main())
