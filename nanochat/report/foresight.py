"""What the forecast said of each stage, beside what it took."""

from nanochat.common import UserError
from nanochat.pipeline import forecast, plan
from nanochat.pipeline.forecast import Fact
from nanochat.report.collect import Results
from nanochat.report.text import code, duration, plain, table


def section(results: Results) -> str:
    """A sentence and a table, or why there is none."""
    try:
        facts = forecast.facts(results.profile, plan.make_plan(results.profile, processes=1))
    except (UserError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:  # a damaged status spoils no report
        return f"The forecast cannot be compared: {plain(error)}."
    if not facts:
        return "No stage that was done at one go can be compared with the forecast."
    rows = [_row(fact) for fact in facts]
    return f"{_sentence(facts)}\n\n{table(['stage', 'forecast', 'between', 'took', 'took / forecast', 'rests on'], rows, 'lrrrrl')}"


def _row(fact: Fact) -> list[str]:
    said = fact.said
    took = f"{duration(fact.seconds)}{'' if _within(fact) else ' (outside)'}"
    between = f"{duration(said.low)} – {duration(said.high)}"
    return [code(fact.work.label), duration(said.mid), between, took, f"{fact.seconds / said.mid:.2f}", fact.basis]


def _within(fact: Fact) -> bool:
    return fact.said.low <= fact.seconds <= fact.said.high


def _sentence(facts: list[Fact]) -> str:
    said, took = sum(fact.said.mid for fact in facts), sum(fact.seconds for fact in facts)
    inside = sum(map(_within, facts))
    return (
        f"On {facts[0].machine.name} {duration(said)} were to be expected and {duration(took)} were needed (stages done at one go); "
        f"{inside} of {len(facts)} lay within their intervals. The next forecast in this base directory rests on what was measured here."
    )
