"""Measures what the DAG costs and how fast its examples are made. Nothing is trained and nothing is read or written.

    python -m scripts.dag_bench                                          # everything; under five minutes on two cores
    python -m scripts.dag_bench --parts=generator --rounds=9
    python -m scripts.dag_bench --parts=step,decode --shapes=d12 --rows=16 --length=2048       # what a GPU has by itself

generator: examples per second of one core, by style, made as training does, against a generator written with sympy, one example at a time.
step:      a training step with and without the tower, random weights, packed rows as in the embedded profile's midtraining.
decode:    milliseconds per generated token, with and without the tower.

What is compared runs alternately; the figures are medians, and medians of the ratios. The last line on stdout is a JSON object.
"""

import json
import platform
import sys
from dataclasses import dataclass

from nanochat import common
from nanochat.common import UserError
from nanochat.config import at_least, nearest, option, parse

PARTS = ("generator", "step", "decode")


@dataclass
class Config:
    parts: list = option(list(PARTS), f"what to measure: {', '.join(PARTS)}")
    shapes: list = option(["embedded", "d4", "d12"], "sizes of the GPT: tiny, embedded, d4, d12")
    rounds: int = option(5, "times each thing is measured", "rounds")
    examples: int = option(32_768, "examples that generating makes together, as many as in training", "examples")
    seconds: float = option(0.5, "how long examples are made with sympy in a round", "seconds")
    rows: int = option(0, "rows of a pass; 0: by shape and device", "rows")
    length: int = option(0, "tokens of a row; 0: by shape and device", "tokens")
    tokens: int = option(64, "tokens generated to time decoding, at most what a row has room for", "tokens")
    device: str = option("auto", "where to compute", choices=("auto", "cpu", "cuda", "mps"))


def main(argv: list[str] | None = None) -> int:
    """Runs the benchmark; its exit code: 0 done, 2 wrong usage."""
    common.stay_home()
    try:
        config = parse(Config, "dag_bench", argv)
        check(config)
        measured = measure(config)
    except UserError as error:
        common.say(f"dag_bench: {error}")
        return 2
    print("\n".join(table(measured)))
    print(json.dumps(measured), flush=True)
    return 0


def check(config: Config) -> None:
    """UserError for settings that cannot work."""
    from nanochat.evaluate.benchmark import SHAPES

    for values, known in ((config.parts, PARTS), (config.shapes, SHAPES)):
        for value in values:
            if value not in known:
                raise UserError(f"there is no '{value}' to measure{nearest(value, known)}; there are {', '.join(known)}")
    at_least(config, 1, "rounds", "examples", "tokens")
    at_least(config, 0, "rows", "length", "seconds")


def measure(config: Config) -> dict:
    """{"machine", and of "generator", "step", "decode" what was asked for}: figures by style or shape."""
    import torch

    from nanochat.evaluate import benchmark

    device, tokenizer = common.start_compute(config.device).device, benchmark.make_tokenizer()
    processor = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    found: dict = {"machine": {"device": processor, "threads": torch.get_num_threads(), "torch": torch.__version__}}
    if "generator" in config.parts:
        common.say("dag_bench: generating expressions")
        found["generator"] = benchmark.generator(tokenizer, config.examples, config.rounds, config.seconds)
    models = [part for part in ("step", "decode") if part in config.parts]
    found |= {part: {} for part in models}
    for name in config.shapes if models else []:
        common.say(f"dag_bench: {' and '.join(models)} of {name}")
        bench = benchmark.Bench(tokenizer, benchmark.SHAPES[name], device, config.rows, config.length)
        if "step" in models:
            found["step"][name] = bench.step(config.rounds)
        if "decode" in models:
            found["decode"][name] = bench.decode(config.tokens, config.rounds)
        del bench
    return found


def table(found: dict) -> list[str]:
    """The figures for people."""
    lines = []
    for style, x in found.get("generator", {}).items():
        lines.append(f"{style:>16}: {x['examples_per_s']:>9,.0f} examples/s, {x['faster']:,.0f} times as many as with sympy")
    for shape, x in found.get("step", {}).items():
        what = f"{x['rows']} x {x['tokens_per_row']} tokens"
        names = {"pass": f"pass of {what}", "optimizer": "optimizer", "step": f"step of {x['passes_per_step']} passes"}
        lines += [_pair(f"{shape}, {name}", x[f"{k}_ms/plain"], x[f"{k}_ms/dag"], x[f"{k}_ratio"]) for k, name in names.items()]
        lines.append(f"{shape}, memory: {x['peak_mb/plain']:,.0f} MB without the tower, {x['peak_mb/dag']:,.0f} MB with it")
    lines += [
        _pair(f"{shape}, a token", x["token_ms/plain"], x["token_ms/dag"], x["ratio"]) for shape, x in found.get("decode", {}).items()
    ]
    return lines


def _pair(what: str, plain: float, dag: float, ratio: float) -> str:
    return f"{what}: {plain:,.2f} ms without the tower, {dag:,.2f} ms with it, {100 * (ratio - 1):+.1f} %"


if __name__ == "__main__":
    sys.exit(main())
