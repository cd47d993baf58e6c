"""Shows what the tower does with a text: the numbers it reads, each step it plans, what it computes, where it wants to print it.

    python -m scripts.dag_trace "What is 12 plus 30 times 2?"               # as a question to the newest chat model
    python -m scripts.dag_trace "12+30*2=" --raw=true --source=dag          # the bare text, and the tower alone
    python -m scripts.dag_trace "What is 2/3 + 1?" --svg=plan.svg
    python -m scripts.dag_trace "12+30*2=" --raw=true --source=dag --plans=5      # and the five best plans of the last token

Behind every choice stands its probability. `exactly` is the same plan worked out in fractions: where it differs from the float64
value, the difference is rounding. `gate` is how much the model wants to print the result there; from 0.5 on it does.
"""

import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from nanochat import common
from nanochat.common import UserError
from nanochat.config import at_least, option, parse

NEWEST = ("rl", "sft", "mid", "dag")  # the first of these that has a checkpoint is traced


@dataclass
class Config:
    source: str = option("auto", "which model; auto is the first of rl, sft, mid, dag that is there", choices=("auto", *NEWEST), short="i")
    model_tag: str = option("", "tag of the training run; default: the one without", short="g")
    raw: bool = option(False, "the text as it stands, not as a user's question")
    svg: str = option("", "file to draw the plan into")
    plans: int = option(0, "how many of the most probable plans of the last token are listed", "plans")


def main(argv: list[str] | None = None) -> int:
    """Runs the program; its exit code: 0 fine, 1 the picture could not be written, 2 wrong usage or no model."""
    try:
        words = list(sys.argv[1:] if argv is None else argv)
        texts = [word for word in words if not word.startswith("-")]
        if "--help" not in words and "-h" not in words and (len(texts) != 1 or not texts[0].strip()):
            raise UserError('give one text in quotes: python -m scripts.dag_trace "What is 12 plus 30 times 2?"')
        config = parse(Config, "dag_trace", [word for word in words if word.startswith("-")])
        at_least(config, 0, "plans")
        trace = traced(config, texts[0])
        print("\n".join(lines(trace)))
        if config.svg:
            common.write_text(Path(config.svg).expanduser(), picture(trace, texts[0]))
            common.say(f"the plan is drawn in {config.svg}")
        return 0
    except UserError as error:
        common.say(f"dag_trace: {error}")
        return 2
    except OSError as error:
        common.say(f"dag_trace: the picture could not be written: {error.strerror or error}")
        return 1


def traced(config: Config, text: str):
    """The Trace of a text by the chosen model; UserError if there is none or it has no tower."""
    from nanochat.dag.trace import trace_text
    from nanochat.dag.variants import require_tower
    from nanochat.data.conversations import render_prompt
    from nanochat.train import checkpoint

    source = config.source
    if source == "auto":
        source = next((s for s in NEWEST if checkpoint.latest(checkpoint.SOURCES[s], config.model_tag)), "dag")
    model, tokenizer, meta = checkpoint.load_model(source, config.model_tag)
    common.say(f"{source} model {meta['id']}")
    require_tower(meta, "traced; choose a tower with --model_tag")
    if source != "dag" and model.branch is None:
        raise UserError(f"the {source} model was trained without the tower; choose another with --source or --model_tag")
    question = {"messages": [{"role": "user", "content": text}]}
    ids = [tokenizer.bos_id, *tokenizer.encode(text)] if config.raw else render_prompt(tokenizer, question)
    return trace_text(model.eval(), tokenizer, ids, config.plans)


def lines(trace) -> list[str]:
    """The trace as text."""
    read = ", ".join(_shown(value) for _, value, _ in trace.numbers)
    out = [f"numbers read: {read or 'none'}"]
    for thought in trace.thoughts:
        out.append(f"at token {thought.position} {thought.token!r}")
        for step in thought.steps:
            operands = ", ".join(f"{operand.name} ({_percent(operand.probability)})" for operand in step.operands)
            out.append(
                f"    {step.name} = {step.operation} ({_percent(step.probability)}) of {operands} = {_value(step.value, step.exact)}"
            )
        if thought.takes:
            out.append(f"    takes {thought.takes}")
        if thought.gate is not None:
            prints = f"prints {thought.printed}" if thought.gate >= 0.5 and thought.printed else "prints nothing"
            out.append(f"    gate {thought.gate:.3f}: {prints}")
        elif thought.printed and thought is trace.thoughts[-1]:
            out.append(f"    result {thought.printed}")
    if trace.plans:
        out.append(f"the {len(trace.plans)} best plans there")
        out += [f"    {_percent(plan.probability)}  {plan.formula} = {_value(plan.value, None)}" for plan in trace.plans]
    return out


def _shown(value: float) -> str:
    from nanochat.dag.numbers import format_value

    return format_value(value) or "too long to compute with"


def _value(value: float, exact: Fraction | None) -> str:
    if value != value:
        return "not a number that can be computed"
    rounded = "" if exact is None or exact == Fraction(value) or exact.denominator == 1 else f", exactly {exact}"
    return f"{value!r}{rounded}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def picture(trace, title: str) -> str:
    """The plan as SVG."""
    from nanochat.dag.trace import layout
    from nanochat.report.svg import COLOURS, Box, graph

    colour = {"number": COLOURS[0], "step": COLOURS[1], "constant": COLOURS[2]}
    nodes, edges = layout(trace)
    return graph([Box(x, y, text, colour[kind]) for x, y, text, kind in nodes], edges, title)


if __name__ == "__main__":
    raise SystemExit(main())
