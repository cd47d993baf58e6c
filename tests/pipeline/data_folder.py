"""A tiny folder that holds everything the cluster's profiles open, in the formats a download leaves."""

import base64
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet

CHOICE = {"question": "Which is largest?", "choices": ["ant", "dog", "hen", "cow"], "subject": "animals", "answer": 3}
ARC = {"id": "1", "question": "What do cows eat?", "choices": {"text": ["grass", "stones"], "label": ["A", "B"]}, "answerKey": "A"}
GSM = {"question": "Tom has 2 apples and buys 3. How many?", "answer": "He has 2+3=<<2+3=5>>5.\n#### 5"}
CODE = {
    "task_id": "T/0",
    "prompt": "def f():\n",
    "canonical_solution": "    return 1\n",
    "test": "def check(f): assert f() == 1",
    "entry_point": "f",
}
CHAT = {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good morning."}], "source": "tiny"}
TEXT = {"text": "The mill stands by the brook, and the brook runs past the mill. " * 8}
SHARDS = (0, 1, 2, 1822)
ROWS = {"gsm8k/train": 40, "gsm8k/test": 40, "mmlu/auxiliary_train": 40, "mmlu/test": 40, "smoltalk/train": 32, "humaneval": 1}


def write_parquet(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def make(folder: Path) -> Path:
    """Writes the folder and gives it back."""
    for shard in SHARDS:
        write_parquet(folder / f"base_data/shard_{shard:05d}.parquet", [TEXT] * 24)
    for part in range(4):
        write_parquet(folder / f"smoltalk/train-{part:05d}-of-00004.parquet", [CHAT] * 8)
    write_parquet(folder / "smoltalk/test-00000-of-00001.parquet", [CHAT] * 8)
    for name in ("auxiliary_train", "mmlu_validation", "mmlu_test"):
        write_parquet(folder / f"mmlu/{name}.parquet", [CHOICE | {"question": f"Which is largest, {i}?"} for i in range(40)])
    for split in ("train", "test"):
        write_parquet(folder / f"gsm8k/{split}.parquet", [GSM | {"question": f"{split} {i}: {GSM['question']}"} for i in range(40)])
        for level in ("Easy", "Challenge"):
            rows = [ARC | {"question": f"{split} {i}: what do cows eat?"} for i in range(40)]
            write_parquet(folder / f"arc/ARC-{level}-{split.capitalize()}.parquet", rows)
    write_parquet(folder / "humaneval/HumanEval.parquet", [CODE])
    _tokenizers(folder / "tokenizers")
    _bundle(folder / "eval_bundle")
    return folder


def _tokenizers(folder: Path) -> None:
    folder.mkdir()
    ranks = b"".join(base64.b64encode(bytes([i])) + b" %d\n" % i for i in range(256))
    for name in ("r50k_base", "cl100k_base"):
        (folder / f"{name}.tiktoken").write_bytes(ranks)


def _bundle(folder: Path) -> None:
    (folder / "eval_data" / "world").mkdir(parents=True)
    task = "label: facts\n  dataset_uri: world/facts.jsonl\n  num_fewshot: [0]\n  icl_task_type: multiple_choice"
    (folder / "core.yaml").write_text(f"icl_tasks:\n- {task}\n")
    (folder / "eval_meta_data.csv").write_text("Eval Task,Random baseline\nfacts,25\n")
    (folder / "eval_data/world/facts.jsonl").write_text(json.dumps({"query": "A cow is", "choices": ["big", "tiny"], "gold": 0}) + "\n")
