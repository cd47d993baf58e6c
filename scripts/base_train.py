"""Pretrains the GPT on text: next-token prediction from random weights. `--depth` is the one dial; width and heads follow.

    python -m scripts.base_train --profile=embedded
    torchrun --standalone --nproc_per_node=8 -m scripts.base_train --profile=d20_a100x8

The horizon is `--steps`, else `--tokens`, else `--tokens_per_param` times the weights that are multiplied (matrices and head). Batch,
weight decay and learning rates follow size, see nanochat/train/laws.py. If the text is shorter it is read again, which is said; more
often than `--max_epochs` it is not.
Interrupted, the same command goes on from the newest checkpoint. Writes checkpoints/base_train/<tag>/.
"""

from dataclasses import dataclass, replace

import torch

from nanochat import common
from nanochat.common import UserError, derive_seed
from nanochat.config import StageConfig, at_least, option
from nanochat.data.sources import TextOptions, check_text, text_inputs
from nanochat.data.tokenizer import HOW_TO_MAKE, Tokenizer
from nanochat.evaluate.bpb import bits_per_byte
from nanochat.model.gpt import GPT
from nanochat.model.options import ModelOptions, model_config
from nanochat.pipeline.stage import Input, Run, Stage, execute
from nanochat.train import checkpoint, horizon, settings
from nanochat.train.acceleration import Acceleration, accelerate
from nanochat.train.laws import batch_scale
from nanochat.train.loop import fit
from nanochat.train.settings import TrainSettings
from nanochat.train.text import text_loader, text_shard, validation_text

PROMPTS = ("The sun is", "A dog has four", "Every morning the")


@dataclass
class Config(ModelOptions, Acceleration, TrainSettings, TextOptions, StageConfig):
    tokens: int = option(0, "how much to train on; 0: see tokens_per_param", "tokens")
    tokens_per_param: float = option(12.0, "how much to train on for each weight that is multiplied", "tokens")
    total_batch: int = option(0, "tokens in one optimizer step; 0: by the law of size, with --steps one forward pass", "tokens")
    weight_decay: float = option(horizon.BY_LAW, "cautious weight decay of matrices, falling to 0 over the run; -1: by the law of size")
    max_epochs: float = option(horizon.MOST, "most often that the text may be read", "epochs")
    eval_tokens: int = option(10_485_760, "validation text per evaluation, at most all there is", "tokens")
    sample_tokens: int = option(24, "length of the samples said at the end; 0 says none", "tokens")


def check(config: Config) -> None:
    if config.weight_decay < 0 and config.weight_decay != horizon.BY_LAW:
        raise UserError(f"--weight_decay must be at least 0, or -1 to follow the size of the run, not {config.weight_decay:g}")
    settings.check(replace(config, weight_decay=max(config.weight_decay, 0.0)))
    check_text(config)
    at_least(config, 0, "tokens", "tokens_per_param", "max_epochs")
    at_least(config, 1, "eval_tokens")
    if not (config.steps or config.tokens or config.tokens_per_param):
        raise UserError("there is nothing to train on: give --steps, --tokens or --tokens_per_param above 0")
    model_config(config, vocab_size=1)  # refuses sizes that do not fit together
    settings.accumulation(config.total_batch, config.device_batch * config.sequence_len * common.world_size())


def inputs(config: Config) -> list[Input]:
    return [Input(common.base_dir() / "tokenizer", HOW_TO_MAKE), *text_inputs(config)]


def work(config: Config, run: Run) -> str:
    tokenizer = Tokenizer.load()
    torch.manual_seed(derive_seed(config.seed, "base model"))
    model = GPT(model_config(config, tokenizer.vocab_size))
    batches = text_loader(config, run, tokenizer, "train", config.sequence_len, derive_seed(config.seed, "base text"))
    counts = model.num_params()
    config = settings.as_before(run, config, batches)
    config = horizon.planned(config, counts["matrix"] + counts["head"], batches.tokens_per_step)
    tokens = horizon.tokens_of(config, batches.tokens_per_step)
    there = batches.shard.num_tokens
    a_step = tokens // config.steps
    size = f"{counts['total']:,} parameters, {config.steps:,} steps of {a_step:,} tokens"
    run.say(f"{size}: {tokens / 1e6:.1f} M tokens, of {there / 1e6:.1f} M that the text has")
    rates = f"{config.lr_scale * batch_scale(a_step):.3g} of the reference's (--lr_scale={config.lr_scale:g}, profile {config.profile})"
    run.say(f"learning rates {rates}, weight decay {config.weight_decay:.2g}")
    run.result(epochs=horizon.tell_epochs(run, batches.shard.name, tokens, there, config.max_epochs))
    text_shard(config, run, tokenizer, "val")  # made now: a stop while it is made loses no step
    accelerate(model, config, run, fresh=True)
    metrics = fit(
        run,
        config,
        model=model,
        batches=batches,
        loss_fn=lambda model, batch: (model(*batch).loss, {}),
        evaluate=lambda model: {"val_bpb": _val_bpb(config, run, tokenizer, model)},
        meta=checkpoint.describe(model, tokenizer),
        best=checkpoint.Criterion("val_bpb"),
    )
    run.result(documents=len(batches.shard), text_tokens=batches.shard.num_tokens)  # what there is; `tokens` is what was trained on
    run.result(params=counts["total"], **{f"params/{kind}": n for kind, n in counts.items() if kind != "total"}, **metrics)
    _say_samples(config, run, model, tokenizer)
    return f"{counts['total'] / 1e6:.1f} M parameters, {metrics['tokens'] / 1e6:.1f} M tokens, val {metrics['val_bpb']:.4f} bits per byte"


def _val_bpb(config: Config, run: Run, tokenizer, model: GPT) -> float:
    loader, steps = validation_text(config, run, tokenizer, config.sequence_len)
    return bits_per_byte(model, loader, tokenizer.token_bytes, steps)


def _say_samples(config: Config, run: Run, model: GPT, tokenizer) -> None:
    if config.sample_tokens <= 0 or common.rank() != 0:
        return
    from nanochat.infer.engine import Engine

    prompts = [[tokenizer.bos_id, *tokenizer.encode(text)] for text in PROMPTS]
    length = min(config.sample_tokens, config.sequence_len // 2)
    for prompt, ids in zip(PROMPTS, Engine(model.eval(), tokenizer).generate(prompts, max_tokens=length), strict=True):
        run.say(f"{prompt} ...{tokenizer.decode(ids)!r}")


STAGE = Stage("base_train", Config, inputs, work, check)


def main(argv: list[str] | None = None) -> int:
    return execute(STAGE, argv)


if __name__ == "__main__":
    raise SystemExit(main())
