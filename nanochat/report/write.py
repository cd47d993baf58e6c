"""Writes the report: one Markdown page for people, its figures beside it, all of it from what `collect` found."""

import shlex
import textwrap
from datetime import datetime, timezone
from pathlib import Path

from nanochat import common
from nanochat.pipeline.ledger import located
from nanochat.report import costs, foresight, plots, tables
from nanochat.report.collect import DONE, FAILED, INTERRUPTED, NOT_RUN, UNREADABLE, Results, StageResult
from nanochat.report.sources import sources
from nanochat.report.text import (
    clean,
    code,
    count,
    details,
    duration,
    fenced,
    is_number,
    memory,
    number,
    percent,
    plain,
    shorten,
    table,
)

TRAINING = ("base_train", "dag_train", "mid_train", "chat_sft", "chat_rl")
CHAT_SOURCES = {"chat_rl": "rl", "chat_sft": "sft", "mid_train": "mid", "base_train": "base"}
LINE = 100  # characters before a quoted text is wrapped
LONGEST_QUOTE = 700  # characters of a question or an answer


def figures(results: Results) -> dict[str, str]:
    """File name -> SVG text of every figure there is something to draw for."""
    drawn = {"arithmetic": plots.arithmetic(results), "time": plots.time(results)}
    drawn |= {stage.label: plots.learning(stage) for stage in results.stages}
    return {f"{name}.svg": picture for name, picture in drawn.items() if picture}


