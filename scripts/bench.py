"""Measures how fast a GPT trains, reads or writes here: tokens/s, ms, share of the peak, memory, energy. Nothing is kept.

    python -m scripts.bench --depth=4 --sequence_len=256 --device_batch=8           # training steps
    python -m scripts.bench --depth=4 --against="smear=false backout=false"          # in turns with the same and other settings
    python -m scripts.bench --sequence_len=1024 --against="window_pattern=SSSL"      # the same with windows
    python -m scripts.bench --depth=12 --compile=on --profile                        # and a trace of three steps
    python -m scripts.bench --infer --depth=12 --prompt=512 --new=64 --rows=8        # decoding
    python -m scripts.bench --generator                                              # examples/s of the DAG's generator
    python -m scripts.bench --loader [--shards=FOLDER]                               # tokens/s of the reading of text, of one core

The last line on stdout is a JSON object whose names carry their units. `mfu` and `j_per_token` are null where the machine does not tell
its peak or its energy. The first step's time counts from nothing, compilation included.
"""

import json
import platform
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from nanochat import common
from nanochat.common import UserError
from nanochat.config import at_least, option, parse
from nanochat.model.options import ModelOptions
from nanochat.train import settings
from nanochat.train.acceleration import Acceleration
from nanochat.train.settings import TrainSettings


@dataclass
class Config(ModelOptions, Acceleration, TrainSettings):
    depth: int = option(4, "number of layers", "layers")
    sequence_len: int = option(256, "context", "tokens")
    vocab_size: int = option(32768, "tokens that the model knows", "tokens")
    steps: int = option(5, "optimizer steps in a round", "steps")
    rounds: int = option(5, "rounds of each configuration", "rounds")
    against: str = option("", 'other settings, "name=value name=value": both configurations are timed, in turns')
    trace: bool = option(False, "write a trace of three steps", flag="profile")
    out: str = option("trace.json", "where to")
    infer: bool = option(False, "time decoding instead of training")
    prompt: int = option(128, "length of a prompt", "tokens")
    new: int = option(64, "how much is written after it", "tokens")
    rows: int = option(1, "prompts at a time", "rows")
    generator: bool = option(False, "time the generator of expressions instead")
    loader: bool = option(False, "time the reading of text instead")
    shards: str = option("", "what it reads: a folder of tokenised text, as <base directory>/tokens; default: random documents")
    device: str = option("auto", "where to compute", choices=("auto", "cpu", "cuda", "mps"))


def main(argv: list[str] | None = None) -> int:
    """Runs the benchmark; its exit code: 0 done, 2 wrong usage."""
    common.stay_home()
    try:
        config = parse(Config, "bench", argv)
        other = parse_against(config)
        for checked in filter(None, (config, other)):
            check(checked)
        measured = measure(config, other)
    except UserError as error:
        common.say(f"bench: {error}")
        return 2
    print(json.dumps(measured), flush=True)
    return 0


def parse_against(config: Config) -> Config | None:
    """The other configuration: this one with what `against` names."""
    if not config.against:
        return None
    given = parse(Config, "bench", [f"--{word.lstrip('-')}" for word in config.against.split()])
    names = {word.lstrip("-").partition("=")[0] for word in config.against.split()}
    return replace(config, **{name: getattr(given, name) for name in names})


def check(config: Config) -> None:
    """UserError for settings that cannot work."""
    from nanochat.model.options import model_config

    instead = [f"--{name}" for name in ("infer", "generator", "loader") if getattr(config, name)]
    if len(instead) > 1:
        raise UserError(f"one of {' and '.join(instead)} at a time; leave out the others")
    if instead and (config.against or config.trace):
        what = "--against compares training" if config.against else "a trace is of training"
        raise UserError(f"{what}; leave out {instead[0]}, or time that alone")
    if config.trace:
        check_out(Path(config.out))
    settings.check(config)
    at_least(config, 1, "steps", "rounds", "prompt", "new", "rows", "vocab_size")
    if config.prompt + config.new > config.sequence_len and config.infer:
        raise UserError(f"--prompt and --new make {config.prompt + config.new} tokens; --sequence_len is {config.sequence_len}")
    model_config(config, config.vocab_size)


def check_out(path: Path) -> None:
    """UserError for a file that cannot be written, before anything is measured."""
    if path.is_dir():
        raise UserError(f"--out={path} is a folder; give a file in it")
    try:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.absolute().parent).close()
    except OSError as error:
        raise UserError(f"--out={path} cannot be written ({error.strerror}); give another file") from None


def measure(config: Config, other: Config | None = None) -> dict:
    """The figures, and "machine"."""
    import torch

    from nanochat.evaluate import benchmark, speed

    device = common.start_compute(config.device).device
    processor = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    machine = {"device": processor, "threads": torch.get_num_threads(), "torch": torch.__version__}
    if config.generator:
        found = benchmark.generator(benchmark.make_tokenizer(), 128, config.rounds, seconds=0.5)
        return {"machine": machine, "examples_per_s": found["all"]["examples_per_s"], "styles": found}
    if config.infer:
        return {"machine": machine, **speed.writing(config, device)}
    if config.loader:
        return {"machine": machine, **_loading(config)}
    trainings = [speed.Training(config, device)] if other is None else speed.in_turns(config, other, device)
    ratios = speed.compare(trainings, config.rounds, config.steps)
    figures = [training.figures() for training in trainings]
    for name, found in zip(("this", "other"), figures, strict=False):
        common.say(f"{name}: {_line(found)}")
    if config.trace:
        trainings[0].trace(Path(config.out))
        common.say(f"trace: {config.out}")
    measured = {"machine": machine, **figures[0]}
    if other is not None:
        common.say(f"other / this: {median(ratios):.3f} (tokens/s, median of {len(ratios)} rounds, {min(ratios):.3f} to {max(ratios):.3f})")
        measured |= {"other": figures[1], "ratio": median(ratios), "ratios": ratios}
    return measured


def _loading(config: Config) -> dict:
    """The figures of reading, said case by case."""
    from nanochat.data.shards import open_tokens
    from nanochat.evaluate import loading

    with tempfile.TemporaryDirectory() as folder:
        shard = open_tokens(Path(config.shards)) if config.shards else loading.random_shard(Path(folder) / "random", config.vocab_size)
        found = loading.loading(shard)
    common.say(f"{found['documents']:,} documents, {found['tokens']:,} tokens")
    for case in found["cases"]:
        common.say(
            f"context {case['sequence_len']}, {case['device_batch']} rows, {case['processes']} processes: "
            f"{case['tokens_per_s'] / 1e6:,.1f} M tokens/s a core, {case['dropped']:.1%} dropped, {case['padded']:.1%} padded, "
            f"{case['cut']:.1%} of documents that fit cut, {case['pieces_per_row']:.2f} pieces a row"
        )
    return found


def _line(found: dict) -> str:
    """The figures for people."""
    share = "MFU unknown" if found["mfu"] is None else f"MFU {found['mfu']:.1%}"
    memory = found.get("peak_gpu_mb", found.get("peak_rss_mb"))
    energy = "" if found["j_per_token"] is None else f", {1e3 * found['j_per_token']:.2f} mJ a token"
    return (
        f"{found['tokens_per_s']:,.0f} tokens/s, {found['step_ms']:,.1f} ms a step of {found['tokens_per_step']:,} tokens, {share}, "
        f"{memory:,.0f} MB{energy}, waited {found['data_wait']:.2%} for data, first step after {found['first_step_s']:.1f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
