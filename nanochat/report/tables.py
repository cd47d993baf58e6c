"""The tables of a report, as Markdown. A figure that is not there is replaced by the state of the stage that would give it."""

import re
from dataclasses import dataclass

from nanochat.evaluate.chat import wilson
from nanochat.pipeline.results import NOT_PART_OF_THE_RESULT
from nanochat.report.collect import DONE, NOT_RUN, RUNNING, Results, StageResult
from nanochat.report.text import MISSING, code, count, duration, exactly, is_number, number, percent, plain, power, shorten, table

MODELS = {"base": "BASE", "mid": "MID", "sft": "SFT", "rl": "RL"}  # what a source is called in a column, in training order
TRAINED_BY = {"base": "base_train", "mid": "mid_train", "sft": "chat_sft", "rl": "chat_rl"}
ARITHMETIC = {"dag": "predictor alone", "mid": "MID with DAG", "sft": "SFT with DAG", "plain": "MID without DAG"}
TEXTS = {"ours": "ours", "gpt2": "GPT-2", "gpt4": "GPT-4"}
TASKS = {
    "arc_easy": "ARC easy",
    "arc_challenge": "ARC challenge",
    "openbookqa": "OpenBookQA",
    "mmlu": "MMLU",
    "gsm8k": "GSM8K",
    "svamp": "SVAMP",
    "asdiv": "ASDiv",
    "mawps": "MAWPS",
    "humaneval": "HumanEval",
}

# name in status.json -> what people call it, and how it is written
FIGURES = {
    "vocab_size": ("vocabulary", count),
    "bytes_per_token": ("bytes per token", exactly(2)),
    "documents": ("documents", number),
    "text_tokens": ("tokens of text", number),
    "params": ("parameters", number),
    "steps": ("steps", count),
    "tokens": ("training tokens", number),
    "examples": ("training examples", number),
    "train_loss": ("training loss", exactly(3)),
    "val_loss": ("loss on unseen answers", exactly(3)),
    "train_bpb": ("bits per byte, training text", exactly(3)),
    "val_bpb": ("bits per byte, held-out text", exactly(3)),
    "plan_match": ("whole plan right", percent),
    "answer_match": ("answer right", percent),
    "problem_match": ("word problem right", percent),
    "val_accuracy": ("unseen questions right", percent),
    "questions": ("questions asked", count),
    "exact_match": ("exact match", percent),
    "n": ("questions", count),
    "core": ("CORE", exactly(4)),
    "chatcore": ("ChatCORE", exactly(4)),
    "tokens_per_s": ("tokens per second", number),
    "examples_per_s": ("examples per second", number),
    "mfu": ("model FLOPs utilisation", percent),
    "flops": ("floating-point operations", power),
    "seconds": ("of this, the work itself", duration),
}


@dataclass(frozen=True)
class Score:
    """A share of right answers with its 95 % interval and the number of questions; no interval where n is unknown."""

    share: float
    low: float | None = None
    high: float | None = None
    n: float | None = None


def score(metrics: dict, name: str, cell: str) -> Score | None:
    """`name/cell` with the interval that follows from `n/cell`; None if it was not measured."""
    share, n = metrics.get(f"{name}/{cell}" if cell else name), metrics.get(f"n/{cell}" if cell else "n")
    if not is_number(share):
        return None
    if not is_number(n) or n < 1 or not 0 <= share <= 1:
        return Score(share)
    return Score(share, *wilson(round(share * n), round(n)), n)


def interval(found: Score) -> str:
    """`97.2 % (96.1 – 98.0)`"""
    return f"{percent(found.share)} ({100 * found.low:.1f} – {100 * found.high:.1f})" if found.n else percent(found.share)


def state(stage: StageResult, limit: int = 60) -> str:
    """`done`, `not run`, `running`, `failed: reason`, `interrupted: reason`, escaped; at most `limit` characters of reason."""
    words = f"{stage.state}: {plain(shorten(stage.reason, limit))}" if stage.reason else stage.state
    if stage.state == DONE:
        return f"done, but before the newest {code(stage.outdated)}" if stage.outdated else words
    return words if stage.state in (NOT_RUN, RUNNING) else f"**{stage.state}**{words[len(stage.state) :]}"


def value(sources: list[tuple[StageResult, str]], form=number) -> str:
    """The first figure that a stage which is done has; else the state of one that is not done; else "not measured"."""
    for stage, name in sources:
        if stage.metrics.get(name) is not None:
            return plain(form(stage.metrics[name]))
    waiting = sorted((stage for stage, _ in sources if stage.state != DONE), key=lambda stage: stage.state == NOT_RUN)
    return state(waiting[0], 40) if waiting else MISSING  # one that tried tells more than one that never ran


