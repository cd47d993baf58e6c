"""A made-up base directory, written as the stages write theirs, so that a report can be made of any state a run can be in."""

import json
import math
from pathlib import Path

import pytest

from nanochat.config import load_profile
from nanochat.report.collect import Results, collect

START = 1_700_000_000.0  # 2023-11-14 22:13 UTC
MACHINE = {"cpu": "Analytical Engine", "cores": 2, "ram_bytes": 8 * 2**30, "gpu": None, "gpus": 0, "gpu_bytes": 0}
WHERE = {"commit": "0123456789ab", "host": "engine", "python": "3.11.7", "packages": {"torch": "2.13.0"}, "slurm_job_id": None, "world": 1}


class FakeRun:
    """Writes stages into a base directory; each begins when the one before it has ended."""

    def __init__(self, base: Path):
        self.base, self.clock, self.where = base, START, {**WHERE, "machine": MACHINE}

    def folder(self, label: str) -> Path:
        folder = self.base / "stages" / label
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def ledger(self, event: str, label: str, **values) -> None:
        stage, _, tag = label.partition(".")
        line = {"event": event, "stage": stage, "tag": tag, "time": self.clock, **values, **self.where}
        with open(self.base / "ledger.jsonl", "a") as f:
            f.write(json.dumps(line) + "\n")

    def stage(self, label: str, state: str = "done", seconds: float = 10.0, error: str | None = None, log=(), **status) -> Path:
        """One attempt at a stage: its status.json, its metrics.jsonl, its two lines in the ledger (one if it is `running`).

        `time` in the lines of `log` counts from the attempt's start.
        """
        stage, _, tag = label.partition(".")
        folder, started, over = self.folder(label), self.clock, state != "running"
        self.ledger("start", label)
        self.clock += seconds
        if over:
            self.ledger("end", label, state=state, seconds=seconds, error=error)
        whole = {"stage": stage, "tag": tag, "state": state, "started": started, "ended": self.clock if over else None,
                 "seconds": seconds if over else None, "config": {"profile": "embedded", "device": "auto", "seed": 0}, "inputs": {},
                 "outputs": {}, "metrics": {}, "headline": "", "error": error, **status}  # fmt: skip
        (folder / "status.json").write_text(json.dumps(whole))
        self.lines(label, "metrics.jsonl", [{**row, "time": started + row.get("time", 0)} for row in log])
        return folder

    def lines(self, label: str, name: str, rows) -> None:
        (self.folder(label) / name).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))

    def collect(self, planned: list[str] | None = None) -> Results:
        return collect("embedded", load_profile("embedded")["stages"] if planned is None else planned)


@pytest.fixture
def run(base_dir) -> FakeRun:
    """An empty base directory to write stages into."""
    base_dir.mkdir(parents=True)
    return FakeRun(base_dir)


@pytest.fixture
def whole_run(run) -> FakeRun:
    """Every stage of the embedded profile done."""
    fill(run)
    return run


