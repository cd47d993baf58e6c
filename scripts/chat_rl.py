"""Reinforcement learning on tasks with checkable answers: the chat model answers, and learns from which answers were right.

    python -m scripts.chat_rl --profile=embedded
    python -m scripts.chat_rl --tasks=gsm8k --questions=16 --samples=16 --profile=d20_a100x8
    python -m scripts.chat_rl --source=mid --tag=from_mid
    torchrun --standalone --nproc_per_node=8 -m scripts.chat_rl --tasks=gsm8k --profile=d20_a100x8

Each step asks some questions, samples several answers to each, and makes those likelier that were right more often than their
neighbours (nanochat/train/rollouts.py). One epoch of the questions, or `--steps`. `val_accuracy` is the share of right answers to
unseen questions, the likeliest token each time. Interrupted, the same command goes on. Writes checkpoints/chat_rl/<tag>/; the model is
called `rl`: python -m scripts.chat_eval -i rl
"""

from dataclasses import dataclass, replace

from nanochat import common
from nanochat.common import UserError, derive_seed
from nanochat.config import StageConfig, at_least, option
from nanochat.evaluate.chat import Settings, evaluate
from nanochat.infer.engine import Engine
from nanochat.pipeline.manifest import advice
from nanochat.pipeline.stage import Input, Run, Stage, execute
from nanochat.train import checkpoint, settings
from nanochat.train.chat import trained_targets
from nanochat.train.loop import fit
from nanochat.train.rollouts import RolloutOptions, Rollouts, check_rollouts, policy_loss
from nanochat.train.settings import TrainSettings
from tasks.common import TASKS, Mixture, check_shares, load_task, parse_share, present, task_files


@dataclass
class Config(RolloutOptions, TrainSettings, StageConfig):
    source: str = option("sft", "which model to start from", choices=("sft", "mid"))
    model_tag: str = option("", "tag of the run that made it")
    tasks: list = option(["word_problems"], "tasks to ask, each `name`, `name:limit`, `name*repeat` or `name:limit*repeat`")
    eval_problems: int = option(200, "unseen questions of each task per evaluation; 0 measures no val_accuracy", "questions")
    device_batch: int = option(16, "most answers in one forward pass of one process", "answers")
    lr_scale: float = option(0.05, "multiplies every learning rate below")
    weight_decay: float = option(0.0, "cautious weight decay of matrices, falling to 0 over the run")
    warmup: float = option(0.0, "share of the run over which the learning rate rises from 0")
    decay: float = option(1.0, "share of the run, at its end, over which the learning rate falls")
    eval_every: int = option(60, "evaluate every so many steps; 0: only at the end", "steps")
    log_every: int = option(1, "a line in metrics.jsonl every so many steps", "steps")


def check(config: Config) -> None:
    settings.check(config)
    check_rollouts(config)
    check_shares(config.tasks, "train")
    at_least(config, 0, "eval_problems")
    for text in config.tasks:
        name = parse_share(text).name
        if (kind := TASKS[name].type().kind) != "generative":
            written = ", ".join(other for other, entry in TASKS.items() if _can_be_asked(entry.type()))
            raise UserError(f"task '{name}' is {kind}: there are no written answers to reward; use some of {written}")
    if config.total_batch:
        raise UserError("a step is as large as --questions and --samples make it; leave --total_batch out")


def _can_be_asked(task: type) -> bool:
    return task.kind == "generative" and "train" in task.splits


def inputs(config: Config) -> list[Input]:
    data = common.data_dir(config.data_dir)
    files = [*task_files(config.tasks, data, "train"), *task_files(_unseen(config), data, "val")]
    return [
        checkpoint.as_input(config.source, config.model_tag),
        *(Input(path, advice(path, config.data_dir, config.profile)) for path in dict.fromkeys(files)),
    ]


def work(config: Config, run: Run) -> str:
    model, tokenizer, source = checkpoint.load_model(config.source, config.model_tag)
    questions = Mixture(config.tasks, common.data_dir(config.data_dir), "train", config.seed)
    compute, seed = run.compute, derive_seed(config.seed, "rollouts")
    batches = Rollouts(model, tokenizer, questions, config, config.device_batch, seed, compute.rank, compute.world, compute.device)
    counts = ", ".join(f"{name} {n:,}" for name, n in questions.counts().items())
    run.say(f"{len(questions):,} questions: {counts}; {config.questions} a step, {config.samples} answers each")
    unseen = ValAccuracy(config, tokenizer, model.config.sequence_len)
    metrics = fit(
        run,
        replace(config, total_batch=batches.passes * batches.tokens_per_step),
        model=model,
        batches=batches,
        loss_fn=policy_loss,
        targets=trained_targets,
        evaluate=unseen if unseen.tasks else None,
        meta={**checkpoint.describe(model, tokenizer), "arithmetic_as": source.get("arithmetic_as", "answer")},
        parent=source["id"],
        best=checkpoint.Criterion("val_accuracy", "higher"),
    )
    asked = metrics["steps"] * config.questions
    run.result(params=model.num_params()["total"], questions=asked, **metrics)
    right = f"{100 * metrics['val_accuracy']:.1f} % of unseen questions right, " if unseen.tasks else ""
    return f"{right}{asked:,} questions with {config.samples} answers each"


def _unseen(config: Config) -> list[str]:
    """The tasks that have validation questions, if any are asked."""
    names = dict.fromkeys(parse_share(text).name for text in config.tasks)
    return [name for name in names if config.eval_problems and present(name, common.data_dir(config.data_dir), "val")]


class ValAccuracy:
    """Measures `val_accuracy` on the same validation questions of each task every time."""

    def __init__(self, config: Config, tokenizer, context: int):
        self.tokenizer, self.limit = tokenizer, config.eval_problems
        self.tasks = [load_task(name, common.data_dir(config.data_dir), "val") for name in _unseen(config)]
        self.settings = Settings(config.max_tokens, context, batch=config.batch)

    def __call__(self, model) -> dict[str, float]:
        """{"val_accuracy": right answers / questions}"""
        engine = Engine(model, self.tokenizer)
        results = [evaluate(task, model, self.tokenizer, engine, self.limit, self.settings) for task in self.tasks]
        return {"val_accuracy": sum(r.right for r in results) / sum(r.n for r in results)}


STAGE = Stage("chat_rl", Config, inputs, work, check)


def main(argv: list[str] | None = None) -> int:
    return execute(STAGE, argv)


if __name__ == "__main__":
    raise SystemExit(main())
