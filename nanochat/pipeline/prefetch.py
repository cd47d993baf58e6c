"""Downloads what a profile needs, on the machine that has internet, into the layout that every stage reads.

Kind to a login node: at most four connections and little memory; killed at any moment, the same command goes on where it
was. A file appears under its name only when all of it is there. What a host that cannot be reached would have
given is one sentence within seconds, and the exit code is not 0.
"""

import concurrent.futures
import errno
import gzip
import http.client
import json
import os
import shutil
import socket
import threading
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

from nanochat import common
from nanochat.pipeline.assets import Asset, Download, find
from nanochat.pipeline.explain import explain

CONNECTIONS = 4
TRIES, BACKOFF = 4, 0.5  # seconds before the second try, doubling
CONNECT, READ = 4.0, 30.0  # seconds
CHUNK = 1 << 20
HERE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR}  # our side: no use in trying again
RECORD = "downloads.json"  # path -> address, size and sha256 of what was downloaded


class Failed(Exception):
    """A file that could not be had; the message says why."""


class Fetcher:
    """Downloads into one data directory. `stop` ends all transfers at their next chunk."""

    def __init__(self, folder: Path, say=common.say):
        self.folder, self.say = folder, say
        self.stop = threading.Event()
        self._hosts: dict[str, str] = {}  # host -> why it cannot be reached, "" if it can
        self._host_locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def fetch_all(self, downloads: list[Download]) -> dict[Download, str]:
        """Downloads all, a few at a time. Returns those that failed with the reason."""
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
                    self.say(f"[{done}/{len(downloads)}] {message}")
            except BaseException:
                self.stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return failures

    def fetch(self, download: Download) -> str:
        """Downloads one file and gives a line about it; Failed with one sentence otherwise."""
        started, reason = time.time(), ""
        try:
            for attempt in range(TRIES):
                if self.stop.wait(BACKOFF * 2 ** (attempt - 1) if attempt else 0):
                    break
                self._reach(download.url)
                reason = self._try(download)
                if not reason:
                    size = self._finish(download)
                    return f"{download.path}  {size / 1e6:.1f} MB in {time.time() - started:.0f} s"
        except OSError as error:
            raise Failed(explain(error)) from None
        raise Failed(f"{download.url}: {reason or 'stopped'}")

    def _try(self, download: Download) -> str:
        """One attempt at the whole of the file. Returns why it should be tried again, "" when it is there."""
        try:
            return self._transfer(download) or self._damage(download)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # what we have is more than there is
                self._part(download).unlink(missing_ok=True)
            elif error.code < 500 and error.code not in (408, 429):
                raise Failed(f"{download.url}: the server answers {error.code} {error.reason}") from None
            return f"the server answers {error.code} {error.reason}"
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in HERE:
                raise
            return f"the connection broke ({_cause(error)})"

    def _transfer(self, download: Download) -> str:
        """Continues the .part file with what is missing; Range with If-Range, so that a changed file starts again."""
        part, tag = self._part(download), self._part(download).with_suffix(".etag")
        part.parent.mkdir(parents=True, exist_ok=True)
        have = part.stat().st_size if part.exists() else 0
        headers = {"User-Agent": "nanochat-dag", "Accept-Encoding": "identity"}
        if have:
            headers |= {"Range": f"bytes={have}-"} | ({"If-Range": tag.read_text()} if tag.exists() else {})
        with urllib.request.urlopen(urllib.request.Request(download.url, headers=headers), timeout=READ) as response:
            if have and not (response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")):
                have = 0
            self._remember_tag(tag, response.headers.get("ETag"))
            length = response.headers.get("Content-Length")
            with open(part, "ab" if have else "wb") as f:
                while chunk := response.read(CHUNK):
                    f.write(chunk)
                    if self.stop.is_set():
                        return "stopped"
                f.flush()
                os.fsync(f.fileno())
        size = part.stat().st_size
        return f"only {size} of {have + int(length)} bytes came" if length and size < have + int(length) else ""

    @staticmethod
    def _remember_tag(tag: Path, value: str | None) -> None:
        if value and not value.startswith("W/"):
            tag.write_text(value)
        else:
            tag.unlink(missing_ok=True)

    def _damage(self, download: Download) -> str:
        part = self._part(download)
        reason = _wrong_content(part, download) or (damage(part, download.path) if not download.unpack else "")
        if reason:
            part.unlink(missing_ok=True)
        return reason

    def _finish(self, download: Download) -> int:
        """Gives the complete file its name, or unpacks it to the folder it holds; writes down what it was."""
        part, path = self._part(download), self.folder / download.path
        size, digest = part.stat().st_size, ""
        if download.unpack:
            self._unpack(part, path, download)
            part.unlink()
            digest = common.sha256(path)
        else:
            digest = common.sha256(part)
            os.replace(part, path)
        part.with_suffix(".etag").unlink(missing_ok=True)
        with self._lock:
            record = common.read_json(self.folder / RECORD) or {}
            record[download.path] = {"url": download.url, "size": size, "sha256": digest}
            common.write_json(self.folder / RECORD, record)
        return size

    @staticmethod
    def _unpack(archive: Path, folder: Path, download: Download) -> None:
        aside = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
        shutil.rmtree(aside, ignore_errors=True)
        try:
            with zipfile.ZipFile(archive) as z:
                z.extractall(aside)
            if not (aside / folder.name).is_dir():
                raise Failed(f"{download.url}: the archive holds no folder {folder.name}")
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(aside / folder.name, folder)
        except zipfile.BadZipFile as error:
            archive.unlink()
            raise Failed(f"{download.url}: not a zip archive ({error})") from None
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _part(self, download: Download) -> Path:
        path = self.folder / download.path
        return path.with_name(path.name + ".part")

    def _reach(self, url: str) -> None:
        """Failed, within seconds and once per host, if nothing answers there. Behind a proxy only the proxy can tell."""
        parts = urlsplit(url)
        if parts.scheme in urllib.request.getproxies():
            return
        with self._lock:
            lock = self._host_locks.setdefault(parts.netloc, threading.Lock())
        with lock:
            if parts.netloc not in self._hosts:
                self._hosts[parts.netloc] = _knock(parts.hostname, parts.port or {"http": 80}.get(parts.scheme, 443))
        if self._hosts[parts.netloc]:
            raise Failed(f"{parts.netloc} cannot be reached ({self._hosts[parts.netloc]})")


def _knock(host: str, port: int) -> str:
    """Why no connection to a host can be made, "" if it can. A look-up of the name may hang for long, so it has a deadline."""
    answer = ["no answer"]

    def connect():
        try:
            socket.create_connection((host, port), timeout=CONNECT).close()
            answer[0] = ""
        except OSError as error:
            answer[0] = _cause(error)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT + 1)
    return answer[0]