# ---------------------------------------------------------------------------------------------------------------------
# Stages


def stages(results: Results) -> str:
    """A row per stage: state, time, and the one line it said at its end."""
    rows = [[f"[{code(s.label)}](#{anchor(s.label)})", state(s, 160), s.took, headline(s)] for s in results.stages]
    return table(["stage", "state", "time", "result"], rows, "llrl")


def headline(stage: StageResult) -> str:
    """What a stage that is done said of its result."""
    return plain(stage.status.get("headline") or "") if stage.state == DONE else ""


def anchor(heading: str) -> str:
    """The name GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def figures(stage: StageResult) -> str:
    """The final figures of a stage in a line; those by task or cell (`a/b`) have tables of their own and are left out."""
    known = [(*FIGURES[name], stage.metrics[name]) for name in FIGURES if name in stage.metrics]
    others = [(name.replace("_", " "), number, v) for name, v in stage.metrics.items() if name not in FIGURES and "/" not in name]
    return " · ".join(f"{plain(label)} **{plain(form(v))}**" for label, form, v in known + others)


def core_tasks(stage: StageResult) -> str:
    """The centered accuracy of each CORE task; "" where CORE was not evaluated."""
    found = {name.partition("/")[2]: v for name, v in stage.metrics.items() if name.startswith("core/")}
    return table(["CORE task", "centered accuracy"], [[plain(name), exactly(3)(v)] for name, v in found.items()], "lr") if found else ""


def settings(stage: StageResult) -> str:
    """Every setting that decides the stage's result; where it ran and lies stands elsewhere."""
    kept = {key: v for key, v in sorted(stage.config.items()) if key not in NOT_PART_OF_THE_RESULT and v not in ("", None)}
    return table(["setting", "value"], [[code(key), code(v)] for key, v in kept.items()]) if kept else ""


# ---------------------------------------------------------------------------------------------------------------------
# Models


def models(results: Results) -> str:
    """BASE / MID / SFT, a row per metric, with chance, number of questions and 95 % intervals."""
    columns = [key for key in MODELS if key != "rl" or any(results.stage(label).state != NOT_RUN for label in ("chat_rl", "chat_eval.rl"))]
    rows = [["bits per byte, held-out text", "", "", *(value(_text_sources(results, key), exactly(3)) for key in columns)]]
    if any("val_loss" in results.stage(TRAINED_BY[key]).metrics for key in columns):
        rows.append(
            ["loss on unseen answers", "", "", *(value([(results.stage(TRAINED_BY[key]), "val_loss")], exactly(3)) for key in columns)]
        )
    core = [value([(results.stage("base_eval"), "core")], exactly(4)) if key == "base" else MISSING for key in columns]
    rows.append(["CORE", "0", "", *core])
    rows += _tasks(results, columns)
    rows.append(["ChatCORE", "0", "", *(_evaluated(results, "chat_eval", key, _chatcore) for key in columns)])
    rows.append(_shares(results, "arithmetic, exact match", "dag_eval", "exact_match", "", columns))
    return table(["metric", "chance", "n", *(MODELS[key] for key in columns)], rows, "lrrrrrr")


def _text_sources(results: Results, key: str) -> list[tuple[StageResult, str]]:
    labels = ["base_eval", "base_train"] if key == "base" else [TRAINED_BY[key]]
    return [(results.stage(label), "val_bpb") for label in labels]


def _tasks(results: Results, columns: list[str]) -> list[list[str]]:
    """A row per chat task that any model was evaluated on; one row with the states if none was."""
    found = [s.metrics for s in results.named("chat_eval")]
    names = list(dict.fromkeys(name.partition("/")[2] for metrics in found for name in metrics if name.startswith("accuracy/")))
    if not names:
        return [["chat tasks", "", "", *(_evaluated(results, "chat_eval", key, lambda metrics: None) for key in columns)]]
    return [_shares(results, TASKS.get(name, name.replace("_", " ")), "chat_eval", "accuracy", name, columns) for name in names]


def _shares(results: Results, title: str, stage: str, metric: str, cell: str, columns: list[str]) -> list[str]:
    """A row of shares with intervals; bold where guessing is below the interval."""
    metrics = [s.metrics for s in results.named(stage) if s.tag in columns]
    chance = next((m[f"chance/{cell}"] for m in metrics if is_number(m.get(f"chance/{cell}"))), None)
    scores = [found for m in metrics if (found := score(m, metric, cell))]

    def shown(m: dict) -> str | None:
        found = score(m, metric, cell)
        if not found:
            return None
        better = found.n and chance is not None and found.low > chance and found.share > 0
        return f"**{interval(found)}**" if better else interval(found)

    cells = [_evaluated(results, stage, key, shown) for key in columns]
    return [plain(title), percent(chance) if chance is not None else "", _questions(scores), *cells]


