"""The manifest: every file from outside that a stage may open, read from config/manifest.toml.

    find("gsm8k/test", data_dir)        -> <data>/gsm8k/test.jsonl, .parquet, ... or None
    check(asset("gsm8k/test"), data_dir) -> [] or one sentence for each thing that is wrong

Downloads, verification, the tasks' files, the right of a stage to open a file, and the report's list of sources are all
taken from here. To add data, add it to the TOML file and its id to the profiles that need it.
"""

import functools
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nanochat import common
from nanochat.common import UserError
from nanochat.config import CONFIG_DIR, load_profile, nearest, tomllib
from nanochat.pipeline import content

FILE = CONFIG_DIR / "manifest.toml"
LOCK = "manifest.lock"  # in the data folder: path -> url, size, sha256, rows, revision, time of what was first downloaded
TABULAR = (".jsonl", ".jsonl.gz", ".parquet", ".json", ".json.gz", ".csv")
HUB = "https://huggingface.co"
SHARDS = 8  # parts of a chosen asset where no profile says how many
QUICK = 64 << 20  # bytes; rows of larger files are taken from the lock, or from the footer, unless all is read again


@dataclass(frozen=True)
class Download:
    """One file to fetch: `path` under the data directory, `url`, and what is known of its content.

    `size` is exact, 0 if unknown; `about` bytes go over the line and `room` bytes in `count` files are needed on the disk.
    """

    path: str
    url: str
    sha256: str = ""
    size: int = 0
    unpack: bool = False  # a zip archive that holds the folder it is named after
    about: int = 0
    room: int = 0
    count: int = 1


@dataclass(frozen=True)
class Source:
    """A data set: where it comes from, under which licence, whom to cite, who may open it."""

    name: str
    title: str
    licence: str
    citation: str
    stages: tuple[str, ...]
    hub: str = ""
    revision: str = ""
    url: str = ""
    by_hand: str = ""

    def address(self, file: str) -> str:
        """Where one of its files is fetched from; `HF_ENDPOINT` names a mirror of the hub."""
        if not self.hub:
            return f"{self.url}/{file}"
        return f"{os.environ.get('HF_ENDPOINT', HUB).rstrip('/')}/datasets/{self.hub}/resolve/{self.revision}/{file}"

    @property
    def home(self) -> str:
        """Where a person finds it."""
        return f"{HUB}/datasets/{self.hub}" if self.hub else self.url or self.by_hand


@dataclass(frozen=True)
class Asset:
    """One split of a data set.

    `places` are globs under the data directory without ending, the first is where a download puts it; `forms` are the
    endings that the readers understand; `files` is what is downloaded, nothing where a person brings it.
    """

    id: str
    places: tuple[str, ...]
    forms: tuple[str, ...]
    source: Source
    files: tuple[Download, ...] = ()
    rows: int | None = None

    @property
    def stages(self) -> tuple[str, ...]:
        return self.source.stages

    @property
    def licence(self) -> str:
        return self.source.licence

    @property
    def citation(self) -> str:
        return self.source.citation

    @property
    def place(self) -> str:
        """The path under the data directory where it is looked for first."""
        if len(self.files) == 1 and not self.files[0].unpack:
            return self.files[0].path
        brought = [form for form in self.forms if self.files and self.files[0].path.endswith(form)]
        return self.places[0] + (brought or self.forms)[0]

    def holds(self, path: str) -> bool:
        """True if `path`, relative to the data directory, is one of its files, or the folder that its archive becomes."""
        return any(pattern.fullmatch(path) for pattern in _patterns(self)) or any(d.path == path for d in self.files)


# ---------------------------------------------------------------------------------------------------------------------
# The table


def all_assets(shards: int = SHARDS) -> dict[str, Asset]:
    """The table, by id. `shards` is how many files of pretraining text the profile wants."""
    return _table(shards, os.environ.get("HF_ENDPOINT", HUB))


def asset(asset_id: str) -> Asset:
    """The entry of an id; KeyError for one that is not in the table (ids are written in code and profiles, not typed)."""
    return all_assets()[asset_id]


def of_profile(profile: str) -> list[Asset]:
    """What the stages of a profile open, in the order of its table [prefetch]; UserError for an id that is not in the table."""
    wanted = load_profile(profile).get("prefetch", {})
    return choose(wanted.get("assets", []), wanted.get("shards", SHARDS))


def choose(ids: list[str], shards: int = SHARDS) -> list[Asset]:
    """The entries of some ids; UserError naming the nearest one for an id that is not in the table."""
    most = last_shard()
    if not 1 <= shards <= most:
        raise UserError(f"--shards must be between 1 and {most}, not {shards}")
    table = all_assets(shards)
    for name in ids:
        if name not in table:
            raise UserError(f"there is no asset '{name}'{nearest(name, table)}; assets: {', '.join(table)}")
    return [table[name] for name in ids]


