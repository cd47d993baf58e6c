"""Looking at the checkpoints under the base directory: what there is, where it came from, whether it is whole, how two differ."""

import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from safetensors import safe_open

from nanochat import common
from nanochat.common import UserError
from nanochat.train import checkpoint


@dataclass
class Entry:
    """A finished checkpoint: its id, folder, meta.json ({} if unreadable), bytes, age in seconds, and what is wrong with its files
    (None: nobody has looked)."""

    id: str
    path: Path
    meta: dict
    size: int
    age: float
    damage: str | None = None

    @property
    def parents(self) -> list[str]:
        """Ids of what it was made from: the model that was trained further, and the tower that was plugged in."""
        return [name for name in (self.meta.get("parent"), self.meta.get("tower")) if name]

    def is_whole(self) -> bool:
        """Whether its files are as they were written; reads them all."""
        if self.damage is None:
            self.damage = checkpoint.damage(self.path)
        return not self.damage

    def figures(self) -> str:
        """The measured values that tell checkpoints apart."""
        values = self.meta.get("metrics") or {}
        return ", ".join(f"{name} {value:.4g}" for name, value in values.items() if name in ("val_bpb", "val_loss", "answer_match"))


def entries() -> list[Entry]:
    """Every finished checkpoint, by stage and tag, oldest step first."""
    found, now = [], time.time()
    for name in checkpoint.existing():
        path = common.base_dir() / "checkpoints" / name
        files = [p.stat() for p in path.iterdir() if p.is_file()]
        age = now - max(s.st_mtime for s in files)
        found.append(Entry(name, path, common.read_json(path / checkpoint.META) or {}, sum(s.st_size for s in files), age))
    return sorted(found, key=lambda e: (e.path.parent, checkpoint.step_of(e.path)))


def entry(name: str, among: list[Entry]) -> Entry:
    """The checkpoint people mean by an id, or by the beginning of one (its newest, with "/best" its best); UserError if there is none."""
    beginning, _, last = name.rstrip("/").rpartition("/")
    by_score = last == checkpoint.BEST
    matching = [e for e in among if e.id == name or e.id.startswith((beginning if by_score else name.rstrip("/")) + "/")]
    if by_score:
        matching = best(matching)
    if not matching:
        there = ", ".join(e.id for e in among) or "none"
        raise UserError(f"there is no checkpoint '{name}'; there are: {there}")
    return matching[0] if by_score else min(reversed(matching), key=lambda e: e.age)


def best(among: list[Entry]) -> list[Entry]:
    """Those that have a score, the best first; of equals the newest."""
    return sorted((e for e in reversed(among) if e.meta.get("score")), key=lambda e: -checkpoint.merit(e.meta))


def lineage(start: Entry, among: list[Entry]) -> list[tuple[int, str]]:
    """(generation, id) of a checkpoint and of all that it came from, each once; some may be no longer there."""
    by_id, line, seen = {e.id: e for e in among}, [], set()

    def visit(name: str, generation: int) -> None:
        if name in seen:
            return
        seen.add(name)
        line.append((generation, name))
        for parent in by_id[name].parents if name in by_id else []:
            visit(parent, generation + 1)

    visit(start.id, 0)
    return line


def difference(a: Entry, b: Entry) -> list[str]:
    """Lines that tell how two checkpoints differ: settings of the model and of its training, what only one has, and by how much the
    weights do. UserError if one is damaged."""
    for e in (a, b):
        if not e.is_whole():
            raise UserError(f"{e.id} is damaged: {e.damage}; compare another one")
    unnoted = [e.id for e in (a, b) if "settings" not in e.meta]  # by an earlier version
    lines = [f"settings: not noted in {name}" for name in unnoted]
    for part in ("model_config", "branch_config", "tokenizer_hash", *([] if unnoted else ["settings"])):
        mine, other = (_flat(part, e.meta.get(part)) for e in (a, b))
        lines += [
            f"{key}: {mine.get(key)} | {other.get(key)}" for key in sorted(mine.keys() | other.keys()) if mine.get(key) != other.get(key)
        ]
    with safe_open(a.path / checkpoint.MODEL, "pt") as one, safe_open(b.path / checkpoint.MODEL, "pt") as two:
        names, others = set(one.keys()), set(two.keys())
        lines += [f"{name}: only in {e.id}" for e, only in ((a, names - others), (b, others - names)) for name in sorted(only)]
        same = 0
        for name in sorted(names & others):
            x, y = one.get_tensor(name), two.get_tensor(name)
            if x.shape != y.shape:
                lines.append(f"{name}: {tuple(x.shape)} | {tuple(y.shape)}")
            elif torch.equal(x, y):
                same += 1
            else:
                size = (x.double() - y.double()).norm() / x.double().norm().clamp(min=1e-30)
                lines.append(f"{name}: differs by {size:.3g} of its norm")
    return [*lines, f"{same} of {len(names | others)} tensors are equal"]


def _flat(prefix: str, values) -> dict:
    if not isinstance(values, dict):
        return {prefix: values}
    return {k: v for name, value in values.items() for k, v in _flat(f"{prefix}.{name}", value).items()}


def by_run(among: list[Entry]) -> list[list[Entry]]:
    """The checkpoints of each stage and tag together."""
    groups: dict[Path, list[Entry]] = {}
    for e in among:
        groups.setdefault(e.path.parent, []).append(e)
    return list(groups.values())


def superfluous(among: list[Entry], keep: int, keep_best: int) -> list[Entry]:
    """All but the newest `keep` and the best `keep_best` of each stage and tag, and what a kept one came from.

    Damaged ones count for nothing, as for a run that goes on; but a run that has no other keeps them."""
    kept = []
    for group in by_run(among):
        newest = list(islice((e for e in reversed(group) if e.is_whole()), keep))
        kept += [*newest, *islice((e for e in best(group) if e.is_whole()), keep_best)] if newest else group
    needed = {name for e in kept for _, name in lineage(e, among)}
    return [e for e in among if e.id not in needed]


def remove(unwanted: list[Entry]) -> int:
    """Removes checkpoints; how many bytes that were."""
    for e in unwanted:
        checkpoint.discard(e.path)
    return sum(e.size for e in unwanted)
