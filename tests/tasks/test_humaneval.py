"""HumanEval in the sandbox: right programs pass, wrong ones fail, however they are written down."""

import json

import pytest

pytest.importorskip("nanochat.infer.sandbox")

from tasks.common import load_task

PROMPT = (
    'from typing import List\n\n\ndef double(xs: List[int]) -> List[int]:\n    """ Twice each.\n    >>> double([1])\n    [2]\n    """\n'
)
ROW = {
    "task_id": "t/0",
    "prompt": PROMPT,
    "entry_point": "double",
    "canonical_solution": "    return [2 * x for x in xs]\n",
    "test": "def check(candidate):\n    assert candidate([1, 2]) == [2, 4]\n    assert candidate([]) == []\n",
}


@pytest.fixture
def task(tmp_path):
    (tmp_path / "humaneval").mkdir()
    (tmp_path / "humaneval/HumanEval.jsonl").write_text(json.dumps(ROW))
    return load_task("humaneval", tmp_path, "test")


def test_the_prompt_is_the_question_and_the_solution_the_answer(task):
    question, answer = task[0]["messages"]
    assert question["content"] == PROMPT
    assert answer["content"] == f"```python\n{PROMPT}    return [2 * x for x in xs]\n\n```"


@pytest.mark.parametrize(
    ("completion", "right"),
    [
        ("oracle", True),
        ("    return [x + x for x in xs]\n", True),
        ("Here:\n```python\ndef double(xs: List[int]):\n    return [x * 2 for x in xs]\n```\nIt doubles.", True),
        ("def double(xs):\n    return [x * 2 for x in xs]", True),
        ("    return xs\n", False),
        ("def double(xs):\n    return sum(xs)", False),
        ("", False),
        ("I cannot do that.", False),
        ("    import sys; sys.exit(0)\n", False),
        ("    while True: pass\n", False),
    ],
)
def test_a_completion_is_right_if_the_tests_pass(task, monkeypatch, completion, right):
    monkeypatch.setattr("tasks.humaneval.SECONDS", 2.0)
    text = task[0]["messages"][1]["content"] if completion == "oracle" else completion
    assert task.evaluate(task[0], text) is right
