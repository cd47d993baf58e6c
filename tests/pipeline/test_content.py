"""Damage that shows in a file, and its number of rows."""

import gzip

import pyarrow
import pyarrow.parquet
import pytest

from nanochat.pipeline.content import damage, rows, size


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", b"", "is empty"),
        ("a.jsonl", b'{"a": 1}\n{"b"', "cannot be read"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 1000)[:-9], "cannot be read"),
        ("a.csv.gz", b"no gzip", "cannot be read"),
        ("a.txt.gz", gzip.compress(b"words\n" * 1000)[:-9], "cannot be read"),
        ("a.parquet", b"PAR1 and no end", "not a whole parquet"),
        ("a.parquet", b"PAR1 and a lie PAR1", "not a whole parquet"),
        ("a.parquet", b"PA", "not a whole parquet"),
    ],
)
def test_damage_is_seen(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    assert words in damage(tmp_path / name, name)


WHOLE = [
    ("a.jsonl", b'{"a": 1}\n\n{"a": 2}\n', 2),
    ("a.jsonl.gz", gzip.compress(b"{}\n{}\n{}"), 3),
    ("a.json", b'[{"a": 1}, {"a": 2}]', 2),
    ("a.json", b'{"version": 1, "rows": [1, 2, 3]}', 3),
    ("a.json.gz", gzip.compress(b"[1]"), 1),
    ("a.csv", b'"one\nquestion",a\nb,c\n', 2),
    ("a.tiktoken", b"IQ== 0\nIg== 1\n", 2),
    ("a.xml", b'<x>\n<Problem ID="1">\n</Problem>\n<Problem ID="2"/>\n</x>', 2),
    ("a.txt", b"x", None),
    ("a.bin", b"x", None),
]


@pytest.mark.parametrize(("name", "content", "count"), WHOLE)
def test_whole_files_show_no_damage_and_their_rows_are_counted(tmp_path, name, content, count):
    (tmp_path / name).write_bytes(content)
    assert damage(tmp_path / name, name) == damage(tmp_path / name, name, thorough=False) == ""
    assert rows(tmp_path / name) == count


def test_a_part_is_judged_by_the_name_it_will_have(tmp_path):
    (tmp_path / "a.jsonl.part").write_bytes(b"{}\n{}\n")
    assert rows(tmp_path / "a.jsonl.part", "data/a.jsonl") == 2
    assert "not a whole parquet" in damage(tmp_path / "a.jsonl.part", "data/a.parquet")


def test_a_table_is_counted_by_its_footer_and_every_row_group_is_decoded(tmp_path):
    path = tmp_path / "a.parquet"
    table = pyarrow.Table.from_pylist([{"text": f"{i} words"} for i in range(30)])
    pyarrow.parquet.write_table(table, path, row_group_size=10, compression="none", use_dictionary=False)
    assert rows(path) == 30 and damage(path, path.name) == ""
    content = bytearray(path.read_bytes())
    place = content.index(b"25 words") - 4  # the length before the text
    content[place : place + 4] = b"\xff\xff\xff\x7f"
    path.write_bytes(content)
    assert damage(path, path.name, thorough=False) == "" and "not a whole parquet file" in damage(path, path.name)
    assert rows(path) == 30


def test_what_cannot_be_read_has_no_rows(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"no table")
    (tmp_path / "a.json").write_bytes(b"{")
    assert rows(tmp_path / "a.parquet") is None and rows(tmp_path / "a.json") is None


def test_a_folder_is_as_large_as_its_files(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").write_bytes(b"12345")
    (tmp_path / "d").write_bytes(b"67")
    assert size(tmp_path) == 7 and size(tmp_path / "d") == 2
