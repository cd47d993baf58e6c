"""Downloads what a profile needs, on the machine that has internet, into the layout that every stage reads.

Kind to a login node: at most four connections and little memory; killed at any moment, the same command goes on where it
was. A file appears under its name only when all of it is there, has been opened, and is written to `manifest.lock`; from
then on it may not be another. What a host that cannot be reached would have given is one sentence within seconds.
"""

import concurrent.futures
import contextlib
import errno
import os
import shutil
import socket
import threading
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from nanochat import common
from nanochat.common import UserError
from nanochat.pipeline import content, transfer
from nanochat.pipeline.explain import explain
from nanochat.pipeline.manifest import LOCK, Asset, Download, examine, files_of, read_lock
from nanochat.pipeline.progress import Progress
from nanochat.pipeline.transfer import Broken, Origin, cause

CONNECTIONS = 4
TRIES, BACKOFF, LONGEST_BACKOFF = 5, 0.5, 30.0  # tries in a row that bring little; seconds before the second one, doubling
WORTH = 1 << 20  # bytes; an attempt that came as much further does not count as a failed one
READINGS = 2  # how often a file is fetched whole before its content is called wrong
CONNECT = 4.0  # seconds
SPARE_BYTES, SPARE_FILES = 256 << 20, 64  # what must stay free on the disk
HERE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR}  # our side: no use in trying again


class Failed(Exception):
    """A file that could not be had; the message says why."""


