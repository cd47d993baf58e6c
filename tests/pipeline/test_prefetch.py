"""Downloads of files, of assets, of profiles, against a server on the loopback."""

import hashlib
import io
import json
import time
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nanochat import common
from nanochat.pipeline import manifest, prefetch
from nanochat.pipeline.manifest import Asset, Download, Source
from nanochat.pipeline.prefetch import Fetcher, verify
from scripts import prefetch as command
from tests.pipeline.hostile import tag_of

BODY = bytes(range(256)) * 4000  # about 1 MB


@pytest.fixture
def fetch(server, tmp_path):
    """Downloads one file from the server: gives the failures."""

    def call(path="x.bin", body=BODY, **known):
        server.files[f"/{path}"] = body
        return list(Fetcher(tmp_path).fetch_all([Download(path, f"{server.url}/{path}", **known)]).values())

    return call


def test_a_file_comes_whole_and_leaves_nothing_else(fetch, tmp_path):
    assert fetch() == []
    assert (tmp_path / "x.bin").read_bytes() == BODY
    assert {p.name for p in tmp_path.iterdir()} == {"x.bin", "manifest.lock"}
    assert common.read_json(tmp_path / "manifest.lock")["x.bin"]["sha256"] == hashlib.sha256(BODY).hexdigest()


@pytest.mark.parametrize("faults", [["cut"], ["cut", "cut", "cut"], [503, 503], [429], [500, "cut"]])
def test_a_broken_connection_goes_on_where_it_was(fetch, server, tmp_path, faults):
    server.faults = list(faults)
    assert fetch() == []
    assert (tmp_path / "x.bin").read_bytes() == BODY
    if "cut" in faults:
        assert server.asked[-1][1].startswith("bytes="), "the rest, not all of it"


def leave(tmp_path, content, tag=""):
    """What a killed download leaves behind."""
    (tmp_path / "x.bin.part").write_bytes(content)
    if tag:
        common.write_json(tmp_path / "x.bin.part.json", {"tag": tag, "total": len(BODY)})


def test_a_killed_download_goes_on_from_its_part(fetch, server, tmp_path):
    leave(tmp_path, BODY[:1000], tag_of(BODY))
    assert fetch() == []
    assert server.asked == [("/x.bin", "bytes=1000-")]
    assert (tmp_path / "x.bin").read_bytes() == BODY


def test_a_part_whose_version_nobody_knows_goes_on_only_if_the_hash_is_known(fetch, server, tmp_path):
    leave(tmp_path, BODY[:1000])
    assert fetch(sha256=hashlib.sha256(BODY).hexdigest()) == []
    (tmp_path / "x.bin").unlink()
    leave(tmp_path, BODY[:1000])
    assert fetch() == []
    assert server.asked == [("/x.bin", "bytes=1000-"), ("/x.bin", None)]


def test_a_part_of_a_file_that_changed_since_is_not_used(fetch, server, tmp_path):
    leave(tmp_path, b"old" * 100, '"old"')
    assert fetch() == []
    assert (tmp_path / "x.bin").read_bytes() == BODY


def test_what_came_whole_before_a_kill_is_not_asked_for_again(fetch, server, tmp_path):
    leave(tmp_path, BODY, tag_of(BODY))
    assert fetch() == [] and server.asked == []
    assert (tmp_path / "x.bin").read_bytes() == BODY


@pytest.mark.parametrize("ranges", [True, False])
def test_a_part_longer_than_the_file_or_a_server_without_ranges_starts_again(fetch, server, tmp_path, ranges):
    server.ranges = ranges
    leave(tmp_path, BODY + b"more", tag_of(BODY))
    assert fetch() == []
    assert (tmp_path / "x.bin").read_bytes() == BODY


@pytest.mark.parametrize(
    ("known", "words"),
    [({"sha256": "0" * 64}, "wrong sha256"), ({"size": 7}, "instead of 7")],
)
def test_content_other_than_known_never_gets_the_name(fetch, tmp_path, known, words):
    assert words in fetch(**known)[0]
    assert not (tmp_path / "x.bin").exists() and not (tmp_path / "x.bin.part").exists()


def test_a_page_of_html_is_no_parquet_file(fetch, tmp_path):
    assert "not a whole parquet file" in fetch("x.parquet", b"<html>sign in</html>")[0]
    assert not (tmp_path / "x.parquet").exists()


@pytest.mark.parametrize(
    ("faults", "requests"), [([404], 1), ([403], 1), ([503] * 9, prefetch.TRIES), (["cut"] * 30, prefetch.TRIES), ([(429, "86400")], 1)]
)
def test_what_cannot_be_had_is_one_reason_after_few_tries(fetch, server, tmp_path, faults, requests):
    server.faults = list(faults)
    (reason,) = fetch()
    assert server.url in reason and "\n" not in reason
    assert len(server.asked) == requests
    assert not (tmp_path / "x.bin").exists()


