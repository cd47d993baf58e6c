"""tok_eval: bytes per token on several kinds of text, ours beside GPT-2's and GPT-4's encodings where their files are present.

    python -m scripts.tok_eval
    python -m scripts.tok_eval --profile=real_small --data_dir=DIR

The rank files are looked for as tokenizers/r50k_base.tiktoken and tokenizers/cl100k_base.tiktoken in the data folder.
"""

from dataclasses import dataclass

from nanochat import common
from nanochat.config import StageConfig, at_least, option
from nanochat.data.compression import RIVALS, bytes_per_token, fixed_texts, load_rival
from nanochat.data.sources import TextOptions, check_text, open_source, text_inputs
from nanochat.data.tokenizer import HOW_TO_MAKE, Tokenizer
from nanochat.data.tokenizer_text import sample
from nanochat.pipeline.manifest import advice
from nanochat.pipeline.stage import Input, Run, Stage, execute


@dataclass
class Config(TextOptions, StageConfig):
    held_out_chars: int = option(200_000, "how much of the held-out text to encode", unit="characters")


def check(config: Config) -> None:
    check_text(config)
    at_least(config, 1, "held_out_chars")


def inputs(config: Config) -> list[Input]:
    data = common.data_dir(config.data_dir)
    rivals = [Input(data / file, advice(data / file, config.data_dir, config.profile), optional=True) for file, _ in RIVALS.values()]
    return [Input(common.base_dir() / "tokenizer", HOW_TO_MAKE), *text_inputs(config), *rivals]


def work(config: Config, run: Run) -> str:
    source = open_source(config.text, config.data_dir, config.val_files, config.seed)
    texts = {"held_out": sample(source.documents("val"), config.held_out_chars), **fixed_texts()}
    encoders = {"ours": Tokenizer.load().encode}
    for name in RIVALS:
        rival = load_rival(name, common.data_dir(config.data_dir))
        encoders[name] = rival.encode_ordinary if rival else None
    for name, encode in encoders.items():
        if encode:
            run.result(**{f"bytes_per_token/{kind}/{name}": round(bytes_per_token(encode, text), 4) for kind, text in texts.items()})
    for line in table(run.metrics, list(texts), list(encoders)):
        run.say(line)
    return f"{run.metrics['bytes_per_token/held_out/ours']:.2f} bytes per token on held-out text"


def table(metrics: dict[str, float], kinds: list[str], encoders: list[str]) -> list[str]:
    """A line per encoding; one whose rank file is absent says so."""
    lines = ["bytes per token " + "".join(f"{kind:>12}" for kind in kinds)]
    for name in encoders:
        values = [metrics.get(f"bytes_per_token/{kind}/{name}") for kind in kinds]
        absent = values[0] is None
        lines.append(f"{name:<16}" + (f"  not present ({RIVALS[name][0]})" if absent else "".join(f"{value:>12.2f}" for value in values)))
    return lines


STAGE = Stage("tok_eval", Config, inputs, work, check)


def main(argv: list[str] | None = None) -> int:
    return execute(STAGE, argv)


if __name__ == "__main__":
    raise SystemExit(main())
