"""Where pretraining text comes from: the embedded corpus, or files of the data folder in their original formats.

    source = open_source("text/english_novels/*.txt.gz", data_dir, val_files=5)
    for document in source.documents("train"): ...

A source is a list of parts (one per file; one for the embedded corpus), so that readers can share the work and resume it.
Train and validation never share a document: the last `val_files` files are for validation, or, where there is only one file,
one document in twenty by a hash of its text.

Formats by file name: *.parquet (column `text`), *.jsonl (key `text`), *.txt (paragraphs between blank lines, joined to
documents of at most 4,000 characters); the last two also as .gz.
"""

import glob
import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nanochat import common
from nanochat.common import UserError
from nanochat.config import at_least, option
from nanochat.pipeline import watch
from nanochat.pipeline.digests import digest
from nanochat.pipeline.manifest import advice
from nanochat.pipeline.stage import Input

EMBEDDED = "embedded"
SPLITS = ("train", "val")
LONGEST_DOCUMENT = 4000  # characters of a document made from paragraphs
VALIDATION_SHARE = 20  # one document in this many, where the split is by document
READ_ROWS = 1024  # parquet rows held at a time


@dataclass
class TextOptions:
    """Options of every stage that reads text; mix in after `StageConfig`. The profile sets both in [common]."""

    text: str = option(
        EMBEDDED,
        "text to train on: 'embedded', or file patterns under the data folder, separated by commas (*.parquet, *.jsonl, *.txt, .gz)",
    )
    val_files: int = option(1, "how many of the last files are kept for validation; 0 takes one document in twenty instead", unit="files")


@dataclass(frozen=True)
class Part:
    """A piece of a source that one reader reads: its name for people, what identifies its content, its documents."""

    name: str
    fingerprint: str
    read: Callable[[], Iterator[str]]


@dataclass(frozen=True)
class Source:
    """The parts of each split, in a fixed order."""

    name: str
    parts: dict[str, list[Part]]

    def documents(self, split: str) -> Iterator[str]:
        """Every document of `split` in a fixed order; UserError if there is none."""
        found = False
        for part in self.parts[split]:
            for document in part.read():
                found = True
                yield document
        if not found:
            raise too_little(self.name, split)


def too_little(name: str, split: str) -> UserError:
    """The error for a split without a document."""
    return UserError(
        f"'{name}' has too little text: no document for the {split} split; put more text into its files or choose others with --text"
    )


def open_source(text: str, data_dir: str = "", val_files: int = 1, seed: int = 0) -> Source:
    """The source that `text` names. `seed` matters only to the embedded corpus. UserError if no file matches."""
    if text == EMBEDDED:
        return Source(text, {split: [_embedded_part(split, seed)] for split in SPLITS})
    if val_files < 0:
        raise UserError(f"val_files must be 0 or more, not {val_files}")
    files = find_files(text, data_dir)
    if not files:
        root = common.data_dir(data_dir)
        raise UserError(f"no file matches {root / text}; {advice(root / text, data_dir, common.profile_owner())}")
    kept = min(val_files, len(files) - 1)
    if kept == 0:
        return Source(text, {split: _split_by_document(files, split) for split in SPLITS})
    if kept < val_files:
        common.say(f"'{text}' has only {len(files)} files: {kept} instead of {val_files} for validation")
    groups = {"train": files[:-kept], "val": files[-kept:]}
    return Source(text, {split: [_file_part(path) for path in paths] for split, paths in groups.items()})


def check_text(config) -> None:
    """UserError for TextOptions that cannot work."""
    at_least(config, 0, "val_files")


def text_inputs(config) -> list[Input]:
    """The files a stage with `TextOptions` opens, for its `inputs`; the pattern itself (so: missing) if none matches."""
    if config.text == EMBEDDED:
        return []
    root = common.data_dir(config.data_dir)
    files = find_files(config.text, config.data_dir) or [root / config.text]
    folders = {path.parent for path in files}  # what is to be done about a file reads the profile: not for each of hundreds
    remedies = {folder: advice(folder / "file", config.data_dir, config.profile) for folder in folders}
    return [Input(path, remedies[path.parent], own=True) for path in files]


def find_files(text: str, data_dir: str = "") -> list[Path]:
    """Files under the data folder that match the comma-separated patterns, sorted by path; UserError for an unknown format."""
    root = common.data_dir(data_dir)
    found = {Path(p) for pattern in text.split(",") if pattern.strip() for p in glob.glob(str(root / pattern.strip()), recursive=True)}
    files = sorted(p for p in found if p.is_file())
    for path in files:
        reader_of(path)
    return files


def _embedded_part(split: str, seed: int) -> Part:
    from nanochat.data import corpus

    code = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("corpus*.py")):  # the text changes when what generates it does
        code.update(path.read_bytes())
    return Part(f"embedded corpus ({split})", f"{code.hexdigest()}/{split}/{seed}", lambda: _not_empty(corpus.documents(split, seed)))