def test_an_archive_becomes_the_folder_it_holds(fetch, server, tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as z:
        z.writestr("bundle/core.yaml", "tasks: []")
        z.writestr("bundle/data/a.jsonl", "{}")
    assert fetch("bundle", packed.getvalue(), unpack=True) == []
    assert (tmp_path / "bundle" / "core.yaml").read_text() == "tasks: []"
    assert {p.name for p in tmp_path.iterdir()} == {"bundle", "manifest.lock"}
    assert "not a zip archive" in fetch("other", b"no archive", unpack=True)[0]
    assert not (tmp_path / "other").exists()


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["cut", 503, 500, 404, None]), max_size=6), st.integers(0, len(BODY) + 10), st.booleans(), st.booleans())
def test_after_any_faults_the_file_is_whole_or_absent_with_a_reason(server, tmp_path_factory, faults, have, ranges, tags):
    folder = tmp_path_factory.mktemp("data")
    server.files["/x.bin"], server.faults, server.ranges, server.tags = BODY, list(faults), ranges, tags
    leave(folder, (BODY + b"0123456789")[:have], tag_of(BODY) if tags else "")
    failures = Fetcher(folder, say=lambda _: None).fetch_all([Download("x.bin", f"{server.url}/x.bin")])
    assert (folder / "x.bin").exists() != bool(failures)
    if not failures and have <= len(BODY):
        assert (folder / "x.bin").read_bytes() == BODY


def test_hosts_that_do_not_answer_cost_seconds_in_all_and_one_sentence_each(tmp_path, monkeypatch):
    monkeypatch.setattr(prefetch, "_knock", lambda host, port: time.sleep(0.3) or "no answer")
    downloads = [Download(f"{i}.bin", f"http://host{i % 2}.invalid/{i}") for i in range(200)]
    started = time.time()
    failures = Fetcher(tmp_path).fetch_all(downloads)
    assert len(failures) == 200 and time.time() - started < 5
    assert set(failures.values()) == {f"host{i}.invalid cannot be reached (no answer)" for i in range(2)}


def test_a_full_disk_is_said_and_not_tried_again(fetch, server, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "x.bin.part")

    monkeypatch.setattr(prefetch.os, "fsync", full)
    assert "is full; free some space" in fetch()[0]
    assert len(server.asked) == 1


# ---------------------------------------------------------------------------------------------------------------------
# The command


@pytest.fixture
def shop(server, profile, monkeypatch, tmp_path):
    """A profile that needs two assets from the server: `code, data = shop()`."""
    files = {"/a.jsonl": b'{"a": 1}\n', "/b-0.bin": b"zero", "/b-1.bin": b"one"}
    sources = [Source(name, name, "CC0", "", (stage,), url=server.url) for name, stage in (("a", "numbers"), ("b", "total"))]
    table = {
        "a": Asset("a", ("a",), (".jsonl",), sources[0], (Download("a.jsonl", f"{server.url}/a.jsonl"),), rows=1),
        "b": Asset("b", ("b-*",), (".bin",), sources[1], tuple(Download(f"b-{i}.bin", f"{server.url}/b-{i}.bin") for i in range(2))),
        "own": Asset("own", ("own",), (".txt",), Source("own", "own", "mine", "", ("total",), by_hand="your desk")),
    }
    monkeypatch.setattr(manifest, "all_assets", lambda shards=8: table)
    profile.write_text(profile.read_text() + '[prefetch]\nassets = ["a", "b"]\n')
    server.files.update(files)
    folder = tmp_path / "data"
    return lambda *argv: command.main([f"--profile={profile}", f"--data_dir={folder}", *argv]), folder


def test_everything_comes_once_and_verifies(shop, server):
    call, folder = shop
    assert call() == 0
    assert {p.name for p in folder.iterdir()} == {".lock", "a.jsonl", "b-0.bin", "b-1.bin", "manifest.lock"}
    server.asked.clear()
    assert call() == 0 and server.asked == []
    assert call("--verify") == 0 and server.asked == []


def test_a_damaged_file_is_found_by_verify_and_fetched_again(shop, capsys):
    call, folder = shop
    call()
    (folder / "b-0.bin").write_bytes(b"zerO")
    assert call("--verify") == 1
    assert "b-0.bin is not what was downloaded (sha256 " in capsys.readouterr().err
    assert call() == 0 and (folder / "b-0.bin").read_bytes() == b"zero"


