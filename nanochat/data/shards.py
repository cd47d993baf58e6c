"""Text as token files: every part of a source is tokenised once and then read through the page cache.

    <base>/tokens/<key>/tokens.bin     uint16 (uint32 for large vocabularies): <|bos|> document <|bos|> document ...
                        offsets.npy    (n + 1,) int64: where each document begins, and the end
                        meta.json      what it was made from

The key is a hash of the part's content, the split rule and the tokenizer, so new files beside old ones cost only themselves,
and an interrupted run goes on with the next part. Each process of a run tokenises its share of the parts, several of them at a time
where it has several CPUs.
"""

import bisect
import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from nanochat import common
from nanochat.common import Interrupted, UserError, base_dir
from nanochat.data.ahead import Ahead
from nanochat.data.artifact import is_complete, new_artifact
from nanochat.data.sources import Part, Source, too_little
from nanochat.data.tokenizer import Tokenizer

FORMAT = 1  # raise when the files change their meaning
BATCH = 512  # documents encoded at a time
POLL = 0.5  # seconds between looks at what other processes have finished
PATIENCE = 30.0  # minutes in which they must have written something, where the stage does not say (--hang_minutes)


class TokenShard(Sequence):
    """The documents of a split as token ids: `shard[i]` is the i-th document, (length,) integers, <|bos|> first."""

    def __init__(self, folders: Sequence[Path], name: str, split: str):
        self._tokens, self._offsets = [], []
        for folder in folders:
            offsets = np.asarray(np.load(folder / "offsets.npy", mmap_mode="r"))  # as plain arrays: numpy's memmaps slice slowly
            if len(offsets) > 1:  # a part can lack documents of this split
                self._offsets.append(offsets)
                self._tokens.append(np.asarray(np.memmap(folder / "tokens.bin", dtype=_meta(folder)["dtype"], mode="r")))
        if not self._tokens:
            raise too_little(name, split)
        self._first = list(itertools.accumulate((len(o) - 1 for o in self._offsets), initial=0))
        self.name = f"'{name}' ({split})"
        self.lengths = np.concatenate([np.diff(o) for o in self._offsets]).astype(np.int32)  # (n,) tokens, <|bos|> included

    def __len__(self) -> int:
        return self._first[-1]

    def __getitem__(self, index: int) -> np.ndarray:
        if not 0 <= index < len(self):
            raise IndexError(f"document {index} of {len(self)}")
        part = bisect.bisect_right(self._first, index) - 1
        offsets, i = self._offsets[part], index - self._first[part]
        return self._tokens[part][offsets[i] : offsets[i + 1]]

    @property
    def num_tokens(self) -> int:
        """Tokens of all documents, <|bos|> included."""
        return int(self.lengths.sum(dtype=np.int64))


def open_tokens(folder: Path) -> TokenShard:
    """All text that lies tokenised in a folder: in the folder itself, or in those in it, whatever their source and split."""
    folders = [path for path in (folder, *sorted(folder.glob("*"))) if _valid(path)]
    if not folders:
        raise UserError(f"there is no tokenised text in {folder}; base_train writes it to {base_dir() / 'tokens'}")
    return TokenShard(folders, str(folder), "all")


