"""The checkpoints under the base directory.

    python -m scripts.checkpoints ls                       id, size, age, what was measured, which is the best, what it came from
    python -m scripts.checkpoints verify [ID]              reads every file again; exit code 1 if one is not as it was written
    python -m scripts.checkpoints diff ID ID               settings and weights in which two differ
    python -m scripts.checkpoints lineage ID               from which checkpoint it came, and that one, and so on
    python -m scripts.checkpoints prune [--keep=1] [--keep_best=1] [--yes]
                                                           names, and with --yes removes, all but the newest, the best and what
                                                           those came from; damaged ones are neither

An ID is `<stage>/<tag>/step_<n>`, or the beginning of one: `base_train`, `mid_train/plain`; then the newest is meant. With
`/best` after it (`base_train/best`) the best evaluated is.
"""

import sys
from dataclasses import dataclass

from nanochat import common
from nanochat.common import UserError, duration
from nanochat.config import at_least, nearest, option, parse


@dataclass
class Config:
    keep: int = option(1, "checkpoints of each stage and tag that prune leaves", "checkpoints")
    keep_best: int = option(1, "evaluated checkpoints of each stage and tag that it leaves beside them, the best", "checkpoints")
    yes: bool = option(False, "prune removes them")


WORDS = {"ls": (0, 0), "verify": (0, 1), "diff": (2, 2), "lineage": (1, 1), "prune": (0, 0)}  # command: fewest and most ids


def main(argv: list[str] | None = None) -> int:
    """Runs a command; its exit code: 0 fine, 1 a checkpoint is damaged, 2 wrong usage."""
    common.stay_home()
    argv = list(sys.argv[1:] if argv is None else argv)
    words, options = [w for w in argv if not w.startswith("-")], [w for w in argv if w.startswith("-")]
    try:
        config = parse(Config, "checkpoints", options)
        at_least(config, 1, "keep")
        at_least(config, 0, "keep_best")
        command, *ids = words or [""]
        if command not in WORDS:
            raise UserError(f"say what to do{nearest(command, WORDS)}: {', '.join(WORDS)}")
        if not WORDS[command][0] <= len(ids) <= WORDS[command][1]:
            raise UserError(f"'{command}' takes {' to '.join(map(str, sorted(set(WORDS[command]))))} checkpoint ids, not {len(ids)}")
        return globals()[f"_{command}"](config, *ids)
    except UserError as error:
        common.say(f"checkpoints: {error}")
        return 2


def _ls(config: Config) -> int:
    from nanochat.train.inspection import best, by_run, entries

    found = entries()
    width = max((len(e.id) for e in found), default=0)
    winners = {e.id for group in by_run(found) for e in best(group)[:1]}
    for e in found:
        told = [e.figures(), "best" if e.id in winners else "", f"from {', '.join(e.parents)}" if e.parents else ""]
        print(f"{e.id:<{width}}  {e.size / 1e6:>9,.1f} MB  {duration(e.age):>12} old  {'  '.join(filter(None, told))}")
    if not found:
        common.say(f"there is no checkpoint under {common.base_dir() / 'checkpoints'}")
    return 0


def _verify(config: Config, name: str = "") -> int:
    from nanochat.train.checkpoint import damage
    from nanochat.train.inspection import entries, entry

    found = entries()
    bad = 0
    for e in [entry(name, found)] if name else found:
        reason = damage(e.path)
        bad += bool(reason)
        print(f"{'bad' if reason else 'ok':<4} {e.id}{': ' + reason if reason else ''}")
    return int(bad > 0)


def _diff(config: Config, one: str, two: str) -> int:
    from nanochat.train.inspection import difference, entries, entry

    found = entries()
    print("\n".join(difference(entry(one, found), entry(two, found))))
    return 0


def _lineage(config: Config, name: str) -> int:
    from nanochat.train.inspection import entries, entry, lineage

    found = entries()
    there = {e.id for e in found}
    for generation, came in lineage(entry(name, found), found):
        print(f"{'  ' * generation}{came}{'' if came in there else ' (no longer there)'}")
    return 0


def _prune(config: Config) -> int:
    from nanochat.train.inspection import entries, remove, superfluous

    unwanted = superfluous(entries(), config.keep, config.keep_best)
    for e in unwanted:
        print(f"{e.id}  {e.size / 1e6:,.1f} MB{f'  damaged: {e.damage}' if e.damage else ''}")
    if not unwanted:
        common.say("there is nothing to remove")
    elif config.yes:
        common.say(f"removed {len(unwanted)} checkpoints, {remove(unwanted) / 1e6:,.1f} MB")
    else:
        common.say("nothing was removed; --yes removes these")
    return 0


if __name__ == "__main__":
    sys.exit(main())