class Fetcher:
    """Downloads into one data directory. `stop` ends all transfers at their next chunk.

    `accept_changes` lets a file replace what the lock says about it.
    """

    def __init__(self, folder: Path, say=common.say, accept_changes: bool = False):
        self.folder, self.say, self.accept_changes = folder, say, accept_changes
        self.stop = threading.Event()
        self.progress: Progress | None = None
        self._digests: dict[Path, str] = {}  # of parts that were hashed when they were checked
        self._hosts: dict[str, str] = {}  # host -> why it cannot be reached, "" if it can
        self._host_locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def fetch_all(self, downloads: list[Download], progress: Progress | None = None) -> dict[Download, str]:
        """Downloads all, a few at a time. Returns those that failed with the reason."""
        self.progress, say = progress, progress.say if progress else self.say
        failures, done = {}, 0
        with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
            tasks = {pool.submit(self.fetch, download): download for download in downloads}
            try:
                for task in concurrent.futures.as_completed(tasks):
                    try:
                        message = task.result()
                    except Failed as error:
                        failures[tasks[task]] = str(error)
                        continue
                    done += 1
                    if progress:
                        progress.done = done
                    say(f"[{done}/{len(downloads)}] {message}")
            except BaseException:
                self.stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
            finally:
                if progress:
                    progress.finish()
        return failures

    def fetch(self, download: Download) -> str:
        """Downloads one file and gives a line about it; Failed with one sentence otherwise."""
        started, source = time.time(), _local_folder(download.url)
        try:
            size = self._copied(source, download) if source else self._finish(download, self._transferred(download))
        except OSError as error:
            raise Failed(explain(error)) from None
        return f"{download.path}  {size / 1e6:.1f} MB in {time.time() - started:.0f} s"

    def _transferred(self, download: Download) -> Origin:
        """Tries until the whole file has come and is what it should be."""
        part, tries, readings, reason = self._part(download), 0, 0, "stopped"
        most = _bytes(part)
        while not self.stop.is_set():
            wait = 0.0
            try:
                origin = self._attempt(download, part)
                reason = self._wrong(download, part, origin)
                if not reason:
                    return origin
                readings += 1
                self._count(-_bytes(part))
                transfer.discard(part)
            except Broken as broken:
                reason, wait = str(broken), broken.wait
                if broken.final:
                    break
            tries = 0 if _bytes(part) >= most + WORTH else tries + 1
            most = max(most, _bytes(part))
            if tries >= TRIES or readings >= READINGS:
                break
            self.stop.wait(max(wait, min(LONGEST_BACKOFF, BACKOFF * 2 ** max(0, tries - 1))))
        raise Failed(f"{download.url}: {reason}")

    def _attempt(self, download: Download, part: Path) -> Origin:
        """One attempt; Broken if another one may succeed."""
        self._reach(download.url)
        try:
            return transfer.bring(download.url, part, bool(download.sha256), self.stop, self._count)
        except OSError as error:
            if error.errno in HERE and not isinstance(error, urllib.error.URLError):
                raise
            raise Broken(f"the connection broke ({cause(error)})") from None

    def _count(self, count: int) -> None:
        if self.progress:
            self.progress.add(count)

    def _wrong(self, download: Download, part: Path, origin: Origin) -> str:
        """Why the bytes that came are not the file, "" if they are: size, hash, format; the lock counts unless changes are accepted."""
        size = part.stat().st_size
        if wanted := next((n for n in (download.size, origin.total) if n and n != size), 0):
            return f"has {size} bytes instead of {wanted}"
        locked = {} if self.accept_changes or download.unpack else read_lock(self.folder).get(download.path, {})
        if download.sha256 or origin.sha256 or locked:
            digest = self._digests[part] = common.sha256(part)
            if (wanted := download.sha256 or origin.sha256) and digest != wanted:
                return f"has the wrong sha256 ({digest} instead of {wanted})"
            if locked and digest != locked["sha256"]:
                then = f"{locked['sha256']} when it was first downloaded ({locked.get('time', 'date unknown')})"
                return f"it changed: sha256 {digest} now, {then}; take the new file with --accept_changes, or copy the old one here"
        return "" if download.unpack else content.damage(part, download.path)

    def _finish(self, download: Download, origin: Origin) -> int:
        """Writes down what the file is, then gives it its name, or unpacks it to the folder it holds. Returns its bytes.

        In this order: a file without its line in the lock could be replaced unnoticed.
        """
        part, path = self._part(download), self.folder / download.path
        if download.unpack:
            self._unpack(part, path, download)
            self._note(download, path, origin)
            transfer.discard(part)
        else:
            self._note(download, part, origin)
            os.replace(part, path)
            transfer.state_of(part).unlink(missing_ok=True)
        return content.size(path)

    def _copied(self, source: Path, download: Download) -> int:
        """Copies a whole folder, as what an archive was unpacked to in another data folder. Returns its bytes."""
        with _aside(self.folder / download.path) as aside:
            shutil.copytree(source, aside / source.name)
            if download.sha256 and common.sha256(aside / source.name) != download.sha256:
                raise Failed(f"{source} is not what was downloaded there; verify that folder first")
            _replace_folder(aside / source.name, self.folder / download.path)
        self._note(download, self.folder / download.path, Origin())
        return content.size(self.folder / download.path)

    def _note(self, download: Download, path: Path, origin: Origin) -> None:
        """A line of the lock about the content of `path`."""
        rows = None if path.is_dir() else content.rows(path, download.path)
        line = {"url": download.url, "size": content.size(path),
                "sha256": self._digests.pop(path, None) or common.sha256(path), "rows": rows,
                "revision": origin.revision or origin.tag, "time": time.strftime("%Y-%m-%d %H:%M:%S")}  # fmt: skip
        with self._lock:
            common.write_json(self.folder / LOCK, {**read_lock(self.folder), download.path: line})

    def unlocked(self, asset: Asset) -> list[str]:
        """Paths of an asset that are there, but not in the lock."""
        lock = read_lock(self.folder)
        brought = [download.path for download in asset.files if (self.folder / download.path).exists()]
        names = brought or [str(path.relative_to(self.folder)) for path in files_of(asset, self.folder)]
        return [name for name in names if name not in lock]

    def adopt(self, asset: Asset) -> list[str]:
        """Writes into the lock what lies here without a line in it, put there by hand; a sentence for each fault it has."""
        urls, new = {download.path: download.url for download in asset.files}, self.unlocked(asset)
        faults = dict(examine(asset, self.folder, rehash=True)) if new else {}
        for name in new:
            if self.folder / name not in faults:
                self._note(Download(name, urls.get(name, "")), self.folder / name, Origin())
        return [f"{self.folder / name} {faults[self.folder / name]}" for name in new if self.folder / name in faults]

    @staticmethod
    def _unpack(archive: Path, folder: Path, download: Download) -> None:
        with _aside(folder) as aside:
            try:
                with zipfile.ZipFile(archive) as z:
                    z.extractall(aside)
            except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                transfer.discard(archive)
                raise Failed(f"{download.url}: not a zip archive ({error})") from None
            if not (aside / folder.name).is_dir():
                raise Failed(f"{download.url}: the archive holds no folder {folder.name}")
            _replace_folder(aside / folder.name, folder)

    def _part(self, download: Download) -> Path:
        path = self.folder / download.path
        return path.with_name(path.name + ".part")

    def _reach(self, url: str) -> None:
        """Failed, within seconds and once per host, if nothing answers there. Behind a proxy only the proxy can tell."""
        parts = urlsplit(url)
        if parts.scheme == "file" or parts.scheme in urllib.request.getproxies():
            return
        with self._lock:
            lock = self._host_locks.setdefault(parts.netloc, threading.Lock())
        with lock:
            if parts.netloc not in self._hosts:
                self._hosts[parts.netloc] = _knock(parts.hostname, parts.port or {"http": 80}.get(parts.scheme, 443))
        if self._hosts[parts.netloc]:
            raise Failed(f"{parts.netloc} cannot be reached ({self._hosts[parts.netloc]})")