def open_shard(source: Source, tokenizer: Tokenizer, split: str, run=None) -> TokenShard:
    """The tokenised `split` of `source`, tokenising what is not there yet. Call it from every process of the run.

    `run` (a stage's Run) is asked between parts whether to stop, when it is the only process, and for how long to wait for others that
    get no further. UserError when that is over.
    """
    parts = source.parts[split]
    folders = [_folder(part, tokenizer) for part in parts]
    mine = range(common.rank(), len(parts), common.world_size())
    missing = [i for i in mine if not _valid(folders[i])]
    for i in missing:
        if is_complete(folders[i]):
            common.say(f"{folders[i]} is damaged: tokenising {parts[i].name} again")
    cpus = max(1, len(os.sched_getaffinity(0)) // common.world_size())
    workers = min(cpus, len(missing)) if sys.platform == "linux" else 1

    def make(number: int) -> int:
        """Tokens of the missing part with this number; 0 after the last, and where another run has made it meanwhile."""
        if number >= len(missing):
            return 0
        i = missing[number]
        with _alone(folders[i]):
            return 0 if _valid(folders[i]) else write_part(parts[i], tokenizer, folders[i], cpus // workers)

    started, tokens = time.time(), 0
    ahead = Ahead(make, workers if workers > 1 else 0)
    for done in range(len(missing)):
        if run is not None and common.world_size() == 1 and run.stop_requested():
            raise Interrupted(f"tokenised {done} of {len(missing)} parts of '{source.name}'")
        tokens += ahead.get(done)
    ahead.close()
    if missing:
        common.say(
            f"tokenised {len(missing)} part{'s' * (len(missing) > 1)} of '{source.name}' ({split}): "
            f"{tokens / 1e6:.1f} M tokens in {time.time() - started:.0f} s"
        )
    _wait_for_others(folders, source.name, 60 * getattr(getattr(run, "config", None), "hang_minutes", PATIENCE))
    return TokenShard(folders, source.name, split)


def write_part(part: Part, tokenizer: Tokenizer, folder: Path, threads: int = 1) -> int:
    """Tokenises one part into `folder`, whole or not at all; returns the number of tokens."""
    documents = ([tokenizer.bos_id, *ids] for ids in _encoded(part.read(), tokenizer, threads))
    return write_tokens(documents, tokenizer.vocab_size, folder, part=part.name, tokenizer=tokenizer.hash)


def write_tokens(documents: Iterable[Sequence[int]], vocab_size: int, folder: Path, **meta) -> int:
    """Writes documents, <|bos|> first, as a folder that `TokenShard` reads, whole or not at all; returns the number of tokens."""
    dtype = np.uint16 if vocab_size <= 1 << 16 else np.uint32
    lengths: list[int] = []
    with new_artifact(folder) as new:
        with open(new / "tokens.bin", "wb") as f:
            for ids in documents:
                lengths.append(len(ids))
                f.write(np.asarray(ids, dtype=dtype).tobytes())
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
        np.save(new / "offsets.npy", offsets)
        meta = {**meta, "documents": len(lengths), "tokens": int(offsets[-1]), "dtype": np.dtype(dtype).name}
        (new / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")
    return int(offsets[-1])


@contextlib.contextmanager
def _alone(folder: Path):
    """Holds a lock for the block, so that stages that need the same part at the same time, as in a sweep, do not write it twice."""
    path = base_dir() / "cache" / "locks" / folder.name
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as f:
        with contextlib.suppress(OSError):  # a file system without locks: as if we were alone
            fcntl.flock(f, fcntl.LOCK_EX)
        yield


def _encoded(documents: Iterator[str], tokenizer: Tokenizer, threads: int) -> Iterator[list[int]]:
    documents = iter(documents)
    while batch := list(itertools.islice(documents, BATCH)):
        yield from tokenizer.encode_batch(batch, threads)


def _folder(part: Part, tokenizer: Tokenizer) -> Path:
    key = hashlib.sha256(f"{FORMAT}/{part.fingerprint}/{tokenizer.hash}".encode()).hexdigest()[:20]
    return base_dir() / "tokens" / key


def _meta(folder: Path) -> dict:
    return common.read_json(folder / "meta.json") or {}


def _valid(folder: Path) -> bool:
    """True if the folder is complete and its files have the sizes its meta.json names."""
    try:
        meta = _meta(folder)
        size = np.dtype(meta["dtype"]).itemsize * meta["tokens"]
        offsets = np.load(folder / "offsets.npy", mmap_mode="r")
        same = (
            (folder / "tokens.bin").stat().st_size == size and len(offsets) == meta["documents"] + 1 and int(offsets[-1]) == meta["tokens"]
        )
        return is_complete(folder) and same
    except (KeyError, OSError, ValueError, IndexError):
        return False


def _wait_for_others(folders: list[Path], name: str, seconds: float) -> None:
    """Returns when every part is there. By looking, not by a barrier: tokenising may outlast a process group's timeout.

    UserError when for so many `seconds` (0: however long) nothing was written."""
    waiting, before, since = list(folders) if common.world_size() > 1 else [], None, time.monotonic()
    while waiting := [folder for folder in waiting if not _valid(folder)]:
        now = len(waiting), _written_aside(base_dir() / "tokens")
        if now != before:
            before, since = now, time.monotonic()
        elif 0 < seconds < time.monotonic() - since:
            raise UserError(
                f"process {common.rank()} waits in vain for {len(waiting)} of {len(folders)} parts of '{name}' from other processes: "
                f"nothing was written for {common.duration(seconds)}; see what became of them and run it again"
            )
        time.sleep(POLL)


def _written_aside(tokens: Path) -> int:
    """Bytes of the parts that are being made."""
    sizes = 0
    for path in tokens.glob(".*.tmp/*"):
        with contextlib.suppress(OSError):  # it has just got its name
            sizes += path.stat().st_size
    return sizes
