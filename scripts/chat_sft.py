"""Fine-tuning on conversations: only what the assistant says is trained. From the midtrained model, its tower included.

    python -m scripts.chat_sft --profile=embedded
    python -m scripts.chat_sft --source=base --tag=from_base
    torchrun --standalone --nproc_per_node=8 -m scripts.chat_sft --profile=d20_a100x8

One epoch of the mixture, or `--steps`. Interrupted, the same command goes on. Writes checkpoints/chat_sft/<tag>/.
"""

from dataclasses import dataclass
from functools import partial

from nanochat.config import StageConfig, option
from nanochat.pipeline.stage import Input, Run, Stage, execute
from nanochat.train import checkpoint, settings
from nanochat.train.acceleration import Acceleration, accelerate
from nanochat.train.chat import (
    ChatOptions,
    Joined,
    UnseenLoss,
    check_chat,
    check_tool,
    conversation_counts,
    conversation_loss,
    expressions,
    make_loader,
    mean_length,
    observer_of,
    set_plans,
    task_inputs,
    training_mixture,
)
from nanochat.train.horizon import tell_epochs, tokens_of
from nanochat.train.loop import fit
from nanochat.train.settings import TrainSettings


@dataclass
class Config(ChatOptions, Acceleration, TrainSettings, StageConfig):
    source: str = option("mid", "which model to start from", choices=("base", "mid"))
    model_tag: str = option("", "tag of the run that made it")
    arithmetic: int = option(0, "generated expressions among the conversations", "examples")


def check(config: Config) -> None:
    settings.check(config)
    check_chat(config)


def inputs(config: Config) -> list[Input]:
    return [checkpoint.as_input(config.source, config.model_tag), *task_inputs(config)]


def work(config: Config, run: Run) -> str:
    model, tokenizer, source = checkpoint.load_model(config.source, config.model_tag)
    check_tool(config, has_tower=model.branch is not None)
    conversations, arithmetic, length = training_mixture(config), expressions(config, tokenizer), model.config.sequence_len
    parts = {**conversations.counts(), "expressions": len(arithmetic)}
    written = config.arithmetic_as if config.arithmetic else source.get("arithmetic_as", config.arithmetic_as)
    run.say(f"{sum(parts.values()):,} items: {', '.join(f'{name} {n:,}' for name, n in parts.items())}")
    items = Joined([conversations, arithmetic])
    batches = make_loader(items, config, run, tokenizer, length, "fine-tuning")
    there = len(items) * mean_length(items, tokenizer, length)
    tell_epochs(run, "the mixture", tokens_of(config, batches.tokens_per_step), there)
    set_plans(model, config)
    observer = observer_of(model)
    accelerate(model, config, run)
    metrics = fit(
        run,
        config,
        model=model,
        batches=batches,
        loss_fn=partial(conversation_loss, logger=observer),
        observer=observer,
        targets=partial(conversation_counts, model),
        evaluate=UnseenLoss(config, run, tokenizer, length),
        meta={**checkpoint.describe(model, tokenizer), "arithmetic_as": written},
        parent=source["id"],
        best=checkpoint.Criterion("val_loss"),
    )
    run.result(params=model.num_params()["total"], **metrics)
    unseen = f"loss {metrics['val_loss']:.3f} on unseen answers" if "val_loss" in metrics else f"loss {metrics['train_loss']:.3f}"
    return f"{unseen}, {metrics['tokens'] / 1e6:.1f} M tokens"


STAGE = Stage("chat_sft", Config, inputs, work, check)


def main(argv: list[str] | None = None) -> int:
    return execute(STAGE, argv)


if __name__ == "__main__":
    raise SystemExit(main())
