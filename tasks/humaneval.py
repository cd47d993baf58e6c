"""HumanEval: 164 Python functions to complete, judged by running their tests in the sandbox (openai/openai_humaneval, MIT)."""

import re

from nanochat.infer.sandbox import run_sandboxed
from tasks.answers import code_block
from tasks.common import Task, question_answer

SECONDS, MEMORY_MB = 5.0, 256


def program(row: dict, completion: str) -> str:
    """The program that passes if and only if the completion is right.

    The task's own prompt goes first, because some tests call helpers it defines. A completion that defines the function
    replaces the prompt's stub; one that does not is read as the stub's body.
    """
    code = code_block(completion)
    defines = re.search(rf"^\s*(?:async\s+)?def\s+{re.escape(row['entry_point'])}\b", code, re.MULTILINE)
    return f"{row['prompt']}{chr(10) if defines else ''}{code}\n\n{row['test']}\n\ncheck({row['entry_point']})\n"


class HumanEval(Task):
    """Only a test split."""

    name = "humaneval"
    kind = "generative"
    splits = ("test",)
    assets = {"test": "humaneval"}

    def conversation(self, row: dict) -> dict:
        solution = f"```python\n{row['prompt']}{row['canonical_solution']}\n```"
        return {**question_answer(row["prompt"], solution), "row": row}

    def evaluate(self, conversation: dict, completion: str) -> bool:
        result = run_sandboxed(program(conversation["row"], completion), timeout_s=SECONDS, memory_mb=MEMORY_MB)
        return result.ok
