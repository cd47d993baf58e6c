"""Batches of plain text for training and for bits per byte, from the options of a stage."""

from nanochat.data.loader import TokenLoader
from nanochat.data.shards import open_shard
from nanochat.data.sources import open_source


def text_shard(config, run, tokenizer, split: str):
    """The tokenised documents of a split of `config.text`."""
    return open_shard(open_source(config.text, config.data_dir, config.val_files, config.seed), tokenizer, split, run)


def text_loader(config, run, tokenizer, split: str, length: int, seed: int) -> TokenLoader:
    """Rows of `length` tokens for this process, `config.device_batch` at a time."""
    compute, shard = run.compute, text_shard(config, run, tokenizer, split)
    return TokenLoader(shard, config.device_batch, length, seed, compute.rank, compute.world, compute.device)


def validation_text(config, run, tokenizer, length: int) -> tuple[TokenLoader, int]:
    """Validation batches, always the same, and how many of them are `config.eval_tokens`, or all there is."""
    loader = text_loader(config, run, tokenizer, "val", length, seed=0)
    return loader, max(1, min(config.eval_tokens, loader.shard.num_tokens) // loader.tokens_per_step)
