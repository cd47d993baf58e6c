"""One file over HTTP: continued where it stopped, never spliced from two versions, patient with servers that are not.

`.part` holds what has come so far, `.part.json` what the server said about the file it belongs to. A part is continued only
if the server can be asked to continue exactly that file (If-Range with an ETag or a date), or if its sha256 is known.
"""

import email.utils
import http.client
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from nanochat import common

READ = 30.0  # seconds without a byte
WINDOW, LEAST = 60.0, 64 << 10  # a connection that brings fewer bytes than LEAST in WINDOW seconds is given up
CHUNK = 1 << 20
LONGEST_WAIT = 300.0  # seconds that a server may ask to wait
AGENT = "nanochat-dag"
HUB_SAYS = ("X-Repo-Commit", "X-Linked-Size", "X-Linked-Etag")  # commit, bytes and sha256 of a file on the hub


class Broken(Exception):
    """An attempt that failed. `wait`: seconds that the server asked for; `final`: no use in trying again."""

    def __init__(self, reason: str, wait: float = 0.0, final: bool = False):
        super().__init__(reason)
        self.wait, self.final = wait, final


@dataclass
class Origin:
    """What a server said about a file: `tag` identifies its version, `total` bytes, and on the hub its sha256 and commit."""

    tag: str = ""
    total: int = 0
    sha256: str = ""
    revision: str = ""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects as usual, and keeps what the hub says about a file before it sends us on to its storage."""

    def __init__(self):
        self.said: dict[str, str] = {}

    def redirect_request(self, request, fp, code, msg, headers, newurl):
        self.said |= {name: headers[name] for name in HUB_SAYS if headers[name]}
        return super().redirect_request(request, fp, code, msg, headers, newurl)


def state_of(part: Path) -> Path:
    """Where the origin of a part is kept."""
    return part.with_name(part.name + ".json")


def discard(part: Path) -> None:
    """Removes a part and what is known about it."""
    part.unlink(missing_ok=True)
    state_of(part).unlink(missing_ok=True)


def bring(url: str, part: Path, known_hash: bool, stop: threading.Event, tell: Callable[[int], None]) -> Origin:
    """One attempt at having the whole of `url` in `part`; Broken says why it did not succeed.

    `tell` is called with the number of bytes that came; a negative number takes back what had been counted.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    before, have = Origin(**(common.read_json(state_of(part)) or {})), part.stat().st_size if part.exists() else 0
    if have and not (before.tag or known_hash):
        tell(-have)
        have = 0
    if have and have == before.total:
        return before
    redirects = _Redirects()
    opener = urllib.request.build_opener(redirects)
    try:
        with opener.open(urllib.request.Request(url, headers=_headers(have, before)), timeout=READ) as response:
            origin, start = _origin(response, redirects.said), _start(response, have, before)
            if have and not start:
                tell(-have)
            common.write_json(state_of(part), asdict(origin))
            _receive(response, part, start, stop, tell)
    except urllib.error.HTTPError as error:
        raise _answer(error, part, have, tell) from None
    except http.client.HTTPException as error:
        raise Broken(f"the connection broke ({cause(error)})") from None
    return _complete(part, origin)


def _headers(have: int, before: Origin) -> dict[str, str]:
    headers = {"User-Agent": AGENT, "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-"} | ({"If-Range": before.tag} if before.tag else {})
    return headers


def _origin(response, redirected: dict[str, str]) -> Origin:
    """What the answer, or the redirect before it, says about the whole file. The hub names large files by their sha256."""
    headers = response.headers
    said = {name: redirected.get(name) or headers.get(name) or "" for name in HUB_SAYS}
    length, place = headers.get("Content-Length", ""), headers.get("Content-Range", "")
    total = place.rpartition("/")[2] if response.status == 206 else length
    linked = said["X-Linked-Etag"].strip('"')
    sha256 = linked if len(linked) == 64 else ""
    total = said["X-Linked-Size"] or total
    return Origin(_version(headers), int(total) if total.isdigit() else 0, sha256, said["X-Repo-Commit"])


def _version(headers) -> str:
    """What If-Range can hold: a strong ETag, else the date of the last change; "" if there is neither."""
    tag = headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")


def _start(response, have: int, before: Origin) -> int:
    """From where the answer goes on: `have` if it is the rest of the same file, else 0."""
    continues = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
    if response.status == 206 and not continues:
        raise Broken("the server sent another piece of the file than was asked for")
    now = _version(response.headers)
    if continues and before.tag and now and now != before.tag:
        raise Broken("the file changed while it came")
    return have if continues else 0


def _receive(response, part: Path, start: int, stop: threading.Event, tell: Callable[[int], None]) -> None:
    with open(part, "ab" if start else "wb") as f:
        since, came = time.monotonic(), 0
        while chunk := response.read1(CHUNK):
            f.write(chunk)
            tell(len(chunk))
            came += len(chunk)
            if stop.is_set():
                raise Broken("stopped")
            if time.monotonic() - since > WINDOW:
                if came < LEAST:
                    raise Broken(f"only {came} bytes came in {WINDOW:.0f} s")
                since, came = time.monotonic(), 0
        f.flush()
        os.fsync(f.fileno())


def _complete(part: Path, origin: Origin) -> Origin:
    size = part.stat().st_size
    if origin.total and size < origin.total:
        raise Broken(f"only {size} of {origin.total} bytes came")
    return origin


def _answer(error: urllib.error.HTTPError, part: Path, have: int, tell: Callable[[int], None]) -> Broken:
    """An answer that is no file. 416: what we have is more than there is."""
    reason = f"the server answers {error.code} {error.reason}"
    if error.code == 416:
        discard(part)
        tell(-have)
        return Broken(f"{reason} after {have} bytes, so what came is not the file")
    wait = retry_after(error.headers.get("Retry-After", ""), time.time())
    if wait > LONGEST_WAIT:
        return Broken(f"{reason} and asks to come back in {common.duration(wait)}", final=True)
    return Broken(reason, wait, final=error.code < 500 and error.code not in (408, 425, 429))


def retry_after(text: str, now: float) -> float:
    """Seconds that a `Retry-After` header asks for: a number, or a date; 0 if it says nothing that can be read."""
    if text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except (TypeError, ValueError):
        return 0.0


def cause(error: BaseException) -> str:
    """The reason inside what urllib raises, in a few words."""
    inner = getattr(error, "reason", None)
    error = inner if isinstance(inner, BaseException) else error
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