def losses(steps: int, first: float, last: float, lr: float, every: int = 1) -> list[dict]:
    """A plausible learning curve, with the evaluations that come less often."""
    rows = []
    for step in range(0, steps + 1, every):
        done = step / steps
        wave = 0.02 * first * math.sin(step * 1.7) * (1 - 0.5 * done)
        loss = last + (first - last) * math.exp(-6 * done) + wave
        rate = lr * min(1, 10 * done + 0.01, 2.5 * (1 - done) + 0.01)
        rows.append({"step": step, "time": step / 4, "loss": loss, "lr": rate, "tokens_per_s": 12_000 + 300 * math.sin(step)})
        if step % (steps // 10) == 0:
            rows.append({"step": step, "time": step / 4, "val_bpb": loss / 3.1})
    return rows


def fill(run: FakeRun) -> None:
    """The whole embedded pipeline, with figures of the size they have there."""
    base, checkpoints = run.base, run.base / "checkpoints"
    text = {"profile": "embedded", "device": "auto", "seed": 0, "text": "embedded"}
    run.stage("tok_train", seconds=9.4, config={**text, "vocab_size": 2048}, outputs={str(base / "tokenizer"): "t0"},
              headline="2,048 tokens, 3.61 bytes per token on held-out text",
              metrics={"vocab_size": 2048, "bytes_per_token": 3.61, "seconds": 8.8})  # fmt: skip
    run.stage("tok_eval", seconds=2.0, config=text, metrics={
        "bytes_per_token/held_out/ours": 3.61, "bytes_per_token/held_out/gpt2": 4.01, "bytes_per_token/code/ours": 1.7})  # fmt: skip
    run.stage("base_train", seconds=150.2, config=text, inputs={str(base / "tokenizer"): "t0"},
              outputs={str(checkpoints / "base_train/default/step_000400"): "b0"}, log=losses(400, 7.6, 1.9, 0.02),
              headline="val 0.6132 bits per byte", metrics={"params": 1_830_000, "tokens": 3_276_800, "steps": 400, "train_loss": 1.93,
              "val_bpb": 0.6132, "tokens_per_s": 12_400, "flops": 3.9e13, "documents": 21_000, "text_tokens": 2_900_000})  # fmt: skip
    run.stage("base_eval", seconds=14, config=text, metrics={"train_bpb": 0.601, "val_bpb": 0.6128})
    run.lines(
        "base_eval", "samples.jsonl", [{"prompt": "The sun is", "text": " warm and bright."}, {"prompt": "", "text": "Once upon a time."}]
    )
    run.stage("dag_train", seconds=240, outputs={str(checkpoints / "dag_train/default/step_003000"): "d0"},
              log=[{"step": s, "loss": 3 * math.exp(-s / 600), "answer_match": 1 - math.exp(-s / 500), "plan_match": 1 - math.exp(-s / 600),
                    "lr": 1e-3 * (1 - s / 3001)} for s in range(0, 3001, 100)],
              metrics={"params": 300_000, "examples": 768_000, "plan_match": 0.981, "answer_match": 0.985})  # fmt: skip
    arithmetic(run, "dag_eval.dag", [1.0, 0.999, 0.997, 0.994, 0.988, 0.979])
    learned = [{"step": s, "time": s / 2, "dag/gate_open": 1 - 0.5 * math.exp(-s / 30), "dag/gate_closed": 0.5 * math.exp(-s / 20),
                "dag/operation_match": 0.998, "dag/operand_match": 0.99 - 0.2 * math.exp(-s / 15), "val_loss": 1 + math.exp(-s / 50)}
               for s in range(0, 201, 10)]  # fmt: skip
    run.stage("mid_train", seconds=108, log=losses(200, 2.4, 1.1, 0.01) + learned,
              outputs={str(checkpoints / "mid_train/default/step_000200"): "m0"},
              metrics={"params": 2_130_000, "steps": 200, "tokens": 1_638_400, "train_loss": 1.12, "val_bpb": 0.4211})  # fmt: skip
    chat(run, "chat_eval.mid", 0.61, 0.58)
    arithmetic(run, "dag_eval.mid", [1.0, 0.998, 0.995, 0.991, 0.985, 0.976])
    run.stage("mid_train.plain", seconds=104, log=losses(200, 2.4, 1.2, 0.01), metrics={"params": 1_830_000, "val_bpb": 0.4375})
    arithmetic(run, "dag_eval.plain", [0.41, 0.12, 0.05, 0.02, 0.011, 0.0])
    run.stage("chat_sft", seconds=44, log=losses(60, 1.1, 0.9, 0.004),
              outputs={str(checkpoints / "chat_sft/default/step_000060"): "s0"}, metrics={"steps": 60, "val_loss": 0.913})  # fmt: skip
    chat(run, "chat_eval.sft", 0.66, 0.64)
    arithmetic(run, "dag_eval.sft", [1.0, 0.999, 0.996, 0.992, 0.986, 0.974])


def arithmetic(run: FakeRun, label: str, shares: list[float], n: int = 500) -> None:
    """dag_eval with an exact match for each number of operations."""
    metrics = {"exact_match": sum(shares) / len(shares), "n": n * len(shares)}
    for k, share in enumerate(shares, 1):
        cell = f"{k}_op{'s' if k > 1 else ''}"
        metrics |= {f"exact_match/{cell}": share, f"n/{cell}": n}
    run.stage(label, seconds=18, metrics=metrics)
    run.lines(label, "wrong.jsonl", [{"cell": "6_ops", "question": "((7+8)*3)-2", "answer": "43", "said": "42"}])


def chat(run: FakeRun, label: str, facts: float, identity: float) -> None:
    """chat_eval on two tasks, with answers written down."""
    metrics = {"accuracy/facts": facts, "chance/facts": 0.25, "n/facts": 200, "accuracy/identity": identity, "chance/identity": 0.0,
               "n/identity": 50, "chatcore": (facts - 0.25) / 0.75 / 2 + identity / 2, "chatcore_tasks": 2}  # fmt: skip
    run.stage(label, seconds=21, metrics=metrics)
    question = {"question": "Where does the otter live?\n- in the river=A\n- in the desert=B", "answer": "A"}
    run.lines(label, "facts.jsonl", [{**question, "completion": "A", "right": True}, {**question, "completion": "B", "right": False}])