def test_what_is_missing_is_one_sentence_per_asset_and_exit_code_1(shop, server, capsys):
    call, folder = shop
    server.files = {"/a.jsonl": server.files["/a.jsonl"]}
    assert call() == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert sum(line.startswith("b (2 files): ") for line in lines) == 1 and "needed by total" in lines[-2]
    assert (folder / "a.jsonl").exists()


def test_two_downloads_at_once_are_refused(shop, capsys):
    import fcntl

    call, folder = shop
    folder.mkdir()
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert call() == 2
    assert "another download" in capsys.readouterr().err


def test_unknown_assets_and_profiles_without_any_are_told(profile, capsys):
    assert command.main([f"--profile={profile}", "--assets=gsm8k/trian"]) == 2
    assert "did you mean 'gsm8k/train'" in capsys.readouterr().err
    assert command.main([f"--profile={profile}"]) == 0
    said = capsys.readouterr().out
    assert "needs no download" in said and "NANOCHAT_PROFILE in .env.local" in said and "d20_a100x8" in said


@pytest.mark.parametrize("number", ["-1", "0", "100000"])
def test_a_number_of_shards_that_there_are_not_is_refused(profile, capsys, number):
    assert command.main([f"--profile={profile}", "--assets=base_data", f"--shards={number}"]) == 2
    assert f"--shards must be between 1 and 1822, not {number}" in capsys.readouterr().err


def test_a_mirror_without_an_address_is_refused(profile, monkeypatch, capsys):
    monkeypatch.setenv("HF_ENDPOINT", "foo")
    assert command.main([f"--profile={profile}", "--assets=base_data"]) == 2
    assert "HF_ENDPOINT must be an address such as https://" in capsys.readouterr().err


def test_the_lock_says_what_was_first_downloaded(shop, server):
    call, folder = shop
    call()
    lock = json.loads((folder / "manifest.lock").read_text())
    assert lock.keys() == {"a.jsonl", "b-0.bin", "b-1.bin"}
    line = lock["a.jsonl"]
    assert (line["url"], line["size"], line["rows"]) == (f"{server.url}/a.jsonl", 9, 1)
    assert line["sha256"] == hashlib.sha256(server.files["/a.jsonl"]).hexdigest()
    assert line["revision"] == tag_of(server.files["/a.jsonl"])


def test_a_file_that_changed_at_its_source_is_an_error_with_both_hashes(shop, server, capsys):
    call, folder = shop
    call()
    (folder / "b-0.bin").unlink()
    server.files["/b-0.bin"] = b"other"
    assert call() == 1
    said, hashes = capsys.readouterr().err, [hashlib.sha256(body).hexdigest() for body in (b"other", b"zero")]
    assert all(digest in said for digest in hashes) and "--accept_changes" in said
    assert not (folder / "b-0.bin").exists()
    assert call("--accept_changes") == 0
    assert (folder / "b-0.bin").read_bytes() == b"other" and call("--verify") == 0


def test_what_a_kill_left_behind_is_cleared_away_and_nothing_else(shop):
    call, folder = shop
    call()
    left = [".b-0.bin.part.json.77.tmp", ".manifest.lock.77.tmp", "b-1.bin.part.json"]
    kept = [".mine.tmp", "b-9.bin.part.json", ".b-9.bin.part.json.7.tmp"]
    for name in left + kept:
        (folder / name).touch()
    assert call() == 0
    assert not any((folder / name).exists() for name in left) and all((folder / name).exists() for name in kept)


def test_what_was_put_there_by_hand_is_locked_too(shop, server):
    call, folder = shop
    folder.mkdir()
    (folder / "b-0.bin").write_bytes(b"zero")
    assert call() == 0 and "/b-0.bin" not in dict(server.asked)
    (folder / "b-0.bin").write_bytes(b"ZERO")
    assert call("--verify") == 1


@pytest.mark.parametrize(("content", "words"), [('{"a": 1}\n{"a": 2}\n', "has 2 rows instead of 1"), ('{"a', "cannot be read")])
def test_what_lies_there_damaged_is_neither_locked_nor_taken_for_whole(shop, capsys, content, words):
    call, folder = shop
    folder.mkdir()
    (folder / "a.jsonl").write_text(content)
    assert call() == 1
    assert words in capsys.readouterr().err
    if "rows" not in words:
        assert "a.jsonl" not in manifest.read_lock(folder)


def test_a_download_with_another_number_of_rows_is_no_success(shop, server, capsys):
    call, folder = shop
    server.files["/a.jsonl"] = b'{"a": 1}\n{"a": 2}\n'
    assert call() == 1
    assert "a.jsonl has 2 rows instead of 1" in capsys.readouterr().err


