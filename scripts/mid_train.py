"""Midtraining: the base model learns to converse, to choose among answers and to calculate, on packed rows of conversations,
arithmetic and general text. The tower that dag_train made is plugged in first; both train together from here on. `--dag_depth=0`
leaves it out: the model is then the plain GPT.

    python -m scripts.mid_train --profile=embedded
    python -m scripts.mid_train --profile=embedded --tag=plain --dag_depth=0    # the same without the tower
    torchrun --standalone --nproc_per_node=8 -m scripts.mid_train --profile=d20_a100x8

One epoch of all that, or `--steps`. Interrupted, the same command goes on. Writes checkpoints/mid_train/<tag>/.
"""

from dataclasses import dataclass
from functools import partial

import torch

from nanochat.common import UserError, derive_seed
from nanochat.config import StageConfig, at_least, option
from nanochat.data.loader import ConversationLoader, TextItems
from nanochat.data.sources import TextOptions, check_text, text_inputs
from nanochat.evaluate.bpb import bits_per_byte
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
from nanochat.train.text import text_shard, validation_text


@dataclass
class Config(ChatOptions, Acceleration, TrainSettings, TextOptions, StageConfig):
    base_tag: str = option("", "tag of the base_train run to start from")
    dag_depth: int | None = option(None, "operations a token may carry out; default: those of dag_train's tower; 0: no tower", "operations")
    dag_tag: str = option("", "tag of the dag_train run whose tower is plugged in")
    hindsight: bool = option(False, "label numbers of general text that one operation on earlier ones gives, if only one does")
    text_share: float = option(0.2, "share of general text among the tokens, below 1")
    train_on: str = option("assistant", "which tokens of a conversation are trained", choices=("assistant", "all"))
    eval_tokens: int = option(2_097_152, "general validation text per evaluation, at most all there is", "tokens")


def check(config: Config) -> None:
    settings.check(config)
    check_text(config)
    check_chat(config)
    check_tool(config, has_tower=config.dag_depth != 0)
    at_least(config, 1, "eval_tokens")
    at_least(config, 0, "dag_depth")
    if not 0 <= config.text_share < 1:
        raise UserError(f"--text_share must be at least 0 and below 1, not {config.text_share}")


def inputs(config: Config) -> list[Input]:
    tower = [checkpoint.as_input("dag", config.dag_tag)] if config.dag_depth != 0 else []
    return [checkpoint.as_input("base", config.base_tag), *tower, *text_inputs(config), *task_inputs(config)]


def work(config: Config, run: Run) -> str:
    model, tokenizer, base = checkpoint.load_model("base", config.base_tag)
    tower = _plug_in(model, tokenizer, config) if config.dag_depth != 0 else None
    unseen = UnseenLoss(config, run, tokenizer, model.config.sequence_len)
    text_shard(config, run, tokenizer, "val")  # made now: a stop while it is made loses no step
    set_plans(model, config)
    observer = observer_of(model)
    accelerate(model, config, run)
    metrics = fit(
        run,
        config,
        model=model,
        batches=_batches(config, run, tokenizer, model.config.sequence_len),
        loss_fn=partial(conversation_loss, logger=observer),
        observer=observer,
        targets=partial(conversation_counts, model),
        evaluate=lambda model: {**unseen(model), "val_bpb": _val_bpb(config, run, tokenizer, model)},
        meta={**checkpoint.describe(model, tokenizer), "arithmetic_as": config.arithmetic_as, "tower": tower},
        parent=base["id"],
        best=checkpoint.Criterion("val_loss" if unseen.make else "val_bpb"),
    )
    run.result(params=model.num_params()["total"], **metrics)
    answers = f"loss {metrics['val_loss']:.3f} on unseen answers, " if "val_loss" in metrics else ""
    return f"{answers}val {metrics['val_bpb']:.4f} bits per byte, {'without' if model.branch is None else 'with'} the tower"


def _plug_in(model, tokenizer, config: Config) -> str:
    """Attaches the tower of dag_train and gives its checkpoint's id; UserError if it is none, or not of the depth that was asked for."""
    from nanochat.dag import attach_branch
    from nanochat.dag.variants import require_tower

    predictor, _, meta = checkpoint.load_model("dag", config.dag_tag)
    require_tower(meta, "plugged into a GPT; choose a tower with --dag_tag")
    depth = predictor.config.steps
    if config.dag_depth not in (None, depth):
        raise UserError(
            f"--dag_depth={config.dag_depth}, but the tower {meta['id']} carries out {depth} operations a token; give --dag_depth={depth}, "
            f"or train another with `python -m scripts.dag_train --dag_depth={config.dag_depth}`"
        )
    torch.manual_seed(derive_seed(config.seed, "branch"))  # what is new in it is the same in every process and every run
    attach_branch(model, predictor, tokenizer, hindsight=config.hindsight)
    return meta["id"]


def _batches(config: Config, run: Run, tokenizer, length: int) -> ConversationLoader:
    """Conversations, expressions, and so much text that it is `text_share` of the tokens."""
    conversations, arithmetic = training_mixture(config), expressions(config, tokenizer)
    tokens = sum(len(part) * mean_length(part, tokenizer, length) for part in (conversations, arithmetic))
    text = _text(config, run, tokenizer, tokens * config.text_share / (1 - config.text_share), length)
    counts = f"{len(conversations):,} conversations, {len(arithmetic):,} expressions, {len(text):,} texts"
    there = tokens / (1 - config.text_share)
    run.say(f"{counts}: about {there / 1e6:.1f} M tokens")
    loader = make_loader(Joined([conversations, arithmetic, text]), config, run, tokenizer, length, "midtraining", config.train_on)
    tell_epochs(run, "the mixture", tokens_of(config, loader.tokens_per_step), there)
    return loader


def _text(config: Config, run: Run, tokenizer, tokens: float, length: int):
    """Documents of the training text, as many as give about `tokens` tokens; each once."""
    if tokens < 1:
        return []
    items = TextItems(text_shard(config, run, tokenizer, "train"))
    return TextItems(items.shard, max(1, min(len(items), round(tokens / mean_length(items, tokenizer, length)))))


def _val_bpb(config: Config, run: Run, tokenizer, model) -> float:
    loader, steps = validation_text(config, run, tokenizer, model.config.sequence_len)
    return bits_per_byte(model, loader, tokenizer.token_bytes, steps)


STAGE = Stage("mid_train", Config, inputs, work, check)


def main(argv: list[str] | None = None) -> int:
    return execute(STAGE, argv)


if __name__ == "__main__":
    raise SystemExit(main())
