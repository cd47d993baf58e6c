"""Downloads the data that a profile needs; run it where there is internet (on a cluster: the login node).

    bash download_data.sh --profile d20_a100x8              # the same, and makes the Python environment first
    python -m scripts.prefetch --profile=d20_a100x8
    python -m scripts.prefetch --profile=d20_a100x8 --verify     # reads every file again, downloads nothing
    python -m scripts.prefetch --profile=d20_a100x8 --mirror=DIR # takes the files from another data folder instead

Files go to <base directory>/data, or to --data_dir. Stopped at any moment, the same command goes on where it was. Which
files a profile needs stands in its table [prefetch]; where they come from in config/manifest.toml. Before it starts it says how
much will come and whether the disk has room. What came is written to manifest.lock there, and a file that changes later is an
error. Exit code 0 only if everything is there and whole. HF_ENDPOINT names a mirror of huggingface.co.
"""

import contextlib
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from nanochat import common
from nanochat.common import UserError
from nanochat.config import option, parse, profiles
from nanochat.pipeline import manifest, prefetch
from nanochat.pipeline.explain import explain
from nanochat.pipeline.manifest import Asset, Download
from nanochat.pipeline.prefetch import Fetcher, verify
from nanochat.pipeline.progress import Progress


@dataclass
class Config:
    profile: str = option("", "profile in config/, or a path to a TOML file; default: this machine's")
    data_dir: str = option("", "folder to download to; default: NANOCHAT_DATA_DIR, then <base directory>/data")
    verify: bool = option(False, "read every file again, hash it, count its rows; download nothing")
    assets: list[str] = option([], "ids of what is needed; normally given by the profile")
    shards: int = option(8, "files of pretraining text for training, beside the one for validation", "100 MB each")
    mirror: str = option("", "another data folder to copy the files from; default: NANOCHAT_MIRROR, then the internet")
    accept_changes: bool = option(False, "take files that are not what was first downloaded, and write that into the lock")
    dry_run: bool = option(False, "say what would be downloaded and whether it fits; download nothing")


def main(argv: list[str] | None = None) -> int:
    try:
        config = parse(Config, "prefetch", argv)
        check_choice(config)
        folder = common.data_dir(config.data_dir)
        wanted = manifest.choose(config.assets, config.shards)
        if not wanted:
            others = ", ".join(name for name in profiles() if name != config.profile)
            print(f"profile {config.profile} needs no download (others, with --profile or NANOCHAT_PROFILE in .env.local: {others})")
            return 0
        return verify_all(config, wanted, folder) if config.verify else download(config, wanted, folder)
    except (UserError, OSError) as error:
        common.say(f"prefetch: {explain(error)}")
        return 2 if isinstance(error, UserError) else 1
    except KeyboardInterrupt:
        common.say("prefetch: stopped; the same command goes on where it was")
        return 75


def check_choice(config: Config) -> None:
    """UserError for a mirror of the hub that is no address, or another data folder that is none."""
    hub = os.environ.get("HF_ENDPOINT", manifest.HUB)
    if not urlsplit(hub).scheme.startswith("http") or not urlsplit(hub).netloc:
        raise UserError(f"HF_ENDPOINT must be an address such as {manifest.HUB}, not '{hub}'")
    if mirror_of(config) and not mirror_of(config).is_dir():
        raise UserError(f"--mirror must be a folder, not '{mirror_of(config)}'")


def mirror_of(config: Config) -> Path | None:
    """The other data folder to copy from, None for the internet."""
    text = config.mirror or os.environ.get("NANOCHAT_MIRROR", "")
    return Path(text).expanduser().absolute() if text else None


def missing_of(config: Config, item: Asset, folder: Path) -> list[Download]:
    """What has to come for an asset to be there, from the mirror where it has it."""
    if (mirror := mirror_of(config)) and not manifest.files_of(item, folder):
        return prefetch.from_folder(item, mirror) or prefetch.absent(item, folder)
    return prefetch.absent(item, folder)


