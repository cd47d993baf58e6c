"""Every stage for real at toy size, in one process and in two: from nothing to a report and a chat."""

import json
import os
import subprocess
import sys

import pytest

PROFILE = """
stages = ["tok_train", "tok_eval", "base_train", "base_eval", "dag_train", "dag_eval.dag", "mid_train", "chat_eval.mid", "dag_eval.mid",
          "mid_train.plain", "dag_eval.plain", "chat_sft", "chat_eval.sft", "dag_eval.sft", "report"]
[common]
text = "embedded"
device_batch = 4
[tok_train]
vocab_size = 900
max_chars = 200_000
[base_train]
depth = 2
aspect_ratio = 32
head_dim = 32
sequence_len = 256
steps = 12
eval_tokens = 4096
[base_eval]
eval_tokens = 4096
max_per_task = 2
[dag_train]
steps = 10
width = 32
layers = 2
eval_items = 5
[mid_train]
steps = 6
eval_passes = 1
eval_tokens = 4096
arithmetic = 100
mixture = ["facts:100", "word_problems:100"]
["mid_train.plain"]
dag_depth = 0
[chat_sft]
steps = 5
eval_passes = 1
arithmetic = 50
mixture = ["identity:100", "word_problems:100"]
[chat_eval]
tasks = ["facts", "word_problems"]
max_problems = 5
max_tokens = 8
["chat_eval.mid"]
source = "mid"
["chat_eval.sft"]
source = "sft"
[dag_eval]
items = 5
["dag_eval.mid"]
source = "mid"
["dag_eval.plain"]
source = "mid"
model_tag = "plain"
["dag_eval.sft"]
source = "sft"
"""


@pytest.fixture
def run(tmp_path, base_dir, repository):
    """Runs a module of the checkout from a folder of its own and returns the finished process."""
    (tmp_path / "toy.toml").write_text(PROFILE)

    def call(*words, **environment):
        env = {**os.environ, "PYTHONPATH": str(repository), **environment}
        return subprocess.run([sys.executable, "-m", *words], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=900)

    return call


def statuses(base_dir) -> dict:
    return {p.parent.name: json.loads(p.read_text()) for p in (base_dir / "stages").glob("*/status.json")}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("processes", ["1", "2"])
def test_every_stage_runs_reports_and_is_skipped_the_second_time(run, tmp_path, base_dir, processes):
    profile = f"--profile={tmp_path / 'toy.toml'}"
    first = run("scripts.speedrun", profile, NPROC=processes)
    assert first.returncode == 0, first.stdout + first.stderr[-4000:]
    done = statuses(base_dir)
    assert len(done) == 15 and {s["state"] for s in done.values()} == {"done"}
    report = (tmp_path / "report.md").read_text()
    assert "| not run |" not in report and "6 operations" in report
    metrics = {name: s["metrics"] for name, s in done.items()}
    assert metrics["base_train"]["val_bpb"] > 0 and metrics["dag_eval.sft"]["n"] == 30 and metrics["chat_eval.mid"]["n/facts"] == 5

    second = run("scripts.speedrun", profile, NPROC=processes)
    assert second.returncode == 0 and second.stdout.count(" skipped ") == 15, second.stdout
    assert {name: s["ended"] for name, s in statuses(base_dir).items()} == {name: s["ended"] for name, s in done.items()}

    chat = run("scripts.chat_cli", "-p", "What is 3 plus 4?")
    assert chat.returncode == 0, chat.stderr
    suite = tmp_path / "mine.jsonl"
    suite.write_text('{"question": "What is 3 plus 4?", "answer": "7"}\n')
    own = run("scripts.dag_eval", "--source=dag", f"--suite={suite}", profile)
    figures = json.loads(own.stdout.splitlines()[-1])
    assert own.returncode == 0 and figures["n"] == 1 and "mine" in figures["cells"]
