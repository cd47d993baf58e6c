"""What the download makes of servers that misbehave: the bytes of the file, or a reason and an exit code that is not 0.

python -m pytest tests/pipeline/test_hostile_server.py -s     # prints the table of what the server did and what came out
"""

import hashlib
import json
import random
import re
import signal
import subprocess
import sys
import time

import pyarrow
import pyarrow.parquet
import pytest

from nanochat.pipeline import prefetch, transfer
from nanochat.pipeline.manifest import LOCK, Download
from nanochat.pipeline.prefetch import Fetcher
from tests.pipeline.helpers import wait_for
from tests.pipeline.hostile import serving

BODY = random.Random(0).randbytes(3 << 20)
HASH = hashlib.sha256(BODY).hexdigest()
WHOLE = "whole"

# what the server does -> (its faults in order, what is known of the file beforehand, `whole` or words of the reason)
CASES = {
    "behaves": ([], {}, WHOLE),
    "breaks off in the middle, three times": (["cut"] * 3, {}, WHOLE),
    "resets the connection in the middle": (["reset"], {}, WHOLE),
    "resets every connection": (["reset"] * 99, {}, "the connection broke"),  # half of the rest comes, until that is not worth a try
    "stalls in the middle": (["stall"], {}, WHOLE),
    "sends a byte now and then": (["drip"], {}, WHOLE),
    "503 twice": ([503, 503], {}, WHOLE),
    "503 for ever": ([503] * 99, {}, "the server answers 503"),
    "429 with Retry-After: 1": ([(429, "1")], {}, WHOLE),
    "429 with Retry-After: a day": ([(429, "86400")], {}, "asks to come back in 1 d"),
    "404": ([404], {}, "the server answers 404"),
    "announces too many bytes once": (["long"], {}, WHOLE),
    "announces too many bytes for ever": (["long"] * 99, {}, "so what came is not the file"),
    "announces too few bytes, hash known": (["short"], {"sha256": HASH}, WHOLE),
    "announces too few bytes for ever, hash known": (["short"] * 99, {"sha256": HASH}, "wrong sha256"),
    "announces too few bytes for ever, size known": (["short"] * 99, {"size": len(BODY)}, "instead of"),
    "changes a byte once, hash known": (["corrupt"], {"sha256": HASH}, WHOLE),
    "changes a byte for ever, hash known": (["corrupt"] * 99, {"sha256": HASH}, "wrong sha256"),
    "answers with another range than asked for": (["cut", "elsewhere"], {}, WHOLE),
}


@pytest.fixture
def hasty(monkeypatch):
    """Patience of tenths of seconds."""
    monkeypatch.setattr(transfer, "READ", 0.4)
    monkeypatch.setattr(transfer, "WINDOW", 0.3)


def bring(server, folder, **known) -> str:
    """Downloads /x.bin: `whole`, or why not."""
    failures = Fetcher(folder, say=lambda _: None).fetch_all([Download("x.bin", f"{server.url}/x.bin", **known)])
    there = folder / "x.bin"
    assert there.exists() != bool(failures), "a file or a reason, never both, never neither"
    assert not there.exists() or there.read_bytes() == server.files["/x.bin"], "the bytes of the file and no others"
    return next(iter(failures.values()), WHOLE)


@pytest.mark.parametrize("does", CASES)
def test_the_bytes_come_or_a_reason(server, hasty, tmp_path, does):
    server.files["/x.bin"] = BODY
    faults, known, outcome = CASES[does]
    server.faults = list(faults)
    came = bring(server, tmp_path, **known)
    print(f"\n| {does} | {len(server.asked)} | {server.sent / 1e6:.1f} | {came.replace(server.url, '')} |")
    assert outcome in came and "\n" not in came
    assert server.most_connections <= 2  # one at a time, and the last one's handler may not have noticed its end yet
    assert len(server.asked) < 40 and server.sent < 4 * len(BODY)


