"""Rows come out of every file form alike, and a damaged file is named."""

import gzip
import json

import pyarrow
import pyarrow.parquet
import pytest

from nanochat.common import UserError
from tasks.files import join, read_rows, select

ROWS = [
    {"question": "Wie geht's? “ü”", "choices": {"text": ["a", "b"], "label": ["A", "B"]}},
    {"question": "2", "choices": {"text": ["c"], "label": ["A"]}},
]


def write(folder, kind):
    path = folder / f"rows.{kind}"
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    if kind == "jsonl":
        path.write_text("\ufeff" + lines + "\n", encoding="utf-8")
    elif kind == "jsonl.gz":
        path.write_bytes(gzip.compress(lines.encode()))
    elif kind == "json":
        path.write_text(json.dumps(ROWS))
    elif kind == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path, row_group_size=1)
    return path


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "json", "parquet"])
def test_every_form_gives_the_same_rows(tmp_path, kind):
    rows = read_rows(write(tmp_path, kind))
    assert list(rows) == ROWS and len(rows) == 2 and rows[1] == ROWS[1] and rows[-1] == ROWS[1]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_rows_can_be_joined_and_chosen(tmp_path, kind):
    rows = read_rows(write(tmp_path, kind))
    assert list(join([rows, rows])) == ROWS + ROWS
    assert list(select(rows, [False, True])) == ROWS[1:]


def test_a_list_inside_an_object_is_found(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"version": 1, "data": ROWS}))
    assert read_rows(path) == ROWS


def test_csv_rows_are_lists_of_texts(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('"What, then?",a,b,c,d,B\n\n"He said ""no"".\nWhy?",1,2,3,4,A\n')
    assert read_rows(path) == [["What, then?", "a", "b", "c", "d", "B"], ['He said "no".\nWhy?', "1", "2", "3", "4", "A"]]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b'{"x": 1}\n{"x": \n', "line 2"),
        ("a.jsonl", b"", "no rows"),
        ("a.json", b'"text"', "no list of rows"),
        ("a.jsonl.gz", b"this is not gzip", "cannot be read"),
        ("a.jsonl.gz", gzip.compress(b'{"x": 1}\n' * 100)[:-9], "cannot be read"),
        ("a.jsonl", b"\xff\xfe\x00", "cannot be read"),
        ("a.parquet", b"PAR1 but not really", "cannot be read"),
        ("a.parquet", b"", "cannot be read"),
        ("a.docx", b"x", "legal endings: .jsonl"),
    ],
)
def test_a_damaged_file_is_named_in_one_sentence(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_rows(path)
    assert str(path) in str(error.value) and said in str(error.value) and "\n" not in str(error.value)
