"""BIG-bench's arithmetic (Srivastava et al. 2022): one operation on numbers of one to five digits; only for evaluation."""

import json
from collections.abc import Sequence
from pathlib import Path

from nanochat.common import UserError
from tasks import files
from tasks.answers import LastNumberTask
from tasks.common import question_answer


class BigBenchArithmetic(LastNumberTask):
    """BIG-bench's arithmetic: one operation on numbers of one to five digits (google/BIG-bench, Apache-2.0), a file per kind."""

    name = "bigbench_arithmetic"
    splits = ("test",)
    assets = {"test": "bigbench_arithmetic"}

    def read(self, path: Path) -> Sequence[dict]:
        """Rows of {input, target}; the original files hold them as `examples` of a dictionary."""
        if path.suffix == ".json":
            try:
                value = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise UserError(f"{path} is not valid JSON ({error}); fetch it again") from None
            return value["examples"] if isinstance(value, dict) and "examples" in value else value
        return files.read_rows(path)

    def conversation(self, row: dict) -> dict:
        target = row.get("target", row.get("targets"))
        return question_answer(row.get("input", row.get("inputs")), str(target[0] if isinstance(target, list) else target))
