"""Plans in the conversations of tasks, and the program that counts them."""

import json
from fractions import Fraction

import pytest

from nanochat.data.tokenizer import Tokenizer
from scripts import dag_labels
from tasks.common import answer_text, load_task
from tasks.gsm8k import planned_parts
from tasks.plans import ANOTHER_NUMBER, NOT_ARITHMETIC, NOT_GIVEN, composed, computed

ROWS = [
    {
        "question": "Ann has 1,500 beads and buys half as many. She loses 50. How many?",
        "answer": "She buys 1500/2=<<1500/2=750>>750.\nShe has 1500+750-50=<<1500+750-50=2200>>2,200 now.\n#### 2,200",
    },
    {"question": "A third of 10?", "answer": "10/3=<<10/3=3.33>>3.33, and 9 of 77 is <<77-9=68>>68\n#### 68"},
]


def test_worked_answers_carry_plans_where_the_annotation_has_the_printed_value():
    parts = planned_parts(ROWS[0]["answer"])
    assert "".join(part["text"] for part in parts) == "She buys 1500/2=750.\nShe has 1500+750-50=2200 now.\n#### 2200"
    assert [(p["text"], p["plan"][-1]) for p in parts if "plan" in p] == [
        ("750", ["divide", "v1500", "v2"]),
        ("2200", ["subtract", "s0", "v50"]),
        ("2200", ["identity", "v2200", "v2200"]),
    ]
    assert [p.get("unplanned") for p in planned_parts(ROWS[1]["answer"]) if p["text"] == "3.33"] == [ANOTHER_NUMBER]


@pytest.mark.parametrize(
    ("expression", "printed", "expected"),
    [("10/3", "3.33", ANOTHER_NUMBER), ("x+1", "2", NOT_ARITHMETIC), ("3/0", "0", NOT_ARITHMETIC), (" ", "2", NOT_GIVEN)],
)
def test_why_there_is_no_plan(expression, printed, expected):
    assert computed(expression, printed) == {"unplanned": expected}


def test_annotations_are_composed_into_one_expression():
    assert composed([("3*4", "12"), ("12-2", "10"), ("5=5", "5")], Fraction(10)) == "((3*4)-2)"
    assert composed([("3*4", "12"), ("30", "30")], Fraction(30)) == ""


def write(folder, rows, split="train"):
    (folder / "gsm8k").mkdir(parents=True, exist_ok=True)
    (folder / "gsm8k" / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))


def test_the_direct_task_has_the_number_and_the_plan_of_the_whole_problem(tmp_path):
    write(tmp_path, ROWS, "test")
    conversation = load_task("gsm8k_direct", tmp_path, "test")[0]
    assert answer_text(conversation) == "2200"
    steps = [["divide", "v1500", "v2"], ["add", "v1500", "s0"], ["subtract", "s1", "v50"]]
    assert conversation["messages"][1]["plan"] == steps


def test_the_program_counts_plans_and_reasons(tmp_path, base_dir, capsys, monkeypatch):
    monkeypatch.setattr("tasks.common.held_out_for_val", lambda question: False)
    Tokenizer.train([row["question"] for row in ROWS], 300).save(base_dir / "tokenizer")
    write(tmp_path, ROWS)
    assert dag_labels.main([f"--data_dir={tmp_path}", "--tasks=gsm8k_plans", "--splits=train"]) == 0
    out = capsys.readouterr().out
    assert "gsm8k_plans, train: 5 of 6 (83.3 %) numbers have a plan, 1 of 2 (50.0 %) problems throughout" in out
    assert f"1  {ANOTHER_NUMBER}" in out


def test_the_program_says_what_is_missing(tmp_path, base_dir, capsys):
    Tokenizer.train(["a"], 300).save(base_dir / "tokenizer")
    assert dag_labels.main([f"--data_dir={tmp_path}"]) == 2
    assert "--data_dir" in capsys.readouterr().err
