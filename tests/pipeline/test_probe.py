"""What a file says about itself when its first rows and its end are read."""

import gzip
import json
import os

import pyarrow
import pyarrow.parquet
import pytest

from nanochat.pipeline import probe
from nanochat.pipeline.probe import unreadable

ROWS = [{"text": f"line {i}"} for i in range(100)]
JSONL = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
WHOLE = {
    "a.jsonl": JSONL,
    "a.jsonl.gz": gzip.compress(JSONL),
    "a.json": json.dumps(ROWS).encode(),
    "a.csv": b"question,1,2,3,4,A\n",
    "a.txt": "Ein schöner Tag.\n".encode(),
    "a.tiktoken": b"".join(b"%s %d\n" % (b"IQ==", i) for i in range(300)),
    "a.yaml": b"icl_tasks: [one]\n",
    "a.xml": b"<?xml version='1.0'?><a/>",
}


def parquet(path, rows=ROWS):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=pyarrow.schema([("text", pyarrow.string())])), path)


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_file_of_each_kind_is_readable(tmp_path, name):
    (tmp_path / name).write_bytes(WHOLE[name])
    assert unreadable(tmp_path / name) == ""


@pytest.mark.parametrize("name", [name for name in WHOLE if name not in ("a.txt", "a.csv", "a.xml", "a.yaml")])
def test_a_file_that_was_cut_is_damaged(tmp_path, name):
    (tmp_path / name).write_bytes(WHOLE[name][: len(WHOLE[name]) // 2 - 3])
    assert unreadable(tmp_path / name).startswith("is damaged (")


def test_parquet_is_opened_at_both_ends(tmp_path):
    path = tmp_path / "a.parquet"
    parquet(path)
    assert unreadable(path) == ""
    path.write_bytes(path.read_bytes()[:-20])
    assert unreadable(path).startswith("is damaged (")
    parquet(path, [])
    assert unreadable(path) == "is damaged (it has no rows)"


def test_parquet_with_spoilt_pages_is_damaged(tmp_path):
    path = tmp_path / "a.parquet"
    parquet(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + b"\x00" * 200 + whole[204:])
    assert unreadable(path).startswith("is damaged (")


@pytest.mark.parametrize("name", ["a.parquet", *WHOLE])
@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "is a Git LFS pointer, not the data"),
        (b"\n<!DOCTYPE html><html>503</html>", "is a web page, not data"),
        (b"<HTML><body>not found", "is a web page, not data"),
    ],
)
def test_what_stands_in_the_place_of_data_is_named(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    assert unreadable(tmp_path / name) == reason


def test_the_answer_of_a_server_is_not_data(tmp_path):
    (tmp_path / "a.parquet").write_text("Access to dataset x is restricted")
    assert unreadable(tmp_path / "a.parquet") == "is the answer of a server, not data"


def test_folders(tmp_path):
    (tmp_path / "train.parquet").mkdir()
    assert unreadable(tmp_path / "train.parquet") == "is a folder, where a file should be"
    (tmp_path / "bundle" / "data").mkdir(parents=True)
    assert unreadable(tmp_path / "bundle") == "is an empty folder"
    (tmp_path / "bundle" / "data" / "a.jsonl").write_bytes(JSONL)
    assert unreadable(tmp_path / "bundle") == ""
    (tmp_path / "bundle" / "data" / "b.jsonl").touch()
    assert unreadable(tmp_path / "bundle") == "holds data/b.jsonl, which is empty"


def test_no_permission_is_told_from_damage(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    path.write_bytes(JSONL)
    path.chmod(0)
    if os.access(path, os.R_OK):  # root may read everything: let the operating system refuse all the same
        monkeypatch.setattr(probe, "open", lambda *args: (_ for _ in ()).throw(PermissionError(13, "Permission denied")), raising=False)
    assert unreadable(path).startswith("may not be read")


def test_of_a_large_file_only_the_edges_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "WHOLE", 100)
    monkeypatch.setattr(probe, "EDGE", 100)
    path = tmp_path / "a.jsonl"
    path.write_bytes(JSONL.replace(b'{"text": "line 50"}', b"{damaged in the mid}"))
    assert unreadable(path) == ""
    path.write_bytes(JSONL[:-7])
    assert unreadable(path) == "is damaged (its last line is no JSON)"