@contextlib.contextmanager
def _aside(folder: Path):
    """A temporary place beside `folder`; what a killed process left there goes first: we hold the lock of the data folder."""
    for left in folder.parent.glob(f".{folder.name}.*.tmp"):
        shutil.rmtree(left, ignore_errors=True)
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _replace_folder(new: Path, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(new, folder)


def _local_folder(url: str) -> Path | None:
    """The folder of this machine that a file: address names, None for anything else."""
    path = Path(unquote(urlsplit(url).path)) if url.startswith("file:") else None
    return path if path and path.is_dir() else None


def _bytes(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _knock(host: str, port: int) -> str:
    """Why no connection to a host can be made, "" if it can. A look-up of the name may hang for long, so it has a deadline."""
    answer = ["no answer"]

    def connect():
        try:
            socket.create_connection((host, port), timeout=CONNECT).close()
            answer[0] = ""
        except OSError as error:
            answer[0] = cause(error)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT + 1)
    return answer[0]


# ---------------------------------------------------------------------------------------------------------------------
# Before: what is absent, from where, and does it fit?


def absent(asset: Asset, folder: Path) -> list[Download]:
    """What must be downloaded for an asset to be there. One file counts in any form that the readers understand."""
    single = len(asset.files) == 1 or not any((folder / d.path).exists() for d in asset.files)
    if single and files_of(asset, folder):
        return []
    return [download for download in asset.files if not (folder / download.path).exists()]


def leftovers(assets: list[Asset], folder: Path) -> list[Path]:
    """What killed downloads of these assets left behind that no later one takes up: temporary files, notes about parts that are gone."""
    names = {folder / LOCK, *(transfer.state_of(folder / f"{d.path}.part") for asset in assets for d in asset.files)}
    found = [name for name in names if name.name != LOCK and name.exists() and not name.with_suffix("").exists()]
    for parent in {name.parent for name in names}:
        ours = {f".{name.name}." for name in names if name.parent == parent}
        found += [path for path in parent.glob(".*.tmp") if path.name.rsplit(".", 2)[0] + "." in ours]
    return found


def from_folder(asset: Asset, mirror: Path) -> list[Download]:
    """The files of an asset in another data folder, as downloads; its lock says what they have to be."""
    lock, known = read_lock(mirror), {d.path: d for d in asset.files if not d.unpack}
    paths, found = files_of(asset, mirror), []
    archive = next((d for d in asset.files if d.unpack), None)
    if paths and archive:
        folder, size = mirror / archive.path, content.size(mirror / archive.path)
        locked = lock.get(archive.path, {}).get("sha256", "")
        return [Download(archive.path, folder.absolute().as_uri(), locked, about=size, room=size, count=archive.count)]
    for path in paths:
        name = str(path.relative_to(mirror))
        sha256 = known[name].sha256 if name in known else ""
        size = path.stat().st_size
        found.append(Download(name, path.absolute().as_uri(), sha256 or lock.get(name, {}).get("sha256", ""), size, about=size, room=size))
    return found


@dataclass(frozen=True)
class Estimate:
    """What a download will take, and what the disk has: bytes over the line, bytes and files on the disk."""

    bytes: int
    room: int
    files: int
    unknown: int  # files whose size nobody knows
    free_bytes: int
    free_files: int | None  # None where the file system does not count them

    def __str__(self) -> str:
        unknown = f" ({self.unknown} of unknown size)" if self.unknown else ""
        inodes = "" if self.free_files is None else f" and {self.free_files:,} files"
        need = f"about {self.bytes / 1e9:.2f} GB to download{unknown}, {self.room / 1e9:.2f} GB and {self.files} files on the disk"
        return f"{need}; free: {self.free_bytes / 1e9:.1f} GB{inodes}"


def estimate(downloads: list[Download], folder: Path) -> Estimate:
    """Bytes and files of what is missing, less what has come already, beside what the disk holding `folder` has free."""
    lock = read_lock(folder)
    sizes = [d.size or d.about or lock.get(d.path, {}).get("size", 0) for d in downloads]
    come = begun(downloads, folder)
    disk = os.statvfs(next(place for place in (folder, *folder.absolute().parents) if place.exists()))
    room = sum(max(d.room, size) for d, size in zip(downloads, sizes, strict=True))
    return Estimate(max(0, sum(sizes) - come), max(0, room - come), sum(d.count for d in downloads), sizes.count(0),
                    disk.f_bavail * disk.f_frsize, disk.f_favail if disk.f_files else None)  # fmt: skip


def begun(downloads: list[Download], folder: Path) -> int:
    """Bytes that earlier attempts have left in parts."""
    return sum(_bytes(folder / f"{d.path}.part") for d in downloads)


def refuse_if_too_large(estimate: Estimate, folder: Path) -> None:
    """UserError if the disk has no room for it."""
    if estimate.room + SPARE_BYTES > estimate.free_bytes:
        need = f"needs about {estimate.room / 1e9:.1f} GB and has {estimate.free_bytes / 1e9:.1f} GB free"
    elif estimate.free_files is not None and estimate.files + SPARE_FILES > estimate.free_files:
        need = f"needs {estimate.files} files and may hold only {estimate.free_files} more (inodes)"
    else:
        return
    raise UserError(f"the disk of {folder} {need}; free some space, choose fewer --shards, or another folder with --data_dir")


# ---------------------------------------------------------------------------------------------------------------------
# After: is it whole?


def verify(asset: Asset, folder: Path) -> tuple[int, list[str]]:
    """Reads every file of an asset again. Returns how many are whole, and a sentence for each thing that is wrong.

    A damaged file that we downloaded is moved aside, so that the next download fetches it again.
    """
    faults, lock = examine(asset, folder, rehash=True), read_lock(folder)
    for path, _ in faults:
        if path.exists() and str(path.relative_to(folder)) in lock and os.access(folder, os.W_OK):
            os.replace(path, path.with_name(f"{path.name}.damaged"))
    files = max(len(asset.files), len(files_of(asset, folder)) if not asset.files else 1)
    return max(0, files - len(faults)), [f"{path} {reason}" for path, reason in faults]