def test_a_server_without_ranges_sends_everything_again(server, hasty, tmp_path):
    server.files["/x.bin"], server.ranges, server.faults = BODY, False, ["cut", "cut"]
    assert bring(server, tmp_path) == WHOLE
    assert [asked for _, asked in server.asked][1].startswith("bytes=")


def test_a_server_that_does_not_name_versions_is_never_asked_for_a_rest(server, hasty, tmp_path):
    server.files["/x.bin"], server.tags, server.faults = BODY, False, ["cut", "cut"]
    assert bring(server, tmp_path) == WHOLE
    assert [asked for _, asked in server.asked] == [None] * 3


@pytest.mark.parametrize("tags", [True, False])
def test_a_file_that_changes_between_two_tries_is_the_new_one(server, tmp_path, monkeypatch, tags):
    """Half of the old version has come when the file is replaced by one of the same length."""
    server.files["/x.bin"], server.tags, server.faults = BODY, tags, ["cut"]
    original = transfer.bring

    def change(*arguments):
        try:
            return original(*arguments)
        finally:
            server.files["/x.bin"] = BODY[::-1]

    monkeypatch.setattr(transfer, "bring", change)
    assert bring(server, tmp_path) == WHOLE
    assert (tmp_path / "x.bin").read_bytes() == BODY[::-1]


@pytest.mark.parametrize("faults", [[], ["cut"]])
def test_a_redirect_to_another_host_is_followed_and_continued_there(server, hasty, tmp_path, faults):
    with serving() as other:
        other.files["/x.bin"] = server.files["/x.bin"] = BODY
        other.faults = list(faults)
        server.faults = [other.url] * 9
        assert bring(server, tmp_path) == WHOLE
        assert len(other.asked) == 1 + len(faults) and server.sent == 0
        assert not faults or other.asked[-1][1].startswith("bytes=")


def test_a_redirect_in_a_circle_ends(server, tmp_path):
    server.files["/x.bin"], server.faults = BODY, [server.url] * 99
    assert "302" in bring(server, tmp_path) and len(server.asked) < 30


def test_what_the_hub_says_about_a_file_before_it_redirects_is_held_against_it(server, hasty, tmp_path):
    with serving() as other:
        server.said = {"X_Repo_Commit": "c0ffee", "X_Linked_Etag": f'"{HASH}"', "X_Linked_Size": str(len(BODY))}
        other.files["/x.bin"] = server.files["/x.bin"] = BODY
        server.faults, other.faults = [other.url] * 9, ["corrupt"]
        assert bring(server, tmp_path) == WHOLE
        assert len(other.asked) == 2
        assert json.loads((tmp_path / LOCK).read_text())["x.bin"]["revision"] == "c0ffee"


def test_a_corrupted_table_of_unknown_hash_is_seen_when_it_is_opened(server, tmp_path):
    path = tmp_path / "table.parquet"
    rows = [{"text": hashlib.sha256(bytes([i])).hexdigest() * 50} for i in range(250)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, write_page_checksum=True)
    server.files["/t.parquet"], server.faults = path.read_bytes(), ["corrupt"] * 9
    assert "is not a whole parquet file" in fetch_table(server, tmp_path / "data")
    server.faults = ["corrupt"]
    assert fetch_table(server, tmp_path / "data") == WHOLE


def fetch_table(server, folder) -> str:
    failures = Fetcher(folder, say=lambda _: None).fetch_all([Download("t.parquet", f"{server.url}/t.parquet")])
    return next(iter(failures.values()), WHOLE)


def test_the_server_decides_how_long_to_wait(server, tmp_path):
    server.files["/x.bin"], server.faults = BODY, [(503, "1")]
    started = time.monotonic()
    assert bring(server, tmp_path) == WHOLE
    assert 1 <= time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("text", "seconds"), [("7", 7), ("Thu, 01 Jan 1970 00:01:30 GMT", 90), ("Thu, 01 Jan 1970 00:00:00 GMT", 0), ("soon", 0), ("", 0)]
)
def test_retry_after_is_a_number_or_a_date(text, seconds):
    assert transfer.retry_after(text, now=0.0) == seconds


