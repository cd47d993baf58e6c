"""Counts how many numbers in the answers of the tasks get a plan for the tower to learn, and why the others do not.

    python -m scripts.dag_labels --data_dir=DIR
    python -m scripts.dag_labels --data_dir=DIR --tasks=gsm8k_direct --plan_steps=3

A number counts if its data set gives the arithmetic behind it (GSM8K's `<<48/2=24>>`, an equation). Needs a tokenizer. A problem counts
as whole if every such number in its answer has a plan.
"""

import sys
from collections import Counter
from dataclasses import dataclass

import torch

from nanochat import common
from nanochat.common import UserError
from nanochat.config import at_least, option, parse
from nanochat.dag.numbers import NumberTable
from nanochat.dag.placing import Unplaced, grounds_of, place
from nanochat.data.conversations import render
from nanochat.data.tokenizer import Tokenizer
from tasks.common import load_task, present

PLANNED = ["gsm8k_plans", "gsm8k_direct", "mawps", "asdiv", "svamp"]


@dataclass
class Config:
    data_dir: str = option("", "folder of the data files")
    tasks: list = option(PLANNED, "tasks to count")
    splits: list = option(["train", "val", "test"], "their splits; those that are not there are left out")
    plan_steps: int = option(2, "operations a token may carry out", "operations")
    mode: str = option("tape", "where a plan may stand: tape or isolated", choices=("tape", "isolated"))


@dataclass
class Counts:
    """Of one split: its problems, those with every number planned, the numbers planned, and for the others why not."""

    problems: int
    whole: int
    planned: int
    reasons: Counter

    @property
    def numbers(self) -> int:
        return self.planned + self.reasons.total()


def main(argv: list[str] | None = None) -> int:
    """Runs the program; its exit code: 0 fine, 2 wrong usage, no tokenizer or no data."""
    try:
        config = parse(Config, "dag_labels", sys.argv[1:] if argv is None else argv)
        at_least(config, 1, "plan_steps")
        tokenizer, folder = Tokenizer.load(), common.data_dir(config.data_dir)
        there = [(name, split) for name in config.tasks for split in config.splits if present(name, folder, split)]
        if not there:
            raise UserError(f"none of these tasks has a file under {folder}; give the folder with --data_dir")
        for name, split in there:
            print("\n".join(lines(f"{name}, {split}", count(load_task(name, folder, split), tokenizer, config.plan_steps, config.mode))))
        return 0
    except UserError as error:
        common.say(f"dag_labels: {error}")
        return 2


def count(conversations, tokenizer, steps: int, mode: str) -> Counts:
    """What becomes of the plans of some conversations."""
    table, counts = NumberTable(tokenizer), Counts(0, 0, 0, Counter())
    for conversation in conversations:
        missing = _unplanned(conversation)
        item = render(tokenizer, conversation)
        ground = grounds_of(torch.tensor([item.ids]), table, tokenizer.bos_id)[0] if item.plans else None
        for plan in item.plans:
            try:
                place(plan, 0, ground, steps, mode)
                counts.planned += 1
            except Unplaced as error:
                missing.append(str(error))
        counts.problems += 1
        counts.whole += bool(item.plans) and not missing
        counts.reasons.update(missing)
    return counts


def _unplanned(conversation: dict) -> list[str]:
    """Why numbers of a conversation came without a plan."""
    parts = list(conversation["messages"])
    parts += [part for message in parts if not isinstance(message["content"], str) for part in message["content"]]
    return [part["unplanned"] for part in parts if "unplanned" in part]


def lines(title: str, counts: Counts) -> list[str]:
    """The counts as text."""

    def share(n: int, of: int) -> str:
        return f"{n:,} of {of:,} ({100 * n / max(of, 1):.1f} %)"

    planned, whole = share(counts.planned, counts.numbers), share(counts.whole, counts.problems)
    reasons = [f"    {n:6,}  {reason}" for reason, n in counts.reasons.most_common()]
    return [f"{title}: {planned} numbers have a plan, {whole} problems throughout", *reasons]


if __name__ == "__main__":
    raise SystemExit(main())
