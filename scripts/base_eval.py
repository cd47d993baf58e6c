"""Evaluates the base model: bits per byte on train and validation text, what it writes, and CORE where its bundle is present.

    python -m scripts.base_eval --profile=embedded
    torchrun --standalone --nproc_per_node=8 -m scripts.base_eval --profile=d20_a100x8

Results: status.json (train_bpb, val_bpb, core, core/<task>), samples.jsonl and core.jsonl in stages/base_eval/. CORE needs
`eval_bundle/` in the data folder; without it the rest is done and one line says so. The last line on stdout is a JSON object
with the figures.
"""

import json
import sys
from dataclasses import dataclass

from nanochat import common
from nanochat.common import Interrupted
from nanochat.config import StageConfig, at_least, option
from nanochat.data.loader import TokenLoader
from nanochat.data.shards import open_shard
from nanochat.data.sources import TextOptions, check_text, open_source, text_inputs
from nanochat.evaluate.arguments import option_value
from nanochat.evaluate.bpb import bits_per_byte
from nanochat.evaluate.core import evaluate_core
from nanochat.infer.engine import Engine
from nanochat.infer.text import visible_text
from nanochat.pipeline.ledger import read_status
from nanochat.pipeline.manifest import advice
from nanochat.pipeline.stage import Input, Run, Stage, execute
from nanochat.train import checkpoint

PROMPTS = (  # begun sentences that a model of English should know how to end
    "The sun is",
    "A dog has four",
    "The opposite of hot is",
    "Every morning the farmer",
    "After winter comes",
    "If you add two and three, you get",
)


@dataclass
class Config(TextOptions, StageConfig):
    model_tag: str = option("", "tag of the base_train run; default: the one without")
    batch: int = option(32, "rows of text at a time and process", unit="rows")
    eval_tokens: int = option(10_485_760, "text per split for bits per byte, at most all there is", unit="tokens")
    sample_tokens: int = option(48, "length of each sample; 0 writes none", unit="tokens")
    free_samples: int = option(4, "samples that begin from nothing, at temperature 1", unit="samples")
    core: bool = option(True, "evaluate CORE if its bundle is present")
    max_per_task: int = option(-1, "items per CORE task; -1 takes all", unit="items")
    batch_tokens: int = option(16_384, "tokens of a batch of CORE prompts", unit="tokens")


def check(config: Config) -> None:
    check_text(config)
    at_least(config, 1, "batch", "eval_tokens", "batch_tokens")
    at_least(config, 0, "sample_tokens", "free_samples")
    at_least(config, -1, "max_per_task")


def inputs(config: Config) -> list[Input]:
    return [checkpoint.as_input("base", config.model_tag), *text_inputs(config), *_bundle_input(config)]


def _bundle_input(config: Config) -> list[Input]:
    """The CORE bundle, or the file by which it would be known."""
    data = common.data_dir(config.data_dir)
    bundle, file = data / "eval_bundle", data / "eval_bundle" / "core.yaml"
    return [Input(bundle if file.is_file() else file, advice(file, config.data_dir, config.profile), optional=True)] if config.core else []


def work(config: Config, run: Run) -> str:
    model, tokenizer, _ = checkpoint.load_model("base", config.model_tag, device=run.compute.device)
    bpb = {split: _bits_per_byte(config, run, model, tokenizer, split) for split in ("train", "val")}
    run.result(train_bpb=bpb["train"], val_bpb=bpb["val"])
    run.say(f"bits per byte: {bpb['train']:.4f} train, {bpb['val']:.4f} val")
    if config.sample_tokens > 0:
        _samples(config, run, model, tokenizer)
    return f"val {bpb['val']:.4f} bits per byte, {_core(config, run, model, tokenizer)}"


def _bits_per_byte(config: Config, run: Run, model, tokenizer, split: str) -> float:
    source = open_source(config.text, config.data_dir, config.val_files, config.seed)
    shard = open_shard(source, tokenizer, split, run)
    compute, length = run.compute, model.config.sequence_len
    loader = TokenLoader(shard, config.batch, length, 0, compute.rank, compute.world, compute.device)
    steps = max(1, min(config.eval_tokens, shard.num_tokens) // loader.tokens_per_step)
    _safe_point(run)
    return bits_per_byte(model, loader, tokenizer.token_bytes, steps)


def _samples(config: Config, run: Run, model, tokenizer) -> None:
    """samples.jsonl: what follows each prompt, the likeliest words; then texts from nothing, at temperature 1."""
    engine, length = Engine(model, tokenizer), min(config.sample_tokens, model.config.sequence_len // 2)
    begun = [[tokenizer.bos_id, *tokenizer.encode(prompt)] for prompt in PROMPTS]
    texts = engine.generate(begun, max_tokens=length)
    if config.free_samples > 0:
        texts += engine.generate([[tokenizer.bos_id]] * config.free_samples, max_tokens=length, temperature=1.0, seed=config.seed)
    prompts = [*PROMPTS, *[""] * (len(texts) - len(PROMPTS))]
    rows = [{"prompt": p, "text": visible_text(tokenizer, ids)} for p, ids in zip(prompts, texts, strict=True)]
    _write_lines(run, "samples.jsonl", rows)
    for row in rows[: len(PROMPTS)]:
        run.say(f"{row['prompt']} ...{row['text']!r}")


def _core(config: Config, run: Run, model, tokenizer) -> str:
    bundle = common.data_dir(config.data_dir) / "eval_bundle"
    if not config.core or not (bundle / "core.yaml").is_file():
        why = f"its bundle is not present ({bundle})" if config.core else "it is switched off"
        run.say(f"CORE not run: {why}")
        return "CORE not run"

    def tell(label: str, values: dict) -> None:
        run.say(f"CORE {label}: accuracy {values['accuracy']:.3f}, centered {values['centered']:+.3f} ({values['n']} items)")
        _safe_point(run)

    result = evaluate_core(model, tokenizer, bundle, config.max_per_task, model.config.sequence_len, config.batch_tokens, tell)
    run.result(core=result.core, core_tasks=len(result.tasks), core_tasks_missing=len(result.missing))
    run.result(**{f"core/{label}": values["centered"] for label, values in result.tasks.items()})
    _write_lines(run, "core.jsonl", [{"task": label, **values} for label, values in result.tasks.items()])
    if result.cropped:
        run.say(f"CORE: {result.cropped} prompts were longer than the model's context and lost their beginning")
    run.say(f"CORE {result.core:.4f} over {result.coverage}")
    return f"CORE {result.core:.4f} ({result.coverage})"


def _write_lines(run: Run, name: str, rows: list[dict]) -> None:
    if common.rank() == 0:
        common.write_text(run.folder / name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    run.output(run.folder / name)


def _safe_point(run: Run) -> None:
    if run.stop_requested():
        raise Interrupted("stopped between two evaluations; the same command starts them again")


STAGE = Stage("base_eval", Config, inputs, work, check)


def main(argv: list[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    code = execute(STAGE, words)
    if code == 0 and common.rank() == 0:
        print(json.dumps(read_status("base_eval", option_value(words, "tag") or "")["metrics"]), flush=True)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