# ---------------------------------------------------------------------------------------------------------------------
# The command as a process of its own


@pytest.fixture
def shop(server, repository, tmp_path):
    """`start(parts)` serves that many parts and starts their download: gives the process, its data folder, what it should hold."""
    folder, children = tmp_path / "data", []

    def start(parts: dict[str, bytes], *options: str):
        server.files |= {f"/{name}": body for name, body in parts.items()}
        table = tmp_path / "manifest.toml"
        source = f'title = "s"\nurl = "{server.url}"\nlicence = "CC0"\nstages = ["numbers"]'
        asset = f'source = "s"\nplace = "p-{{part}}"\nfile = "p-{{part}}.bin"\nforms = [".bin"]\nparts = {len(parts)}'
        table.write_text(f"[sources.s]\n{source}\n[assets.base_data]\n{asset}\n")
        (tmp_path / "p.toml").write_text('[prefetch]\nassets = ["base_data"]\nshards = 1\n')
        command = [sys.executable, "-m", "tests.pipeline.toy.prefetch", str(table), f"--profile={tmp_path / 'p.toml'}"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        child = subprocess.Popen([*command, f"--data_dir={folder}", *options], cwd=repository, **pipes)
        children.append(child)
        return child

    yield start, folder
    for child in children:
        if child.returncode is None:
            child.kill()
        child.communicate()


def parts_of(count: int, size: int) -> dict[str, bytes]:
    return {f"p-{i:05d}.bin": random.Random(i).randbytes(size) for i in range(count)}


def test_memory_and_connections_stay_in_their_bounds(shop, server):
    start, folder = shop
    parts = parts_of(6, 16 << 20)
    _, said = start(parts).communicate(timeout=120)
    megabytes = int(re.search(rb"peak memory: (\d+) MB", said)[1])
    print(f"\n96 MB in 6 files: {megabytes} MB of memory, {server.most_connections} connections")
    assert megabytes < 64, "two thirds of what it downloads"
    assert 2 <= server.most_connections <= prefetch.CONNECTIONS
    assert all((folder / name).read_bytes() == body for name, body in parts.items())


@pytest.mark.slow
def test_killed_again_and_again_it_gets_there(shop, server):
    start, folder = shop
    parts = parts_of(8, 5 << 20)
    server.rate = 2e6
    dice, kills, code = random.Random(1), 0, None
    while code is None:
        assert kills < 100
        before, child = len(server.asked), start(parts)
        if dice.random() < 0.8:  # else it may be killed before it has asked for anything
            wait_for(lambda child=child, before=before: len(server.asked) > before or child.poll() is not None)
        try:
            code = child.wait(dice.uniform(0.0, 1.0))
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.wait()
            kills += 1
    megabytes = server.sent / 1e6
    print(f"\n| killed {kills} times | {len(server.asked)} | {megabytes:.1f} | exit {code}, {server.most_connections} connections |")
    assert code == 0 and kills >= 3
    assert all((folder / name).read_bytes() == body for name, body in parts.items())
    assert {p.name for p in folder.iterdir()} == {*parts, LOCK, ".lock"}
    lock = json.loads((folder / LOCK).read_text())
    assert {name: line["sha256"] for name, line in lock.items()} == {n: hashlib.sha256(b).hexdigest() for n, b in parts.items()}
    assert server.sent < 2 * sum(map(len, parts.values())), "what had come was not fetched again"
    assert server.most_connections <= 2 * prefetch.CONNECTIONS, "those of the killed process may not be closed yet"


@pytest.mark.slow
def test_without_a_server_it_ends_with_a_reason_and_an_exit_code(shop, server):
    start, folder = shop
    server.faults = [503] * 999
    child = start(parts_of(2, 100))
    _, said = child.communicate(timeout=120)
    assert child.returncode == 1
    assert b"the server answers 503" in said and b"Traceback" not in said and not list(folder.glob("*.bin"))