def _chatcore(metrics: dict) -> str | None:
    return exactly(4)(metrics["chatcore"]) if is_number(metrics.get("chatcore")) else None


def _evaluated(results: Results, stage: str, key: str, shown) -> str:
    """What `shown` makes of the metrics of `stage.key`: its state if it is not done, a dash if it was never planned."""
    found = next((s for s in results.named(stage) if s.tag == key), None)
    if found is None:
        return MISSING
    return (shown(found.metrics) or MISSING) if found.state == DONE else state(found, 40)


def _questions(scores: list[Score]) -> str:
    return " / ".join(dict.fromkeys(count(s.n) for s in scores if s.n))


# ---------------------------------------------------------------------------------------------------------------------
# Arithmetic


@dataclass(frozen=True)
class Column:
    """One evaluated model of the arithmetic table."""

    title: str
    stage: StageResult
    trained: StageResult


def arithmetic_columns(results: Results) -> list[Column]:
    """The models that dag_eval looked at, those without the DAG last."""
    trained = {"dag": "dag_train", "plain": "mid_train.plain", **TRAINED_BY}
    order = list(ARITHMETIC)
    found = sorted(results.named("dag_eval"), key=lambda s: order.index(s.tag) if s.tag in order else len(order))
    return [Column(ARITHMETIC.get(s.tag, s.tag or "dag_eval"), s, results.stage(trained.get(s.tag, s.tag))) for s in found]


def _cells(results: Results) -> list[str]:
    found = [s.metrics for s in results.named("dag_eval")]
    return list(dict.fromkeys(name.partition("/")[2] for metrics in found for name in metrics if name.startswith("exact_match/")))


def operations(results: Results) -> list[str]:
    """The cells that count operations (`1_op`, `2_ops`), ascending."""
    return sorted((c for c in _cells(results) if re.fullmatch(r"\d+_ops?", c)), key=lambda c: int(c.partition("_")[0]))


def operations_title(cell: str) -> str:
    """`3` of `3_ops`, other cells as they are."""
    return cell.partition("_")[0] if re.fullmatch(r"\d+_ops?", cell) else cell.replace("_", " ")


def arithmetic(results: Results) -> str:
    """Exact match by number of operations, then by any other cell, a column per model."""
    columns = arithmetic_columns(results)
    counted = operations(results)
    rows = [_arithmetic_row(f"{operations_title(c)} {'operation' if c == '1_op' else 'operations'}", c, columns) for c in counted]
    rows += [_arithmetic_row(plain(operations_title(c)), c, columns) for c in _cells(results) if c not in counted]
    rows.append(_arithmetic_row("**all**", "", columns))
    rows.append(["parameters", "", *(value([(c.trained, "params")]) if c.trained.metrics.get("params") else "" for c in columns)])
    header = ["expressions with", "n", *(plain(c.title) for c in columns)]
    return table(header, [row for row in rows if row[0] != "parameters" or any(row[2:])], "lrrrrrrrr")


def _arithmetic_row(title: str, cell: str, columns: list[Column]) -> list[str]:
    scores = [score(c.stage.metrics, "exact_match", cell) for c in columns]
    cells = [interval(s) if s else MISSING if c.stage.state == DONE else state(c.stage, 40) for s, c in zip(scores, columns, strict=True)]
    return [title, _questions([s for s in scores if s]), *cells]


# ---------------------------------------------------------------------------------------------------------------------
# Tokenizer


def tokenizer(results: Results) -> str:
    """Bytes per token on each text, ours against GPT-2 and GPT-4."""
    stage = results.stage("tok_eval")
    if stage.state != DONE:
        return f"tok_eval: {state(stage, 160)}"
    names = [name.split("/") for name in stage.metrics if name.startswith("bytes_per_token/") and name.count("/") == 2]
    rows = [_text_row(stage.metrics, text) for text in dict.fromkeys(text for _, text, _ in names)]
    return table(["bytes per token", *TEXTS.values(), "against GPT-2", "against GPT-4"], rows, "lrrrrr")


def _text_row(metrics: dict, text: str) -> list[str]:
    found = [metrics.get(f"bytes_per_token/{text}/{who}") for who in TEXTS]
    shown = [exactly(2)(v) if is_number(v) else "not present" for v in found]
    against = [f"{100 * (found[0] / v - 1):+.1f} %" if is_number(v) and is_number(found[0]) and v else "" for v in found[1:]]
    return [plain(text.replace("_", " ")), *shown, *against]
