"""The contract every task keeps, the table of tasks, splits and mixtures."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanochat.common import UserError
from nanochat.pipeline.manifest import all_assets
from tasks.common import (
    SPLITS,
    TASKS,
    Mixture,
    MultipleChoice,
    Share,
    Task,
    available,
    chance_of,
    check_shares,
    load_task,
    multiple_choice,
    parse_share,
    present,
    sample_indices,
    task_files,
)


def write_gsm8k(folder, n=200):
    (folder / "gsm8k").mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        rows = [{"question": f"{split} question {i}: what is {i} + 1?", "answer": f"It is {i + 1}.\n#### {i + 1}"} for i in range(n)]
        (folder / "gsm8k" / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def questions(task):
    return [conversation["messages"][0]["content"] for conversation in task]


def test_a_multiple_choice_prompt_is_rendered_as_written_here():
    conversation = multiple_choice("Which animal barks? ", ["a cat", " a dog", "a fish"], 1)
    assert conversation["messages"] == [
        {"role": "user", "content": "Which animal barks?\n- a cat=A\n- a dog=B\n- a fish=C\n\nAnswer with one letter."},
        {"role": "assistant", "content": "B"},
    ]
    assert conversation["letters"] == ["A", "B", "C"]


@pytest.mark.parametrize(("options", "answer"), [(["only one"], 0), (["a", "b"], 2), (["a", "b"], -1)])
def test_a_question_without_a_choice_or_a_right_one_is_refused(options, answer):
    with pytest.raises(ValueError, match="options"):
        multiple_choice("?", options, answer)


def test_chance_is_the_mean_over_items_of_one_over_their_options():
    class Mixed(MultipleChoice):
        name = "mixed"

        def load(self):
            return [2, 4, 4]

        def choice(self, item):
            return "?", ["x"] * item, 0

    assert Mixed().chance == pytest.approx((1 / 2 + 1 / 4 + 1 / 4) / 3)


def test_a_written_answer_has_no_chance_level():
    assert chance_of({"messages": []}) == 0


FROM_FILES = [(name, split, asset_id) for name, entry in TASKS.items() for split, asset_id in entry.type().assets.items()]


@pytest.mark.parametrize(("name", "split", "asset_id"), FROM_FILES)
def test_what_the_download_brings_is_found_by_the_task(tmp_path, name, split, asset_id):
    entry = all_assets()[asset_id]
    brought = [tmp_path / download.path for download in entry.files] or [tmp_path / entry.place.replace("**/*", "x")]
    for path in brought:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    task = TASKS[name].type()
    assert task.files(tmp_path, split) == brought and task.place(tmp_path, split) == tmp_path / entry.place


def test_an_unknown_task_is_refused_with_its_nearest_neighbour():
    with pytest.raises(UserError, match="did you mean 'gsm8k'"):
        load_task("gms8k")


def test_a_missing_file_is_one_sentence_with_the_places_looked_at(tmp_path):
    with pytest.raises(UserError, match=r"gsm8k/test .*\.jsonl.*--data_dir"):
        load_task("gsm8k", tmp_path, "test")
    assert not present("gsm8k", tmp_path, "test")


def test_the_files_of_a_task_are_those_it_opens_or_the_place_where_one_is_looked_for(tmp_path):
    assert task_files(["gsm8k*2", "facts"], tmp_path, "train") == [tmp_path / "gsm8k/train.parquet"]
    write_gsm8k(tmp_path)
    assert task_files(["gsm8k*2", "facts"], tmp_path, "train") == [tmp_path / "gsm8k/train.jsonl", tmp_path / "gsm8k/test.jsonl"]
    with pytest.raises(UserError, match="no split 'train'"):
        task_files(["humaneval"], tmp_path, "train")


@pytest.mark.parametrize(
    "shares, words", [([], "at least one task"), (["nope"], "no task 'nope'; tasks: "), (["humaneval"], "no split 'train'")]
)
def test_shares_that_cannot_be_are_refused_without_reading_a_file(shares, words):
    with pytest.raises(UserError, match=words):
        check_shares(shares, "train")


def test_a_split_that_a_task_does_not_have_is_refused(tmp_path):
    with pytest.raises(UserError, match="no split 'train'; it has: test"):
        load_task("asdiv", tmp_path, "train")


def test_available_names_what_is_there_and_nothing_else(tmp_path):
    write_gsm8k(tmp_path)
    from_files = {name for name, entry in TASKS.items() if name.startswith(("gsm8k", "arc", "mmlu", "svamp"))}
    assert from_files & set(available(tmp_path, "test")) == {"gsm8k", "gsm8k_plain", "gsm8k_plans", "gsm8k_direct"}


def test_train_val_and_test_share_no_item_and_val_comes_out_of_train(tmp_path):
    write_gsm8k(tmp_path)
    splits = {split: set(questions(load_task("gsm8k", tmp_path, split))) for split in SPLITS}
    assert not splits["train"] & splits["val"] and not splits["train"] & splits["test"] and not splits["val"] & splits["test"]
    assert len(splits["train"]) + len(splits["val"]) == 200 and 1 <= len(splits["val"]) <= 30
    assert all(q.startswith("train") for q in splits["train"] | splits["val"])


def test_a_validation_file_leaves_train_whole(tmp_path):
    folder = tmp_path / "arc"
    folder.mkdir()
    row = {"question": "?", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "B"}
    for word, n in (("Train", 60), ("Validation", 7)):
        (folder / f"ARC-Easy-{word}.jsonl").write_text("\n".join(json.dumps({**row, "question": f"{word} {i}?"}) for i in range(n)))
    assert len(load_task("arc_easy", tmp_path, "train")) == 60
    assert len(load_task("arc_easy", tmp_path, "val")) == 7


def test_an_index_outside_a_task_is_an_index_error(tmp_path):
    task = load_task("gsm8k", write_gsm8k(tmp_path), "test")
    assert task[-1] == task[199]
    with pytest.raises(IndexError):
        task[200]


@given(st.integers(0, 300), st.integers(-1, 400), st.integers(0, 5))
def test_a_sample_is_ascending_without_repeats_and_the_same_every_time(n, limit, seed):
    chosen = sample_indices(n, limit, seed)
    assert chosen == sample_indices(n, limit, seed) == sorted(set(chosen))
    assert len(chosen) == (min(n, limit) if limit > 0 else n) and all(0 <= i < n for i in chosen)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("gsm8k", Share("gsm8k")),
        ("gsm8k*3", Share("gsm8k", None, 3)),
        (" mmlu:100 ", Share("mmlu", 100, 1)),
        ("mmlu:100*2", Share("mmlu", 100, 2)),
    ],
)
def test_a_share_is_read_as_written(text, share):
    assert parse_share(text) == share


@pytest.mark.parametrize("text", ["", "*2", "gsm8k*", "gsm8k:", "gsm8k*x", "gsm8k:0", "gsm8k*-1", "gsm8k*2:5"])
def test_a_share_that_cannot_be_read_is_refused_with_the_form(text):
    with pytest.raises(UserError, match="name:limit"):
        parse_share(text)


def test_a_mixture_holds_every_item_as_often_as_its_share_says(tmp_path):
    write_gsm8k(tmp_path)
    mixture = Mixture(["gsm8k:50*2", "gsm8k_plain"], tmp_path, "test", seed=1)
    assert len(mixture) == 300 and mixture.counts() == {"gsm8k": 100, "gsm8k_plain": 200}
    sources = [mixture.source(i) for i in range(len(mixture))]
    assert all(sources.count(s) == (2 if s[0] == "gsm8k" else 1) for s in set(sources))
    name, index = mixture.source(7)
    assert mixture[7] == mixture.tasks[name][index]


def test_a_mixture_is_fixed_by_its_seed_and_shuffled(tmp_path):
    write_gsm8k(tmp_path)
    order = [Mixture(["gsm8k", "gsm8k_plain"], tmp_path, "test", seed=seed).order.tolist() for seed in (1, 1, 2)]
    assert order[0] == order[1] != order[2]
    assert {name for name, _ in order[0][:50]} == {0, 1}


def test_a_mixture_of_nothing_or_with_an_unknown_task_is_refused(tmp_path):
    with pytest.raises(UserError, match="at least one task"):
        Mixture([], tmp_path)
    with pytest.raises(UserError, match="no task 'nothing'"):
        Mixture(["nothing:3"], tmp_path)


def test_a_task_that_forgets_its_parts_says_which():
    class Forgetful(Task):
        def load(self):
            return [1]

    with pytest.raises(NotImplementedError, match="Forgetful"):
        Forgetful()[0]