def last_shard() -> int:
    """The number of the last file of pretraining text: always fetched, sorts last, and is the validation text."""
    return _raw()["assets"]["base_data"]["parts"] - 1


@functools.cache
def _raw() -> dict:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


@functools.lru_cache(maxsize=16)
def _table(shards: int, endpoint: str) -> dict[str, Asset]:
    """`endpoint` is part of the key: `Source.address` reads it from the environment."""
    raw = _raw()
    sources = {name: _source(name, entry) for name, entry in raw["sources"].items()}
    return {name: _asset(name, entry, sources[entry["source"]], shards) for name, entry in raw["assets"].items()}


def _source(name: str, entry: dict) -> Source:
    return Source(name, **{"citation": "", **entry, "stages": tuple(entry["stages"])})


def _asset(name: str, entry: dict, source: Source, shards: int) -> Asset:
    places = (re.sub(r"\{part\}.*", "*", entry["place"]), *entry.get("also", ()))
    files = tuple(_downloads(entry, source, shards)) if "file" in entry else ()
    return Asset(name, places, tuple(entry.get("forms", TABULAR)), source, files, entry.get("rows"))


def _downloads(entry: dict, source: Source, shards: int) -> Iterator[Download]:
    count = entry.get("parts", 1)
    numbers = sorted({*range(min(shards, count - 1)), count - 1}) if entry.get("chosen") else range(count)
    hashes = entry.get("sha256", "")
    about = entry.get("size") or round(entry.get("mb", 0) * 1e6)
    room = round(entry.get("unpacked_mb", 0) * 1e6) + about
    for number in numbers:
        place, file = (entry[key].replace("{part}", f"{number:05d}") for key in ("place", "file"))
        path = place.partition("/")[0] if entry.get("unpack") else place + _ending(file)
        sha256 = hashes[number] if isinstance(hashes, list) else hashes
        yield Download(
            path, source.address(file), sha256, entry.get("size", 0), entry.get("unpack", False), about, room, entry.get("files", 1)
        )


def _ending(file: str) -> str:
    suffixes = Path(file).suffixes
    return "".join(suffixes[-2:]) if suffixes[-1] == ".gz" else suffixes[-1]


@functools.lru_cache(maxsize=512)
def _patterns(asset: Asset) -> tuple[re.Pattern, ...]:
    """Regular expressions of the paths that `places` and `forms` allow: `**/` is any folders, `*` anything but a slash."""
    parts = {"**/": "(?:.*/)?", "*": "[^/]*"}
    spelt = ("".join(parts.get(p, re.escape(p)) for p in re.split(r"(\*\*/|\*)", place)) for place in asset.places)
    ends = "|".join(map(re.escape, asset.forms))
    return tuple(re.compile(f"{place}(?:{ends})") for place in spelt)


# ---------------------------------------------------------------------------------------------------------------------
# Where it is


def find_all(asset_id: str, data_dir: str | Path) -> list[Path]:
    """All files of an asset that are there, sorted: of several places and endings only the first that has any."""
    return files_of(asset(asset_id), data_dir)


def files_of(entry: Asset, data_dir: str | Path) -> list[Path]:
    """As `find_all`, of an entry."""
    for place in entry.places:
        for form in entry.forms:
            files = sorted(path for path in Path(data_dir).glob(place + form) if path.is_file())
            if files:
                return files
    return []


def find(asset_id: str, data_dir: str | Path) -> Path | None:
    """The (first) file of an asset under `data_dir`, None if it is not there."""
    return next(iter(find_all(asset_id, data_dir)), None)


def owner(path: Path, data_dir: str | Path) -> Asset | None:
    """The asset that a file (or the folder of an archive) under the data directory belongs to, None if none."""
    relative = os.path.relpath(path, data_dir)
    return next((entry for entry in all_assets().values() if entry.holds(relative)), None)


def refuse_strangers(stage: str, inputs: list, data_dir: str | Path) -> None:
    """UserError for the first of a stage's inputs in the data folder that the manifest does not let it open.

    A file that a person names in an option (`own`) is theirs to choose.
    """
    root, base = Path(data_dir), common.base_dir()
    for item in inputs:
        path = Path(item.path)
        ours = path.is_relative_to(base) and not path.is_relative_to(base / "data")
        if item.own or ours or not path.is_relative_to(root):
            continue
        found = owner(path, root)
        if found is None or stage not in found.stages:
            what = "names no such file" if found is None else f"does not let {stage} open {found.id}"
            raise UserError(f"{path} is an input of {stage}, but {FILE.parent.name}/{FILE.name} {what}; add it there")


# ---------------------------------------------------------------------------------------------------------------------
# Is it whole?