def download(config: Config, wanted: list[Asset], folder: Path) -> int:
    """Fetches what is absent; one sentence for each asset that could not be had."""
    needed = {item: missing_of(config, item, folder) for item in wanted}
    missing = [d for downloads in needed.values() for d in downloads]
    lacking = [item for item, downloads in needed.items() if not downloads and not item.files and not manifest.files_of(item, folder)]
    total = sum(max(1, len(item.files)) for item in wanted)
    print(f"profile {config.profile}: {total} files in {folder}, {len(missing)} to download", flush=True)
    if missing:
        estimate = prefetch.estimate(missing, folder)
        print(estimate, flush=True)
        prefetch.refuse_if_too_large(estimate, folder)
    failures, faults = ({}, []) if config.dry_run else fetch(config, wanted, missing, folder)
    for item in lacking:
        common.say(f"{item.id} is not there and has no address: put it at {folder / item.place} (from {item.source.by_hand})")
    for fault in faults:
        common.say(f"{fault}; move it away and run the same command again")
    tell(needed, failures)
    bad = len(failures) + len(lacking) + len(faults)
    if not bad:
        print("nothing was downloaded" if config.dry_run else "everything is there")
        return 0
    common.say(
        f"{bad} of {total} files are still missing or not whole: run the same command where there is internet, or copy them to {folder}"
    )
    return 1


def fetch(config: Config, wanted: list[Asset], missing: list[Download], folder: Path) -> tuple[dict[Download, str], list[str]]:
    """Downloads what is missing, writes into the lock what lies there without a line in it.

    Returns what failed with the reason, and a sentence for each file that is there but not what it should be.
    """
    fetcher = Fetcher(folder, accept_changes=config.accept_changes)
    if not missing and not any(fetcher.unlocked(item) for item in wanted) and not prefetch.leftovers(wanted, folder):
        return {}, [fault for item in wanted if manifest.files_of(item, folder) for fault in manifest.check(item, folder)]
    with only_one(folder):
        for path in prefetch.leftovers(wanted, folder):
            path.unlink(missing_ok=True)
        begun = prefetch.begun(missing, folder)
        progress = Progress(prefetch.estimate(missing, folder).bytes + begun, len(missing), begun)
        failures = fetcher.fetch_all(missing, progress) if missing else {}
        faults = [fault for item in wanted for fault in fetcher.adopt(item)]
    late = {d.path for d in failures}
    there = [i for i in wanted if manifest.files_of(i, folder) and not late & {d.path for d in i.files}]
    return failures, list(dict.fromkeys(faults + [fault for item in there for fault in manifest.check(item, folder)]))


@contextlib.contextmanager
def only_one(folder: Path):
    """Holds the lock of a data folder; UserError if another process downloads into it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another download into {folder} is running; wait for it or stop it first") from None
        yield


def tell(needed: dict[Asset, list[Download]], failures: dict[Download, str]) -> None:
    """One sentence for each asset of which something could not be had."""
    for item, downloads in needed.items():
        reasons = [failures[d] for d in downloads if d in failures]
        if reasons:
            count = f" ({len(reasons)} files)" if len(reasons) > 1 else ""
            common.say(f"{item.id}{count}: {reasons[0]}; needed by {', '.join(item.stages)}")


def verify_all(config: Config, wanted: list[Asset], folder: Path) -> int:
    """Reads everything again; one sentence for each thing that is missing or wrong."""
    faults = []
    for item in wanted:
        whole, found = verify(item, folder)
        print(f"{item.id:<24} {whole} whole, {len(found)} missing or damaged{_rows(item, folder) if not found else ''}", flush=True)
        for fault in found[:3]:
            common.say(fault)
        if len(found) > 3:
            common.say(f"... and {len(found) - 3} more of {item.id}")
        faults += found
    if faults:
        common.say(f"{len(faults)} files are missing or damaged; fetch them with: {manifest.command(config.profile, config.data_dir)}")
    return 1 if faults else 0


def _rows(item: Asset, folder: Path) -> str:
    names = [str(path.relative_to(folder)) for path in manifest.files_of(item, folder)]
    return f", {item.rows:,} rows" if manifest.counted(item, names) else ""


if __name__ == "__main__":
    raise SystemExit(main())