def _cause(error: BaseException) -> str:
    inner = getattr(error, "reason", None)
    error = inner if isinstance(inner, BaseException) else error
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


# ---------------------------------------------------------------------------------------------------------------------
# What is there, and is it whole?


def absent(asset: Asset, folder: Path) -> list[Download]:
    """What must be downloaded for an asset to be there. One file counts in any form that the readers understand."""
    if "*" not in asset.stem and find(asset.id, folder):
        return []
    return [download for download in asset.downloads if not (folder / download.path).exists()]


def verify(asset: Asset, folder: Path) -> tuple[int, list[str]]:
    """Reads every file of an asset again. Returns how many are whole, and a sentence for each that is missing or is not.

    A damaged file that we downloaded is moved aside, so that the next download fetches it again.
    """
    record, whole, faults = common.read_json(folder / RECORD) or {}, 0, []
    downloads, found = {d.path: d for d in asset.downloads}, find(asset.id, folder)
    names = list(downloads)
    if found and "*" not in asset.stem and not any((folder / name).exists() for name in names):
        names = [str(found.relative_to(folder))]  # another form than the one we would download
    for name in names:
        reason = _fault(folder / name, downloads.get(name), record.get(name))
        if not reason:
            whole += 1
            continue
        faults.append(f"{folder / name} {reason}")
        if name in record and (folder / name).exists():
            os.replace(folder / name, folder / f"{name}.damaged")
    return whole, faults


def _fault(path: Path, download: Download | None, record: dict | None) -> str:
    if not path.exists():
        return "is missing"
    if path.is_dir():
        return "is not what was downloaded" if record and common.sha256(path) != record["sha256"] else ""
    if download and (reason := _wrong_content(path, download)):
        return reason
    if record and common.sha256(path) != record["sha256"]:
        return "is not what was downloaded"
    return damage(path, path.name)


def _wrong_content(path: Path, download: Download) -> str:
    if download.size and path.stat().st_size != download.size:
        return f"has {path.stat().st_size} bytes instead of {download.size}"
    if download.sha256 and common.sha256(path) != download.sha256:
        return "has the wrong sha256"
    return ""


def damage(path: Path, name: str) -> str:
    """What is wrong with a file judged by the format its name promises, "" if nothing is seen."""
    if path.stat().st_size == 0:
        return "is empty"
    if name.endswith(".parquet"):
        with open(path, "rb") as f:
            head = f.read(4)
            f.seek(max(4, path.stat().st_size - 4))
            return "" if head == f.read() == b"PAR1" else "is not a whole parquet file"
    try:
        if name.endswith((".jsonl", ".jsonl.gz")):
            with (gzip.open if name.endswith(".gz") else open)(path, "rb") as f:
                for line in f:
                    json.loads(line)
    except (OSError, EOFError, ValueError) as error:
        return f"cannot be read ({error})"
    return ""
