"""Which figures a report has, and from which metrics: learning curves per stage, arithmetic by operations, time by stage."""

from collections.abc import Iterable
from dataclasses import dataclass

from nanochat.report import svg
from nanochat.report.collect import DONE, Results, StageResult
from nanochat.report.tables import arithmetic_columns, operations, operations_title, score
from nanochat.report.text import exactly, is_number, number

ARITHMETIC_COLOURS = {"dag": "#56b4e9", "mid": "#0072b2", "sft": "#009e73", "plain": "#d55e00"}  # cool with the DAG, warm without


@dataclass(frozen=True)
class Curve:
    """A panel of a stage's figure and the names in metrics.jsonl that belong into it (name -> what the legend says)."""

    title: str
    names: dict[str, str]
    format: object = number
    percent: bool = False
    smooth: bool = False


DECISIONS = {"operation_match": "operation", "operand_match": "operands"}
CURVES = (
    Curve("training loss", {"loss": "loss", "train_loss": "loss"}, exactly(3), smooth=True),
    Curve("bits per byte, held-out", {"val_bpb": "validation"}, exactly(3)),
    Curve("loss on unseen answers", {"val_loss": "validation"}, exactly(3)),
    Curve(
        "right on unseen examples (%)",
        {"answer_match": "answer", "plan_match": "whole plan", "problem_match": "word problem", "val_accuracy": "question"},
        exactly(1),
        percent=True,
    ),
    Curve(
        "sampled answers right (%)",
        {"reward": "training", "advantage_share": "questions to learn from"},
        exactly(1),
        percent=True,
        smooth=True,
    ),
    Curve(
        "DAG decisions right (%)",
        DECISIONS | {f"dag/{name}": text for name, text in DECISIONS.items()},
        exactly(1),
        percent=True,
    ),
    Curve("DAG gate (%)", {"dag/gate_open": "where it prints", "dag/gate_closed": "elsewhere"}, exactly(1), percent=True),
    Curve(
        "DAG operations (%)",
        {"dag/operation_sharpness": "certainty", "dag/operation_diversity": "diversity"},
        exactly(1),
        percent=True,
    ),
    Curve("learning rate (share of peak)", {"lr": "learning rate"}, None),
)


def learning(stage: StageResult) -> str | None:
    """The learning curves of a stage, a panel per kind; None if it logged nothing that makes a line."""
    panels = [panel for curve in CURVES if (panel := _panel(curve, stage))]
    return svg.lines(panels, f"Learning curves of {stage.label}") if panels else None


def _panel(curve: Curve, stage: StageResult) -> svg.Panel | None:
    series = []
    for name, legend in curve.names.items():
        points = stage.curves.get(name, [])
        if sum(is_number(y) for _, y in points) > 1:
            series += _series(legend, [(x, 100 * y) for x, y in points] if curve.percent else points, curve.smooth)
    return svg.Panel(curve.title, series, format=curve.format, bounds=(0, 100) if curve.percent else None) if series else None


def _series(legend: str, points: list, smooth: bool) -> Iterable[svg.Series]:
    """A line; a restless one as its moving average before a faint picture of itself."""
    if smooth and len(points) > 40:
        yield svg.Series(legend, points, faint=True)
        points = svg.smooth(points)
    yield svg.Series(legend, points)


def arithmetic(results: Results) -> str | None:
    """Exact match by number of operations, a bar for each evaluated model; None before any was evaluated."""
    columns, cells = arithmetic_columns(results), operations(results)
    if not cells:
        return None
    left = [colour for colour in svg.COLOURS if colour not in ARITHMETIC_COLOURS.values()]
    colours = [ARITHMETIC_COLOURS.get(column.stage.tag) or left[i % len(left)] for i, column in enumerate(columns)]
    series = [(c.title, colour, [_bar(c.stage, cell) for cell in cells]) for c, colour in zip(columns, colours, strict=True)]
    title = "Arithmetic on unseen expressions: share of answers that are exactly right"
    return svg.bars([operations_title(cell) for cell in cells], series, title, "operations in the expression")


def _bar(stage: StageResult, cell: str) -> svg.Bar:
    found = score(stage.metrics, "exact_match", cell)
    return svg.Bar(found.share, found.low, found.high) if found else svg.Bar(word=stage.state if stage.state != DONE else "not measured")


def time(results: Results) -> str | None:
    """Seconds per stage as bars; None before any stage ran."""
    rows = [svg.Row(s.label, s.seconds, _time_text(s), _colour(s)) for s in results.stages if s.seconds is not None]
    return svg.rows(rows, "Time by stage") if rows else None


def _time_text(stage: StageResult) -> str:
    return stage.took + ("" if stage.state == DONE else f", {stage.state}")


def _colour(stage: StageResult) -> str:
    return svg.COLOURS[0] if stage.state == DONE else svg.COLOURS[1]