def page(results: Results, pictures: dict[str, str], folder: str, price: float | None, answers: int) -> str:
    """The Markdown page. `folder` is where the page finds its pictures; `answers` is how many graded answers to show of each kind."""

    def picture(name: str, text: str) -> str:
        return f"![{text}]({folder}/{name}.svg)" if f"{name}.svg" in pictures else ""

    parts = [
        f"# nanochat report: {plain(results.profile)}",
        _stamp(results),
        summary(results),
        _alert(results),
        _talk(results),
        "## Stages",
        tables.stages(results),
        "## Models",
        tables.models(results),
        MODELS_NOTE,
        "## Arithmetic",
        picture("arithmetic", "Exact match by number of operations, with and without the DAG"),
        tables.arithmetic(results),
        ARITHMETIC_NOTE,
        *(_wrong(column.stage, column.title, answers) for column in tables.arithmetic_columns(results)),
        "## Data and tokenizer",
        _data(results),
        sources(results),
        tables.tokenizer(results),
        "## Training and evaluation, stage by stage",
        *(part for stage in results.stages for part in _stage(stage, picture(stage.label, f"Learning curves of {stage.label}"))),
        "## Samples of the base model",
        _samples(results.stage("base_eval")),
        "## Graded answers",
        _answers(results, answers),
        "## Time and cost",
        costs.time_words(results, price),
        picture("time", "Time by stage"),
        costs.time_table(results, price),
        "### Forecast and fact",
        foresight.section(results),
        "### Restarts",
        costs.restarts(results),
        "## Environment",
        _environment(results),
        "## Where everything lies",
        _places(results),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


MODELS_NOTE = (
    "In brackets the 95 % interval (Wilson); **bold** where guessing lies below it. Lower is better for bits per byte and loss, "
    "higher for everything else. CORE and ChatCORE are means over tasks of (accuracy − chance) / (1 − chance). The loss on unseen "
    "answers is in nats per token that the assistant says, each stage on the validation side of its own mixture. "
    "“–”: not measured by that stage."
)
ARITHMETIC_NOTE = (
    "Exact match of the printed number on expressions that no training set contains, in per cent, with the 95 % interval (Wilson). "
    "“MID without DAG” had the same training without the DAG tower; “predictor alone” is the tower before it is plugged in."
)


# ---------------------------------------------------------------------------------------------------------------------
# The top of the page


def _stamp(results: Results) -> str:
    times = [a.end["time"] for s in results.stages for a in s.attempts if a.end and is_number(a.end.get("time"))]
    times = times or [s.status["ended"] for s in results.stages if is_number(s.status.get("ended"))]
    when = datetime.fromtimestamp(max(times), timezone.utc).strftime("%Y-%m-%d %H:%M UTC") if times else "no stage has ended yet"
    return f"Profile {code(results.profile)} · {when} · commit {_commits(results)}"


def _commits(results: Results) -> str:
    commits = list(dict.fromkeys(str(line["commit"]) for line in results.starts if line.get("commit")))
    return ", ".join(map(code, commits)) or "not known (no git checkout)"


def summary(results: Results) -> str:
    """The main figures in plain words; a sentence whose figures are not there is left out."""
    words = [_trained(results), _reads(results), _calculates(results), _answers_tasks(results)]
    done = sum(s.state == DONE for s in results.stages)
    words.append(f"{done} of {len(results.stages)} stages are done.")
    return " ".join(sentence for sentence in words if sentence)


def _trained(results: Results) -> str:
    base, total = results.stage("base_train").metrics, sum(s.seconds or 0 for s in results.stages)
    if not is_number(base.get("params")):
        return f"The stages so far took {duration(total)}."
    tokens = f" on {number(base['tokens'])} tokens of text" if is_number(base.get("tokens")) else ""
    tower = results.stage("dag_train").metrics.get("params")
    beside = f" and a DAG tower of {number(tower)} beside it" if is_number(tower) else ""
    model = f"A language model with **{number(base['params'])} parameters**, pretrained{tokens}{beside}"
    return f"{model}; everything in this report took {duration(total)} {_on(results)}."


def _on(results: Results) -> str:
    line = next((line for line in reversed(results.starts) if isinstance(line.get("machine"), dict)), None)
    if not line:
        return "on a machine that the ledger does not describe"
    most = max((costs.gpus(s, a.start) for s in results.stages for a in s.attempts if a.start), key=lambda found: found[1], default=("", 0))
    if most[1]:
        return f"on {most[1]} × {plain(most[0])}"
    cores = line["machine"].get("cores")
    return f"on {cores} CPU cores" if cores != 1 else "on one CPU core"


def _reads(results: Results) -> str:
    for label in ("base_eval", "base_train"):
        bpb = results.stage(label).metrics.get("val_bpb")
        if is_number(bpb):
            core = results.stage("base_eval").metrics.get("core")
            and_core = f" and scores {core:.4f} on CORE" if is_number(core) else ""
            return f"The base model predicts held-out text with **{bpb:.3f} bits per byte**{and_core}."
    return ""


def _calculates(results: Results) -> str:
    found = {c.stage.tag: tables.score(c.stage.metrics, "exact_match", "") for c in tables.arithmetic_columns(results)}
    best = next((tag for tag in ("sft", "mid", "dag") if found.get(tag)), None)
    if not best:
        return ""
    cells = [tables.operations_title(cell) for cell in tables.operations(results)]
    range_ = f" with {cells[0]} to {cells[-1]} operations" if len(cells) > 1 else ""
    who = {"sft": "the chat model prints", "mid": "the midtrained model prints", "dag": "the DAG predictor finds"}[best]
    without = f"; without the DAG it is {percent(found['plain'].share)}" if found.get("plain") else ""
    n = f" {count(found[best].n)}" if found[best].n else ""
    return f"Of{n} unseen expressions{range_} {who} the exact result in **{percent(found[best].share)}**{without}."


def _answers_tasks(results: Results) -> str:
    for tag, who in (("sft", "after SFT"), ("mid", "after midtraining")):
        metrics = results.stage(f"chat_eval.{tag}").metrics
        tasks = [name for name in metrics if name.startswith("accuracy/")]
        if tasks and is_number(metrics.get("chatcore")):
            over = f"{len(tasks)} chat task{'s' if len(tasks) > 1 else ''}"
            return f"Over {over} the model reaches a ChatCORE of {metrics['chatcore']:.4f} {who} (0 is guessing, 1 is everything right)."
    return ""


def _alert(results: Results) -> str:
    """A box that names what went wrong or is missing; nothing when all is done."""
    broken = [s for s in results.stages if s.state in (FAILED, INTERRUPTED, UNREADABLE)]
    absent = [s for s in results.stages if s.state == NOT_RUN]
    outdated = [s for s in results.stages if s.outdated]
    items = [f"{code(s.label)} {tables.state(s, 300)}" for s in broken + outdated]
    items += [f"not run: {', '.join(code(s.label) for s in absent)}"] if absent else []
    return "\n".join(["> [!WARNING]", *(f"> - {item}" for item in items)]) if items else ""


def _talk(results: Results) -> str:
    command = chat_command(results)
    return f"Talk to it:\n\n{fenced(command, 'bash')}" if command else ""


def chat_command(results: Results) -> str:
    """The command that chats with the furthest trained model, "" before any is trained."""
    source = next((source for label, source in CHAT_SOURCES.items() if results.stage(label).state == DONE), "")
    if not source:
        return ""
    base = _home(results.base)
    quoted = "~/" + shlex.quote(base[2:]) if base.startswith("~/") else shlex.quote(base)  # a quoted ~ would stay a ~
    return (f"NANOCHAT_BASE_DIR={quoted} " if base != "~/.cache/nanochat" else "") + common.typed(f"python -m scripts.chat_cli -i {source}")


def _home(path: Path) -> str:
    """The path with the home directory as ~."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) and path != home else str(path)


# ---------------------------------------------------------------------------------------------------------------------
# Parts


def _stage(stage: StageResult, picture: str) -> list[str]:
    """Heading, state, figures, curve, settings of one stage."""
    took = f", {stage.took}" if stage.seconds is not None else ""
    said = f": {tables.headline(stage)}" if tables.headline(stage) else ""
    curve = picture or ("It logged no curve." if stage.name in TRAINING and stage.state != NOT_RUN else "")
    folded = {"CORE by task": tables.core_tasks(stage), "Settings": tables.settings(stage)}
    parts = [f"### {stage.label}", f"{tables.state(stage, 300)}{took}{said}", tables.figures(stage), curve]
    return parts + [details(title, body) for title, body in folded.items() if body]


def _data(results: Results) -> str:
    """What the models were trained on."""
    rows = []
    for label in ("tok_train", "base_train", "dag_train", "mid_train", "chat_sft"):
        stage = results.stage(label)
        rows.append([code(label), _data_of(stage) if stage.state == DONE else tables.state(stage)])
    return table(["stage", "trained on"], rows)


# what a stage trains on: its settings and what to call them, then its figures
SOURCE_SETTINGS = {"text": "text", "mixture": "tasks", "arithmetic": "generated expressions", "operations": "operations up to"}
SOURCE_FIGURES = ("documents", "text_tokens", "conversations", "examples", "tokens", "vocab_size", "bytes_per_token")


def _data_of(stage: StageResult) -> str:
    chosen = {words: stage.config.get(key) for key, words in SOURCE_SETTINGS.items()}
    said = [f"{words} {code(shorten(_listed(v), 200))}" for words, v in chosen.items() if v not in (None, "", [])]
    known = [(tables.FIGURES.get(name, (name, number)), stage.metrics.get(name)) for name in SOURCE_FIGURES]
    counted = [f"{plain(label)} {plain(form(v))}" for (label, form), v in known if v is not None]
    return " · ".join(said + counted) or "nothing written down"


def _listed(setting) -> str:
    return ", ".join(map(str, setting)) if isinstance(setting, (list, tuple)) else str(setting)


def _samples(stage: StageResult) -> str:
    """What the base model goes on to write, each prompt on a line of its own."""
    if stage.state != DONE:
        return f"base_eval: {tables.state(stage, 160)}"
    found = [row for row in stage.lines("samples.jsonl") if row.get("text")]
    blocks = [f"{_wrapped(row.get('prompt') or '(no prompt)')}\n{_wrapped(row['text'], '    ')}" for row in found]
    return fenced("\n\n".join(blocks)) if blocks else "None were written."


def _wrong(stage: StageResult, title: str, each: int) -> str:
    """The first wrong answers to arithmetic of each number of operations, folded."""
    by_cell: dict[str, list[dict]] = {}
    for row in stage.lines("wrong.jsonl"):
        by_cell.setdefault(str(row.get("cell")), []).append(row)
    shown = [row for rows in by_cell.values() for row in rows[:each]]
    rows = [[shorten(row.get(name, ""), limit) for name, limit in (("question", 64), ("answer", 20), ("said", 40))] for row in shown]
    return details(f"Wrong answers: {plain(title)}", fenced(_aligned([["question", "expected", "answered"], *rows]))) if rows else ""


def _aligned(rows: list[list[str]]) -> str:
    """Rows of words as columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("   ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _answers(results: Results, each: int) -> str:
    """Right and wrong answers of the furthest evaluated model, task by task, folded."""
    evaluated = {s.tag: s for s in results.named("chat_eval")}
    stage = next((evaluated[tag] for tag in reversed(tables.MODELS) if tag in evaluated and evaluated[tag].state == DONE), None)
    if stage is None:
        return "\n".join(f"- {code(s.label)}: {tables.state(s, 160)}" for s in evaluated.values()) or "chat_eval: not run"
    files = sorted(path.name for path in stage.folder.glob("*.jsonl") if path.name != "metrics.jsonl")
    parts = [_task_answers(tables.TASKS.get(Path(name).stem, Path(name).stem), stage.lines(name), each) for name in files]
    said = [f"From {code(stage.label)}: the first right and wrong answers of each task."]
    return "\n\n".join(said + [part for part in parts if part]) if any(parts) else f"{code(stage.label)} wrote no answers down."


def _task_answers(task: str, rows: list[dict], each: int) -> str:
    right, wrong = [r for r in rows if r.get("right")], [r for r in rows if not r.get("right")]
    if not rows or each < 1:
        return ""
    blocks = [_graded(row) for row in right[:each] + wrong[:each]]
    return details(f"{plain(task)}: {len(right)} right, {len(wrong)} wrong", fenced("\n\n".join(blocks)))


def _graded(row: dict) -> str:
    verdict = "RIGHT" if row.get("right") else "WRONG"
    parts = (("question ", row.get("question", "")), ("expected ", row.get("answer", "")), ("answered ", row.get("completion", "")))
    return "\n".join([f"[{verdict}]", *(_wrapped(_cut(text), " " * len(name), name) for name, text in parts)])


def _cut(text) -> str:
    text = str(text).strip() or "(nothing)"
    return text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + " …"


def _wrapped(text, indent: str = "", first: str | None = None) -> str:
    """Free text wrapped at `LINE`, its own line breaks kept."""
    first = indent if first is None else first
    out = []
    for line in clean(text).strip().split("\n"):
        out += textwrap.wrap(line, LINE, initial_indent=indent if out else first, subsequent_indent=indent) or [""]
    return "\n".join(out)


def _environment(results: Results) -> str:
    starts = results.starts
    machines = [line["machine"] for line in starts if isinstance(line.get("machine"), dict)]
    packages = [line["packages"] for line in starts if isinstance(line.get("packages"), dict)]
    commits = [str(line.get("commit") or "") for line in starts]
    rows = [
        ["host", _each(line.get("host") for line in starts)],
        ["processor", _each(f"{m.get('cpu')}, {m.get('cores')} cores" for m in machines)],
        ["memory", _each(memory(m.get("ram_bytes")) for m in machines)],
        ["GPU", _each(_gpu(m) for m in machines)],
        ["processes", _each(line.get("world") for line in starts)],
        ["Python", _each(line.get("python") for line in starts)],
        *([name, _each(p.get(name) for p in packages)] for name in dict.fromkeys(name for p in packages for name in p)),
        ["commit", _commits(results)],
        ["uncommitted changes", _each("yes" if c.endswith("-dirty") else "no" for c in commits if c)],
        ["Slurm job", _each(line.get("slurm_job_id") for line in starts) or "none"],
    ]
    return table(["what", "in this run"], [[plain(name), found or "not recorded"] for name, found in rows])


def _gpu(machine: dict) -> str:
    return f"{machine.get('gpus')} × {machine['gpu']}, {memory(machine.get('gpu_bytes'))} each" if machine.get("gpu") else "none"


def _each(values) -> str:
    """The different values, most runs have one."""
    return ", ".join(dict.fromkeys(plain(v) for v in values if v not in (None, "")))


def _places(results: Results) -> str:
    """Outputs of each stage and the logs, below the base directory."""
    rows = []
    for stage in results.stages:
        if stage.state == DONE:
            outputs = [path for path in map(located, stage.status.get("outputs") or {}) if not path.is_relative_to(stage.folder)]
            where = "<br>".join(code(_below(path, results.base)) for path in outputs)
        else:
            where = tables.state(stage, 40)
        if where:
            rows.append([code(stage.label), where])
    rows.append(
        ["state, curves, answers of a stage", f"{code('stages/<stage>/')}: {code('status.json')}, {code('metrics.jsonl')} and others"]
    )
    rows.append(["every start and end of a stage", code("ledger.jsonl")])
    return f"Below the base directory {code(_home(results.base))}:\n\n" + table(["what", "where"], rows)


def _below(path: Path, base: Path) -> str:
    return str(path.relative_to(base)) if path.is_relative_to(base) else _home(path)


# ---------------------------------------------------------------------------------------------------------------------
# Files


def write(results: Results, out: Path, price: float | None, answers: int) -> list[Path]:
    """Writes `out` and its pictures in the folder beside it that is named after it. Gives the paths written."""
    pictures = figures(results)
    folder = out.with_suffix("")
    text = page(results, pictures, folder.name, price, answers)
    for name, picture in pictures.items():
        common.write_text(folder / name, picture)
    common.write_text(out, text)
    return [out, *(folder / name for name in pictures)]
