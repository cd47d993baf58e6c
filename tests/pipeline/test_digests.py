"""Digests see every change of content and nothing else."""

import os

import pytest

from nanochat import common
from nanochat.pipeline import digests
from nanochat.pipeline.digests import digest


@pytest.fixture
def folder(tmp_path):
    """A folder with a file and a sub-folder."""
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "data" / "a.txt").write_text("one")
    (tmp_path / "data" / "sub" / "b.txt").write_text("two")
    return tmp_path / "data"


def test_a_file_s_digest_is_its_sha256(folder):
    assert digest(folder / "a.txt") == common.sha256(folder / "a.txt")


@pytest.mark.parametrize(
    "change",
    [
        lambda f: (f / "a.txt").write_text("ono"),
        lambda f: (f / "sub" / "b.txt").unlink(),
        lambda f: (f / "sub" / "b.txt").rename(f / "sub" / "c.txt"),
        lambda f: (f / "new.txt").touch(),
    ],
)
def test_a_folder_s_digest_sees_content_names_and_number_of_files(folder, change):
    before = digest(folder)
    assert digest(folder) == before
    change(folder)
    assert digest(folder) != before


def test_work_in_progress_of_a_writer_does_not_count(folder):
    before = digest(folder)
    (folder / ".b.txt.123.tmp").write_text("half")
    (folder / ".aside").mkdir()
    (folder / ".aside" / "x").touch()
    assert digest(folder) == before


def test_a_change_within_the_resolution_of_times_is_seen(folder):
    path, seen = folder / "a.txt", set()
    for i in range(50):
        path.write_text(f"{i:03d}")
        seen.add(digest(path))
    assert len(seen) == 50


def test_a_change_that_hides_behind_the_old_time_and_size_is_seen(folder, monkeypatch):
    monkeypatch.setattr(digests, "SETTLED", -1.0)
    path = folder / "a.txt"
    before, times = digest(path), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    path.write_text("eno")
    os.utime(path, ns=times)
    assert digest(path) != before


def test_large_files_are_read_once_and_remembered_on_disk(folder, base_dir, monkeypatch):
    base_dir.mkdir()
    monkeypatch.setattr(digests, "SETTLED", -1.0)
    monkeypatch.setattr(digests, "LARGE", 3)
    monkeypatch.setattr(digests, "_known", {})
    value = digest(folder / "a.txt")
    monkeypatch.setattr(digests, "_known", {})
    monkeypatch.setattr(common, "sha256", lambda path: pytest.fail("read again"))
    assert digest(folder / "a.txt") == value


def test_a_file_that_vanishes_meanwhile_is_no_error(folder, monkeypatch):
    real = common.sha256

    def vanishing(path):
        if path.name == "a.txt":
            path.unlink()
        return real(path)

    monkeypatch.setattr(common, "sha256", vanishing)
    assert digest(folder)
