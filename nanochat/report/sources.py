"""Where the data of a run came from: what its stages opened, looked up in the manifest, with licences and whom to cite."""

from pathlib import PurePosixPath

from nanochat.pipeline import manifest
from nanochat.pipeline.manifest import Asset
from nanochat.report.collect import DONE, Results
from nanochat.report.text import code, count, plain, table

DATA = "<data>/"  # how a stage's inputs name the data folder


def sources(results: Results) -> str:
    """A table of the data sets that the finished stages opened, their citations below it; files that are nobody's are named."""
    opened = _opened(results)
    if not opened:
        return "Every text and every question was made by the project itself: nothing from outside was opened."
    known: dict[Asset, list[str]] = {}
    own: dict[str, list[str]] = {}
    for path, stages in opened.items():
        entry = _owner(path)
        seen = known.setdefault(entry, []) if entry else own.setdefault(str(PurePosixPath(path).parent / "…"), [])
        seen += [stage for stage in stages if stage not in seen]
    by_source: dict[str, list[Asset]] = {}
    for entry in known:
        by_source.setdefault(entry.source.name, []).append(entry)
    rows = [_row(entries, known) for entries in by_source.values()]
    rows += [[f"your own files: {code(path)}", "", "", " ".join(map(code, stages)), "yours to know"] for path, stages in own.items()]
    parts = [table(["data", "from", "rows", "opened by", "licence"], rows), _citations(by_source)]
    return "\n\n".join(part for part in parts if part)


def _opened(results: Results) -> dict[str, list[str]]:
    """Path under the data folder -> labels of the finished stages that opened it."""
    found: dict[str, list[str]] = {}
    for stage in (stage for stage in results.stages if stage.state == DONE):
        inputs = stage.status.get("inputs")
        for path in inputs if isinstance(inputs, dict) else ():
            if str(path).startswith(DATA):
                found.setdefault(path.removeprefix(DATA), []).append(stage.label)
    return found


def _owner(path: str) -> Asset | None:
    return next((entry for entry in manifest.all_assets().values() if entry.holds(path)), None)


def _row(entries: list[Asset], stages: dict[Asset, list[str]]) -> list[str]:
    """One data set: its splits, its home and commit, their rows as published, who opened it, its licence."""
    source = entries[0].source
    commit = f" at {code(source.revision[:12])}" if source.hub else ""
    labels = list(dict.fromkeys(label for entry in entries for label in stages[entry]))
    names = ", ".join(code(entry.id) for entry in entries)
    rows = "<br>".join(count(entry.rows) for entry in entries if entry.rows)
    return [f"{plain(source.title)}: {names}", f"{plain(source.home)}{commit}", rows, " ".join(map(code, labels)), plain(source.licence)]


def _citations(by_source: dict[str, list[Asset]]) -> str:
    cited = [entries[0].citation for entries in by_source.values() if entries[0].citation]
    return "\n".join(["To cite:", "", *(f"- {plain(citation)}" for citation in cited)]) if cited else ""