def test_what_only_a_person_can_bring_is_asked_for(shop, capsys):
    call, folder = shop
    assert call("--assets=a,own") == 1
    assert f"own is not there and has no address: put it at {folder / 'own.txt'} (from your desk)" in capsys.readouterr().err
    (folder / "own.txt").write_text("mine")
    assert call("--assets=a,own") == 0


def test_files_come_from_another_data_folder_and_must_be_what_its_lock_says(shop, server, tmp_path, capsys):
    call, folder = shop
    assert call() == 0
    folder.rename(tmp_path / "other")
    (tmp_path / "other" / "own.txt").write_text("mine")
    server.files.clear()
    assert call(f"--mirror={tmp_path / 'other'}", "--assets=a,b,own") == 0
    assert (folder / "b-1.bin").read_bytes() == b"one" and (folder / "own.txt").read_text() == "mine"
    (folder / "b-1.bin").unlink()
    (folder / "b-0.bin").unlink()
    (tmp_path / "other" / "b-1.bin").write_bytes(b"two")
    assert call(f"--mirror={tmp_path / 'other'}") == 1
    assert "wrong sha256" in capsys.readouterr().err and not (folder / "b-1.bin").exists()
    assert call(f"--mirror={tmp_path / 'nowhere'}") == 2


def test_a_folder_that_was_an_archive_is_copied_whole_or_not_at_all(tmp_path):
    source, other = Source("s", "s", "CC0", "", ("x",), url="u"), tmp_path / "other"
    asset = Asset("b", ("bundle/core",), (".yaml",), source, (Download("bundle", "u", "0" * 64, unpack=True),))
    assert prefetch.from_folder(asset, other) == []
    (other / "bundle" / "deep").mkdir(parents=True)
    (other / "bundle" / "core.yaml").write_text("tasks: []")
    (other / "bundle" / "deep" / "a.jsonl").write_text("{}")
    common.write_json(other / "manifest.lock", {"bundle": {"size": 11, "sha256": common.sha256(other / "bundle")}})
    assert Fetcher(tmp_path / "data").fetch_all(prefetch.from_folder(asset, other)) == {}
    assert (tmp_path / "data" / "bundle" / "deep" / "a.jsonl").read_text() == "{}"
    assert {p.name for p in (tmp_path / "data").iterdir()} == {"bundle", "manifest.lock"} and verify(asset, tmp_path / "data") == (1, [])
    (other / "bundle" / "deep" / "a.jsonl").write_text("[]")
    (reason,) = Fetcher(tmp_path / "more").fetch_all(prefetch.from_folder(asset, other)).values()
    assert "is not what was downloaded there" in reason and not (tmp_path / "more" / "bundle").exists()


def test_a_read_only_folder_can_be_verified(shop):
    call, folder = shop
    call()
    folder.chmod(0o500)
    try:
        assert call("--verify") == 0 and call() == 0
    finally:
        folder.chmod(0o700)


# ---------------------------------------------------------------------------------------------------------------------
# Before it starts


def big(size, count=1, path="x.bin"):
    return [Download(path, "http://127.0.0.1/x", about=size, room=size, count=count)]


def test_the_estimate_counts_what_is_missing_less_what_has_come(tmp_path):
    (tmp_path / "x.bin.part").write_bytes(b"1" * 400)
    found = prefetch.estimate(big(1000) + big(0, path="y.bin"), tmp_path)
    assert (found.bytes, found.room, found.files, found.unknown) == (600, 600, 2, 1)
    assert found.free_bytes > 0 and "1 of unknown size" in str(found)


def test_a_folder_that_does_not_exist_yet_has_the_room_of_its_disk(tmp_path):
    assert prefetch.estimate(big(1), tmp_path / "a" / "b").free_bytes > 0


@pytest.mark.parametrize(("size", "files", "words"), [(1 << 60, 1, "free some space"), (1, 1 << 60, "inodes")])
def test_what_does_not_fit_is_refused(tmp_path, size, files, words):
    estimate = prefetch.estimate(big(size, files), tmp_path)
    if files > 1 and estimate.free_files is None:
        pytest.skip("this file system does not count its files")
    with pytest.raises(common.UserError, match=words):
        prefetch.refuse_if_too_large(estimate, tmp_path)


def test_a_download_that_does_not_fit_brings_nothing(shop, server, monkeypatch, capsys):
    call, folder = shop
    monkeypatch.setattr(prefetch, "SPARE_BYTES", 1 << 62)
    assert call() == 2
    assert "free some space" in capsys.readouterr().err and server.asked == [] and not folder.exists()


def test_a_dry_run_says_what_would_come(shop, server, capsys):
    call, folder = shop
    assert call("--dry_run") == 0
    out = capsys.readouterr().out
    assert "3 to download" in out and "free:" in out and server.asked == [] and not folder.exists()
