"""What a run took: time by stage, GPU hours and their price, restarts. From the ledger and the stages' seconds."""

import re
from dataclasses import dataclass

from nanochat.report.collect import DONE, FAILED, INTERRUPTED, NOT_RUN, RUNNING, Results, StageResult
from nanochat.report.tables import state
from nanochat.report.text import MISSING, code, count, duration, is_number, percent, table

# US dollars for an hour of one card, typical of rented machines; the first name found in the card's name counts.
PRICES = {"B200": 5.0, "H200": 3.5, "H100": 3.0, "A100": 1.8, "L40S": 1.2, "A6000": 0.8, "A10": 0.75, "L4": 0.7, "V100": 0.55, "T4": 0.35}
OTHER_PRICE = 2.0


@dataclass(frozen=True)
class Cost:
    """Of one stage: seconds, hours of GPUs, and dollars; GPU hours are 0 on a CPU."""

    stage: StageResult
    seconds: float
    gpu_hours: float
    dollars: float


def costs(results: Results, price: float | None) -> list[Cost]:
    """A cost for every stage that ran. `price` of a GPU hour in dollars; None takes that of the card from the table."""
    return [_cost(stage, price) for stage in results.stages if stage.seconds is not None]


def _cost(stage: StageResult, price: float | None) -> Cost:
    hours = dollars = 0.0
    for attempt in stage.attempts:
        card, cards = gpus(stage, attempt.start or attempt.end)
        hours += attempt.seconds * cards / 3600
        dollars += attempt.seconds * cards / 3600 * (price_of(card) if price is None else price)
    return Cost(stage, stage.seconds, hours, dollars)


def gpus(stage: StageResult, line: dict) -> tuple[str, int]:
    """(name of the card, number of cards a stage used), ("", 0) on a CPU; a process uses one card."""
    machine = line.get("machine") if isinstance(line.get("machine"), dict) else {}
    if not machine.get("gpu") or stage.config.get("device") in ("cpu", "mps"):
        return "", 0
    return str(machine["gpu"]), int(line.get("world") or 1)


def price_of(card: str) -> float:
    """Dollars for an hour of a card, by its name."""
    return next((price for name, price in PRICES.items() if re.search(rf"\b{name}\b", card)), OTHER_PRICE)


def wall_clock(results: Results) -> float | None:
    """Seconds from the first start to the last end that belong to the present results, pauses included."""
    attempts = [attempt for stage in results.stages for attempt in stage.attempts]
    starts = [a.start["time"] for a in attempts if a.start and is_number(a.start.get("time"))]
    ends = [a.end["time"] for a in attempts if a.end and is_number(a.end.get("time"))]
    return max(ends) - min(starts) if starts and ends else None


def time_table(results: Results, price: float | None) -> str:
    """Seconds and share per stage; with GPU hours and dollars where a GPU was used."""
    found = {cost.stage.label: cost for cost in costs(results, price)}
    total = sum(cost.seconds for cost in found.values())
    with_gpu = any(cost.gpu_hours for cost in found.values())
    rows = [[code(s.label), *_time_row(s, found.get(s.label), total)] for s in results.stages]
    rows.append(["**all**", *(f"**{cell}**" if cell else "" for cell in _time_cells(list(found.values()), total))])
    header = ["stage", "time", "share", "GPU hours", "cost"]
    return table(header if with_gpu else header[:3], [row if with_gpu else row[:3] for row in rows], "lrrrr")


def _time_row(stage: StageResult, cost: Cost | None, total: float) -> list[str]:
    return [stage.took, *_time_cells([cost], total)[1:]] if cost else [state(stage, 40), "", "", ""]


def _time_cells(parts: list[Cost], total: float) -> list[str]:
    seconds = sum(part.seconds for part in parts)
    hours, dollars = sum(part.gpu_hours for part in parts), sum(part.dollars for part in parts)
    return [duration(seconds), percent(seconds / total) if seconds else "", f"{hours:.2f}", f"$ {dollars:.2f}"]


def time_words(results: Results, price: float | None) -> str:
    """The totals in a sentence or two."""
    found = costs(results, price)
    total, clock = sum(c.seconds for c in found), wall_clock(results)
    words = [f"All stages together took **{duration(total)}**"]
    if clock is not None:
        words.append(f", and {duration(clock)} passed between the first start and the last end in the ledger (pauses and waiting included)")
    hours, dollars = sum(c.gpu_hours for c in found), sum(c.dollars for c in found)
    if not hours:
        return "".join(words) + ". No GPU was used: 0 GPU hours, $ 0."
    cards = sorted({gpus(s, a.start or a.end)[0] for s in results.stages for a in s.attempts} - {""})
    prices = ", ".join(f"{card} at $ {price_of(card) if price is None else price:.2f} an hour" for card in cards)
    return "".join(words) + f". That is {hours:.2f} GPU hours, about **$ {dollars:.2f}** ({prices})."


def restarts(results: Results) -> str:
    """How often each stage was interrupted, failed or killed on the way to the present result."""
    rows = []
    for stage in results.stages:
        ends = [attempt.state for attempt in stage.attempts]
        killed = ends.count(None) - (stage.state == RUNNING)
        if stage.state != NOT_RUN and (ends.count(FAILED) or ends.count(INTERRUPTED) or killed or stage.earlier):
            cells = (len(ends), ends.count(INTERRUPTED), ends.count(FAILED), killed, stage.earlier)
            rows.append([code(stage.label), *(count(n) if n else MISSING for n in cells), state(stage, 40)])
    if not rows:
        ran = [s for s in results.stages if s.attempts]
        everyone = "Every stage that ran was" if any(s.state != DONE for s in results.stages) else "Every stage was"
        return f"{everyone} done at its first attempt." if ran else "The ledger tells of no attempt."
    return table(["stage", "attempts", "interrupted", "failed", "killed", "complete results before", "now"], rows, "lrrrrrl")
