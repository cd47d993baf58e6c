"""What an examination of a machine or a run finds: one line each, with its remedy, and the exit code that follows."""

from collections.abc import Iterable
from dataclasses import dataclass

from nanochat import common

OK, WARN, BAD = "ok", "warn", "bad"
EXIT_OK, EXIT_WARN, EXIT_BAD = 0, 1, 2


@dataclass(frozen=True)
class Verdict:
    """`level`: ok, warn (it will run, but look at this) or bad (it would stop). `text`: what was found, and what to do about it.

    A command in it is written `python -m ...` and shown as it works for that person: see `common.typed`.
    """

    level: str
    text: str

    def __str__(self) -> str:
        return f"{self.level:<4}  {common.typed(' '.join(self.text.split()))}"


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """0 if all is well, 1 with warnings only, 2 with anything that would stop."""
    levels = {verdict.level for verdict in verdicts}
    return EXIT_BAD if BAD in levels else EXIT_WARN if WARN in levels else EXIT_OK


def count(verdicts: list[Verdict]) -> str:
    """`2 bad, 1 warning`, or `nothing to mend`."""
    bad, warnings = (sum(v.level == level for v in verdicts) for level in (BAD, WARN))
    parts = [f"{bad} bad"] * bool(bad) + [f"{warnings} warning{'s' * (warnings > 1)}"] * bool(warnings)
    return ", ".join(parts) or "nothing to mend"