def _file_part(path: Path) -> Part:
    return Part(str(path), digest(path), lambda: _not_empty(reader_of(path)(path)))


def _split_by_document(files: list[Path], split: str) -> list[Part]:
    parts = [_file_part(path) for path in files]
    return [Part(f"{p.name} ({split})", f"{p.fingerprint}/{split}", lambda p=p: choose_split(p.read(), split)) for p in parts]


def _not_empty(documents: Iterable[str]) -> Iterator[str]:
    return (document for document in documents if document.strip())


def choose_split(documents: Iterable[str], split: str) -> Iterator[str]:
    """The documents of one split by the hash of their text; if the hash gives validation none, it gets the last one."""
    last, any_val = None, False
    for document in documents:
        value = int.from_bytes(hashlib.blake2b(document.encode("utf-8", "replace"), digest_size=8).digest(), "little")
        if value % VALIDATION_SHARE == 0:
            any_val = True
            if split == "val":
                yield document
            continue
        if last is not None and split == "train":
            yield last
        last = document
    if last is not None and (split == "train") == any_val:
        yield last


# ---------------------------------------------------------------------------------------------------------------------
# Readers: path -> documents; every way a file can be broken becomes one sentence that names it


def reader_of(path: Path) -> Callable[[Path], Iterator[str]]:
    """The reader for a file's name; UserError naming the formats."""
    name = path.name.lower().removesuffix(".gz")
    for ending, reader in READERS.items():
        if name.endswith(ending) and not (ending == ".parquet" and path.name.lower().endswith(".gz")):
            return reader
    raise UserError(f"{path} is not in a known text format; use .parquet, .jsonl, .txt, .jsonl.gz or .txt.gz")


def _damaged(path: Path, why) -> UserError:
    reason = (str(why).splitlines() or [type(why).__name__])[0][:120]
    return UserError(f"{path} is damaged or not what its name says ({reason}); fetch it again or remove it")


def _lines(path: Path) -> Iterator[str]:
    """Lines of a text file, plain or gzip, without their ends and without a byte order mark."""
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline=None) as f:
            for line in f:
                yield line.removesuffix("\n")
    except (gzip.BadGzipFile, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise _damaged(path, error) from None


def read_txt(path: Path) -> Iterator[str]:
    """Documents of at most LONGEST_DOCUMENT characters made of whole paragraphs where they fit."""
    document = ""
    for paragraph in _paragraphs(path):
        for piece in cut_long(paragraph):
            if document and len(document) + 2 + len(piece) > LONGEST_DOCUMENT:
                yield document
                document = piece
            else:
                document = f"{document}\n\n{piece}" if document else piece
    if document:
        yield document


def _paragraphs(path: Path) -> Iterator[str]:
    lines: list[str] = []
    for line in _lines(path):
        if line.strip():
            lines.append(line.rstrip())
        elif lines:
            yield "\n".join(lines)
            lines = []
    if lines:
        yield "\n".join(lines)


def cut_long(paragraph: str) -> Iterator[str]:
    """Pieces of at most LONGEST_DOCUMENT characters, cut at the end of a sentence if there is one, else at a blank."""
    while len(paragraph) > LONGEST_DOCUMENT:
        head = paragraph[:LONGEST_DOCUMENT]
        at = max(head.rfind(end) + 1 for end in (". ", "! ", "? ", ".\n"))
        at = at or max(head.rfind(" "), head.rfind("\n")) or LONGEST_DOCUMENT
        at = LONGEST_DOCUMENT if at < 1 else at
        yield paragraph[:at].rstrip()
        paragraph = paragraph[at:].lstrip()
    if paragraph:
        yield paragraph


def read_jsonl(path: Path) -> Iterator[str]:
    """The `text` of each line's object."""
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise _damaged(path, f"line {number}: {error}") from None
        if not isinstance(row, dict) or not isinstance(row.get("text"), str):
            raise UserError(
                f'{path}, line {number}, has no text under the key \'text\'; each line must be an object like {{"text": "..."}}'
            )
        yield row["text"]


def read_parquet(path: Path) -> Iterator[str]:
    """The column `text`, a batch of rows at a time."""
    import pyarrow
    import pyarrow.parquet

    watch.reading(path)
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if "text" not in file.schema_arrow.names:
                raise UserError(f"{path} has no column 'text' but {', '.join(file.schema_arrow.names)}; choose other files with --text")
            for batch in file.iter_batches(batch_size=READ_ROWS, columns=["text"]):
                yield from (str(text) for text in batch.column(0).to_pylist() if text)
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged(path, error) from None


READERS = {".parquet": read_parquet, ".jsonl": read_jsonl, ".txt": read_txt}
