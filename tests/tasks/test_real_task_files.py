"""The original data files, where they are present: row counts as published, splits apart, every row legal."""

import pytest

from nanochat.data.conversations import render
from tasks.answers import parse_number
from tasks.common import SPLITS, TASKS, load_task, present, sample_indices
from tests.evaluate.fakes import byte_tokenizer

TEST_ROWS = {
    "arc_easy": 2376,
    "arc_challenge": 1172,
    "mmlu": 14042,
    "openbookqa": 500,
    "gsm8k": 1319,
    "gsm8k_plain": 1319,
    "humaneval": 164,
}
TRAINING_ROWS = {"arc_easy": 2251, "arc_challenge": 1119, "openbookqa": 4957, "gsm8k": 7473, "identity_file": 996, "oasst": 100}
FROM_FILES = [
    name for name, entry in TASKS.items() if name not in ("facts", "identity", "embedded_chat", "word_problems", "word_problems_tool")
]


@pytest.mark.parametrize(("name", "rows"), TEST_ROWS.items())
def test_test_sets_have_their_published_number_of_rows(real_data, name, rows):
    assert len(load_task(name, real_data, "test")) == rows


@pytest.mark.parametrize(("name", "rows"), TRAINING_ROWS.items())
def test_train_and_val_together_are_the_published_training_set(real_data, name, rows):
    parts = [len(load_task(name, real_data, split)) for split in ("train", "val")]
    repeated = 2 if name == "arc_easy" else 0  # in the test file
    assert sum(parts) == rows - repeated and 0.02 * rows <= parts[1] <= 0.1 * rows


def test_mmlu_takes_its_validation_file_and_all_lines_of_its_training_files(real_data):
    repeated = 27  # validation rows whose question and options are in the test file
    assert len(load_task("mmlu", real_data, "val")) == 1531 - repeated and len(load_task("mmlu", real_data, "train")) == 617 + 601


def firsts(name, data, split):
    return {str(c["messages"][0]["content"]) for c in load_task(name, data, split)}


@pytest.mark.parametrize("name", FROM_FILES)
def test_no_training_question_is_a_validation_or_test_question(real_data, name):
    there = [split for split in SPLITS if present(name, real_data, split)]
    if "train" not in there:
        pytest.skip(f"no train file of {name} in the real data")
    train = firsts(name, real_data, "train")
    for split in set(there) - {"train"}:
        shared = train & firsts(name, real_data, split)
        assert not shared, list(shared)[:3]


@pytest.mark.parametrize("name", FROM_FILES)
@pytest.mark.parametrize("split", SPLITS)
def test_every_kind_of_row_renders(real_data, name, split):
    if not present(name, real_data, split):
        pytest.skip(f"no {split} file of {name} in the real data")
    task, tokenizer = load_task(name, real_data, split), byte_tokenizer()
    for i in sample_indices(len(task), 200):
        rendered = render(tokenizer, task[i])
        assert sum(rendered.mask) > 0 and rendered.ids[0] == tokenizer.bos_id


def test_chance_is_near_a_quarter_but_not_a_quarter_where_questions_have_three_or_five_options(real_data):
    assert load_task("arc_challenge", real_data, "test").chance == pytest.approx(0.25, abs=0.001)
    assert load_task("arc_challenge", real_data, "test").chance != 0.25


def test_the_calculators_outputs_are_those_of_the_annotations(real_data):
    from tasks.gsm8k import ANNOTATION

    task = load_task("gsm8k", real_data, "test")
    calls = [(row, conversation["messages"][1]["content"]) for row, conversation in zip(task.items, task, strict=True)]
    for row, parts in calls:
        written = [parse_number(value) for _, value in ANNOTATION.findall(row["answer"])]
        printed = [parse_number(part["text"]) for part in parts if part["type"] == "python_output"]
        assert all(a in (b, None) for a, b in zip(written, printed, strict=True))  # None: one is written as a fraction