def read_lock(folder: Path) -> dict[str, dict]:
    """path -> {url, size, sha256, rows, revision, time} of what was first downloaded to a data folder; {} without a lock."""
    return common.read_json(Path(folder) / LOCK) or {}


def check(entry: Asset, data_dir: str | Path, rehash: bool = False) -> list[str]:
    """One sentence for each thing that is wrong with an asset, [] if all is well.

    Without `rehash` sizes, beginnings and footers are looked at, in milliseconds; with it every byte is read, hashed and parsed.
    """
    return [f"{path} {reason}" for path, reason in examine(entry, data_dir, rehash)]


def examine(entry: Asset, data_dir: str | Path, rehash: bool = False) -> list[tuple[Path, str]]:
    """What `check` says, as (path, reason)."""
    root, lock, downloads = Path(data_dir), read_lock(data_dir), {d.path: d for d in entry.files}
    names = [name for name in downloads if (root / name).exists()]
    found = [str(path.relative_to(root)) for path in files_of(entry, root)]
    names = list(downloads) if names or not found else found  # `found`: another form than the one we would download
    if not names:
        return [(root / entry.place, f"is missing; get it from {entry.source.by_hand}")]
    faults = [(root / n, reason) for n in names if (reason := _fault(root / n, downloads.get(n), lock.get(n), rehash))]
    if not faults and not found:  # a folder that is there, without the file by which it is known
        faults = [(root / entry.place, "is missing")]
    return faults or _wrong_rows(entry, root, names, lock, rehash)


def _fault(path: Path, download: Download | None, locked: dict | None, rehash: bool) -> str:
    """What is wrong with one file or unpacked folder, "" if nothing is seen."""
    if not path.exists():
        return "is missing"
    if path.is_dir() and not locked:
        return "" if any(path.iterdir()) else "is empty"
    size = content.size(path)
    known = download.size if download and not path.is_dir() else 0
    for wanted in filter(None, (known, (locked or {}).get("size", 0))):
        if size != wanted:
            return f"has {size} bytes instead of {wanted}"
    if rehash and (reason := _wrong_hash(path, download, locked)):
        return reason
    return "" if path.is_dir() else content.damage(path, path.name, thorough=rehash)


def _wrong_hash(path: Path, download: Download | None, locked: dict | None) -> str:
    wanted = {(locked or {}).get("sha256"), download.sha256 if download and not path.is_dir() else ""} - {None, ""}
    if not wanted:
        return ""
    digest = common.sha256(path)
    other = sorted(wanted - {digest})
    return f"is not what was downloaded (sha256 {digest[:12]} instead of {other[0][:12]})" if other else ""


def _wrong_rows(entry: Asset, root: Path, names: list[str], lock: dict, rehash: bool) -> list[tuple[Path, str]]:
    """The rows of all its files together."""
    if not counted(entry, names):
        return []
    counts = [_rows(root / name, lock.get(name, {}), rehash) for name in names]
    if None in counts or sum(counts) == entry.rows:
        return []
    return [(root / names[0] if len(names) == 1 else root / entry.places[0], f"has {sum(counts)} rows instead of {entry.rows}")]


def counted(entry: Asset, names: list[str]) -> bool:
    """True if the number of rows is known, and the files lie where a download would put them, in whatever form."""
    return entry.rows is not None and all(_patterns(entry)[0].fullmatch(name) for name in names)


def _rows(path: Path, locked: dict, rehash: bool) -> int | None:
    if not rehash and locked.get("rows") is not None:
        return locked["rows"]  # its size is the locked one
    if not rehash and path.stat().st_size > QUICK and not path.name.endswith(".parquet"):
        return None
    return content.rows(path)


# ---------------------------------------------------------------------------------------------------------------------
# What to tell people


def command(profile: str, data_dir: str = "") -> str:
    """What a person types to download what a profile needs; `data_dir` if that option was given."""
    options = [f"--profile {shlex.quote(profile)}"] * bool(profile) + [f"--data_dir {shlex.quote(data_dir)}"] * bool(data_dir)
    return " ".join(["bash download_data.sh", *options])


def advice(path: Path, data_dir: str, profile: str) -> str:
    """What to do about a file that the data folder lacks: download it, if the profile's download brings files like it.

    `data_dir` is the option, "" if it was not given.
    """
    brought = [entry for entry in (of_profile(profile) if profile else []) if entry.files]
    folders = {download.path.split("/")[0] for entry in brought for download in entry.files}
    ours = os.path.relpath(path, common.data_dir(data_dir)).split(os.sep)[0] in folders
    fetch = f"download it with: {command(profile, data_dir)}, or " if ours else ""
    return f"{fetch}put it there, or give the folder that holds it with --data_dir"
