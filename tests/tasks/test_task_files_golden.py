"""Each task on a row of its own file form, written by hand here, against the prompt and answer written by hand here."""

import gzip
import json

import pyarrow
import pyarrow.parquet
import pytest

from nanochat.common import UserError
from tasks.common import answer_text, load_task

ARC_ROW = {
    "id": "x1",
    "question": "Which of these is alive?",
    "choices": {"text": ["stone", "moss", "sand"], "label": ["1", "2", "3"]},
    "answerKey": "2",
}
ARC_PROMPT = "Which of these is alive?\n- stone=A\n- moss=B\n- sand=C\n\nAnswer with one letter."
MMLU_ROW = {"question": "2 + 2?", "subject": "elementary_mathematics", "choices": ["3", "4", "5", "22"], "answer": 1}
MMLU_PROMPT = "2 + 2?\n- 3=A\n- 4=B\n- 5=C\n- 22=D\n\nAnswer with one letter."
GSM_ROW = {"question": "Tom has 3 bags of 4 nuts. How many?", "answer": "He has 3*4=<<3*4=12>>12 nuts.\n#### 12"}
TALK = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi there."}]


def put(path, rows):
    """Writes rows in the form that the path's name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(lines.encode()))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text(lines)


CASES = [
    ("arc_easy", "test", "arc/ARC-Easy-Test.jsonl", [ARC_ROW], ARC_PROMPT, "B"),
    ("arc_challenge", "test", "arc/ARC-Challenge/test-00000-of-00001.parquet", [ARC_ROW], ARC_PROMPT, "B"),
    ("arc_challenge", "train", "ai2_arc/ARC-Challenge/train-00000-of-00001.parquet", [ARC_ROW], ARC_PROMPT, "B"),
    ("mmlu", "test", "mmlu/mmlu_test.jsonl.gz", [MMLU_ROW], MMLU_PROMPT, "B"),
    ("mmlu", "val", "mmlu/all/validation-00000-of-00001.parquet", [MMLU_ROW], MMLU_PROMPT, "B"),
    ("mmlu", "train", "mmlu/auxiliary_train/train-00000-of-00001.parquet", [{"train": MMLU_ROW}], MMLU_PROMPT, "B"),
    (
        "openbookqa",
        "test",
        "openbookqa/main/test-00000-of-00001.parquet",
        [{"question_stem": "Fish live in", "choices": {"text": ["water", "sand"], "label": ["A", "B"]}, "answerKey": "A"}],
        "Fish live in\n- water=A\n- sand=B\n\nAnswer with one letter.",
        "A",
    ),
    (
        "openbookqa",
        "test",
        "openbookqa/test.json",
        [
            {
                "instruction": "Please choose the correct answer to the question: Fish live in\n\n"
                "Answer1: sand Answer2: water\n\nAnswer format: answer1/answer2",
                "answer": "answer2",
            }
        ],
        "Fish live in\n- sand=A\n- water=B\n\nAnswer with one letter.",
        "B",
    ),
    ("gsm8k_plain", "test", "gsm8k/main/test-00000-of-00001.parquet", [GSM_ROW], GSM_ROW["question"], "He has 3*4=12 nuts.\n#### 12"),
    ("gsm8k_direct", "test", "gsm8k/test.jsonl", [GSM_ROW], GSM_ROW["question"], "12"),
    (
        "svamp",
        "test",
        "svamp/data/test-00000-of-00001.parquet",
        [{"Body": "Jo had 5 pens", "Question": "How many are 5 pens and 2.5 pens?", "Answer": "7.5"}],
        "Jo had 5 pens. How many are 5 pens and 2.5 pens?",
        "7.5",
    ),
    (
        "mawps",
        "val",
        "mawps/validset.json",
        [{"original_text": "Ann has 2 hats , Bo has 3 . How many ?", "ans": 5.0}],
        "Ann has 2 hats, Bo has 3. How many?",
        "5",
    ),
    ("alpaca", "train", "alpaca/alpaca_data.json", [{"instruction": "Sort", "input": "b, a", "output": "a, b "}], "Sort\n\nb, a", "a, b"),
    ("smoltalk", "test", "smoltalk/data/test-00000-of-00001.parquet", [{"messages": TALK, "source": "x"}], "Hello", "Hi there."),
    ("smoltalk", "test", "smoltalk/test.jsonl", [{"messages": TALK + TALK[:1]}], "Hello", "Hi there."),
    ("identity_file", "train", "identity_conversations.jsonl", [TALK], "Hello", "Hi there."),
    ("identity_file", "train", "identity_conversations.jsonl", [{"messages": TALK}], "Hello", "Hi there."),
]


@pytest.mark.parametrize(("name", "split", "path", "rows", "question", "answer"), CASES, ids=[f"{c[0]}-{c[2]}" for c in CASES])
def test_a_row_becomes_the_conversation_written_here(tmp_path, monkeypatch, name, split, path, rows, question, answer):
    monkeypatch.setattr("tasks.common.held_out_for_val", lambda item: False)
    put(tmp_path / path, rows)
    conversation = load_task(name, tmp_path, split)[0]
    assert conversation["messages"][0] == {"role": "user", "content": question}
    said = conversation["messages"][1]
    assert said["role"] == "assistant" and said["content"] == answer
    assert len(conversation["messages"]) == 2


def test_mmlu_training_lines_without_a_header_are_read(tmp_path, monkeypatch):
    (tmp_path / "mmlu/auxiliary_train").mkdir(parents=True)
    (tmp_path / "mmlu/auxiliary_train/a.csv").write_text('"Which, now?",one,two,three,four,C\n')
    conversation = load_task("mmlu", tmp_path, "train")  # no validation file: val would be carved out of train
    assert conversation[0]["messages"][0]["content"] == "Which, now?\n- one=A\n- two=B\n- three=C\n- four=D\n\nAnswer with one letter."
    assert answer_text(conversation[0]) == "C"


def test_calculator_annotations_become_calls_and_outputs(tmp_path):
    put(tmp_path / "gsm8k/test.jsonl", [GSM_ROW, {"question": "?", "answer": "<<1/4=.250>>.25\n#### .25"}])
    task = load_task("gsm8k", tmp_path, "test")
    assert task[0]["messages"][1]["content"] == [
        {"type": "text", "text": "He has 3*4="},
        {"type": "python", "text": "3*4"},
        {"type": "python_output", "text": "12"},
        {"type": "text", "text": "12 nuts.\n#### 12"},
    ]
    assert [p["text"] for p in task[1]["messages"][1]["content"]] == ["1/4", "0.25", ".25\n#### .25"]  # as the calculator prints it
    assert answer_text(task[0]) == "He has 3*4=12 nuts.\n#### 12"


@pytest.mark.parametrize(
    ("completion", "right"),
    [("#### 12", True), ("so\n#### 12.0", True), ("12", False), ("#### 13", False), ("#### twelve", False), ("", False)],
)
def test_gsm8k_wants_the_number_after_its_mark(tmp_path, completion, right):
    put(tmp_path / "gsm8k/test.jsonl", [GSM_ROW])
    task = load_task("gsm8k", tmp_path, "test")
    assert task.evaluate(task[0], completion) is right


ASDIV = """<?xml version="1.0" encoding="UTF-8" ?><Machine-Reading-Corpus-File><ProblemSet>
<Problem ID="1"><Body>Al has 3 figs.</Body><Question>How many figs has he?</Question><Answer>3 (figs)</Answer></Problem>
<Problem ID="2"><Body>A clock.</Body><Question>What time is it?</Question><Answer>3:30 (o'clock)</Answer></Problem>
<Problem ID="3"><Body>B has 1,5 figs.</Body><Question>Half?</Question><Answer>0.50</Answer></Problem>
</ProblemSet></Machine-Reading-Corpus-File>"""


def test_asdiv_keeps_the_problems_whose_answer_is_one_number(tmp_path):
    (tmp_path / "asdiv").mkdir()
    (tmp_path / "asdiv/ASDiv.xml").write_text(ASDIV)
    task = load_task("asdiv", tmp_path, "test")
    assert [c["messages"][0]["content"] for c in task] == ["Al has 3 figs. How many figs has he?", "B has 1,5 figs. Half?"]
    assert [answer_text(c) for c in task] == ["3", "0.5"]
    assert task.evaluate(task[0], "He has 3 figs.") and not task.evaluate(task[0], "He has 4 figs.") and not task.evaluate(task[0], "")


def test_asdiv_that_is_no_xml_is_named(tmp_path):
    (tmp_path / "asdiv").mkdir()
    (tmp_path / "asdiv/ASDiv.xml").write_text("<a><b>")
    with pytest.raises(UserError, match=r"ASDiv\.xml is not valid XML"):
        load_task("asdiv", tmp_path, "test")


def test_a_question_that_a_later_split_repeats_leaves_the_earlier_one(tmp_path):
    rows = [{"original_text": f"What is {i} ?", "ans": float(i)} for i in range(6)]
    for name, part in (("train", rows), ("valid", rows[:3]), ("test", rows[2:4])):
        put(tmp_path / f"mawps/{name}set.json", part)
    answers = {split: [answer_text(c) for c in load_task("mawps", tmp_path, split)] for split in ("train", "val", "test")}
    assert answers == {"train": ["4", "5"], "val": ["0", "1"], "test": ["2", "3"]}


def reply(text, role, rank=None, replies=(), **more):
    return {"message_id": text, "text": text, "role": role, "rank": rank, "lang": "en", "replies": list(replies), **more}


BEST = reply("A-best", "assistant", 0, [reply("Q2", "prompter", 0, [reply("A2", "assistant", 0)])])
TREE = reply("Q", "prompter", None, [reply("A-worse", "assistant", 1), reply("A-unranked", "assistant"), BEST])


def flat(node, parent=None):
    yield {**{k: v for k, v in node.items() if k != "replies"}, "parent_id": parent}
    for child in node["replies"]:
        yield from flat(child, node["message_id"])


@pytest.mark.parametrize(
    ("path", "rows"), [("oasst1/ready.trees.jsonl.gz", [{"prompt": TREE}]), ("oasst1/data/train-0.parquet", list(flat(TREE)))]
)
def test_an_open_assistant_tree_gives_its_best_path(tmp_path, monkeypatch, path, rows):
    monkeypatch.setattr("tasks.oasst.held_out_for_val", lambda item: False)
    put(tmp_path / path, rows)
    task = load_task("oasst", tmp_path, "train")
    assert [m["content"] for m in task[0]["messages"]] == ["Q", "A-best", "Q2", "A2"] and len(task) == 1


def test_an_open_assistant_path_ends_with_an_answer_and_skips_other_languages(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.oasst.held_out_for_val", lambda item: False)
    open_end = reply("Q", "prompter", None, [reply("A", "assistant", 0, [reply("Q2", "prompter", 0)])])
    rows = [{"prompt": {**TREE, "lang": "de"}}, {"prompt": open_end}, {"prompt": reply("alone", "prompter")}]
    put(tmp_path / "oasst/a.trees.jsonl", rows)
    assert [[m["content"] for m in c["messages"]] for c in load_task("oasst", tmp_path, "train")] == [["Q", "A"]]


@pytest.mark.parametrize(
    "roles", [["assistant"], ["user", "user", "assistant"], ["system"], [], ["user", "assistant", "system", "assistant"]]
)
def test_a_conversation_whose_speakers_do_not_take_turns_is_refused(tmp_path, roles):
    put(tmp_path / "smoltalk/test.jsonl", [{"messages": [{"role": role, "content": "x"} for role in roles]}])
    with pytest.raises(UserError, match="smoltalk.*roles"):
        load_task("smoltalk", tmp_path, "test")[0]


def test_a_system_message_stays(tmp_path):
    put(tmp_path / "smoltalk/test.jsonl", [{"messages": [{"role": "system", "content": "Be kind."}, *TALK]}])
    assert [m["role"] for m in load_task("smoltalk", tmp_path, "test")[0]["messages"]] == ["system", "user", "assistant"]
