"""The state of a run in plain text."""

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from nanochat import common
from nanochat.report import progress
from nanochat.report.collect import DONE, RUNNING
from nanochat.report.progress import overview, progress_of, sparkline, verdict
from scripts import status
from tests.pipeline.helpers import piped, wait_for


def lines_of(results, now=None) -> dict:
    now = now or time.time()
    text = overview(results, [progress_of(stage, now) for stage in results.stages])
    return {line.split()[0]: line for line in text[1:]}


def training(run, label="base_train", seconds=100.0, steps=400, done=40, **values):
    """A stage that has logged `done` of its steps, one each second, and holds no lock."""
    log = [{"step": s, "time": s, "loss": 8.0 / s, "progress": s / steps, "tokens_per_s": 12_000.0} for s in range(1, done + 1)]
    run.stage(label, state="running", seconds=seconds, log=log, **values)


def test_a_finished_run_shows_every_stage_with_its_time_and_curve(whole_run):
    found = lines_of(whole_run.collect())
    assert found["base_train"].split()[1] == DONE and "step 400" in found["base_train"] and "took 2 min 30 s" in found["base_train"]
    assert "█" in found["base_train"] and "tokens/s" in found["base_train"]


def test_a_stage_that_has_not_begun_is_named(run):
    assert lines_of(run.collect(["tok_train"]))["tok_train"].split() == ["tok_train", "not", "run"]


def test_a_running_stage_shows_step_time_left_and_its_checkpoint(run):
    training(run)
    folder = run.base / "checkpoints/base_train/default/step_000020"
    folder.mkdir(parents=True)
    (folder / "COMPLETE").touch()
    start = run.collect(["base_train"]).stages[0].attempts[0].start["time"]
    now = start + 42
    os.utime(folder / "COMPLETE", (now - 90, now - 90))
    found = progress_of(run.collect(["base_train"]).stages[0], now)
    assert found.state == RUNNING and (found.step, found.steps) == (40, 400)
    assert found.left == pytest.approx(360 - 2) and found.checkpoint == pytest.approx(90, abs=1)
    line = lines_of(run.collect(["base_train"]), now)["base_train"]
    assert "step 40/400" in line and "5 min 58 s left" in line and "checkpoint 1 min 30 s old" in line and "12.0 k tokens/s" in line


def test_a_stage_that_has_been_quiet_for_long_and_holds_no_lock_was_killed(run):
    training(run)
    start = run.collect(["base_train"]).stages[0].attempts[0].start["time"]
    assert progress_of(run.collect(["base_train"]).stages[0], start + 4000).state == "interrupted"


@pytest.fixture
def ended() -> int:
    """The number of a process that is no longer there."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.mark.parametrize(("host", "alive", "state"), [(None, False, "interrupted"), (None, True, RUNNING), ("elsewhere", False, RUNNING)])
def test_a_stage_whose_process_is_gone_from_this_machine_was_killed(run, ended, host, alive, state):
    run.where = {**run.where, "host": host or socket.gethostname()}
    training(run, pid=os.getpid() if alive else ended)
    found = run.collect(["base_train"])
    now = found.stages[0].attempts[0].start["time"] + 42
    assert progress_of(found.stages[0], now).state == state
    line = lines_of(found, now)["base_train"]
    assert ("killed, or the machine went down" in line) is (state != RUNNING) and (" left" in line) is (state == RUNNING)


def test_the_speed_of_the_recent_lines_counts(run):
    log = [{"step": s, "time": s if s <= 100 else 100 + 3 * (s - 100), "loss": 1.0, "progress": s / 1000} for s in range(1, 201)]
    run.stage("base_train", state="running", log=log)
    stage = run.collect(["base_train"]).stages[0]
    assert progress_of(stage, stage.attempts[0].start["time"] + 400).left == pytest.approx(3 * 800)


@pytest.mark.parametrize(
    "values, drawn",
    [([], ""), ([8, 4, 2, 1], "█▆▃▁"), ([0, 1, 2, 3.5, 7], "▁▂▃▅█"), ([2, float("nan"), 2], "▁ ▁"), ([float("nan")], " ")],
)
def test_sparklines(values, drawn):
    assert sparkline(values) == drawn


def test_a_long_curve_is_no_wider_than_its_columns():
    assert len(sparkline([1 / (1 + i) for i in range(1000)])) <= progress.COLUMNS


@pytest.mark.parametrize(
    "end, words",
    [(1000, "it will finish before"), (500, "it may not finish before"), (300, "it will not finish before"), (-1, "has reached its limit")],
)
def test_the_job_s_limit_is_compared_with_the_work_left(run, end, words):
    now = run.clock + 40
    run.where |= {"slurm_job_id": "77", "slurm_job_end": now + end}
    training(run)
    results = run.collect(["base_train", "report"])
    found = [progress_of(stage, now) for stage in results.stages]
    said = verdict(results, found, (10.0, 60.0, 300.0), now)
    assert words in said and "job 77" in said
    assert verdict(results, [replace(p, state=DONE) for p in found], (0.0, 0.0, 0.0), now) == ""


def test_a_limit_that_nobody_knows_is_said(run, monkeypatch):
    monkeypatch.setattr(progress.slurm, "end_of", lambda job: None)
    run.where |= {"slurm_job_id": "77"}
    now = run.clock + 40
    training(run)
    results = run.collect(["base_train"])
    assert "nobody knows when job 77 ends" in verdict(results, [progress_of(s, now) for s in results.stages], (0.0, 0.0, 0.0), now)


def test_a_stop_file_is_named(run):
    (run.base / "STOP").touch()
    assert "a stop is requested" in overview(run.collect(["tok_train"]), [])[-1]


def test_the_script_takes_a_base_directory(whole_run, capsys, monkeypatch):
    folder = whole_run.base
    (folder / "profile.json").write_text('{"profile": "embedded"}')
    monkeypatch.setenv("NANOCHAT_BASE_DIR", "/nowhere")
    assert status.main([str(folder)]) == 0
    out = capsys.readouterr().out
    assert f"profile embedded · {folder} · 14 of 15 stages done" in out and "dag_eval.sft" in out
    assert status.main(["/no/such/folder"]) == 2


def test_the_script_counts_the_report_as_the_job_s_log_does(base_dir, tmp_path, capsys):
    profile = tmp_path / "two.toml"
    profile.write_text('stages = ["tok_train", "report"]\n')
    for name in ("tok_train", "report"):
        (base_dir / "stages" / name).mkdir(parents=True)
        (base_dir / "stages" / name / "status.json").write_text('{"state": "done"}')
    assert status.main([f"--profile={profile}"]) == 0
    out = capsys.readouterr().out
    assert "2 of 2 stages done" in out and "\nreport           done" in out


def test_where_nothing_has_begun_and_no_profile_is_named_the_script_says_how_to_name_it(base_dir, capsys, monkeypatch):
    monkeypatch.delenv("NANOCHAT_PROFILE", raising=False)
    assert status.main([]) == 0 and "NANOCHAT_PROFILE in .env.local" in capsys.readouterr().out
    monkeypatch.setenv("NANOCHAT_PROFILE", "d20_a100x8")
    assert status.main([]) == 0 and "nothing has begun" not in capsys.readouterr().out
    monkeypatch.delenv("NANOCHAT_PROFILE")
    common.write_json(base_dir / "profile.json", {"profile": "embedded"})
    assert status.main([]) == 0 and "nothing has begun" not in capsys.readouterr().out


def test_the_script_works_while_a_stage_runs(repository, base_dir, tmp_path):
    profile = tmp_path / "toy.toml"
    profile.write_text('stages = ["slow"]\n[slow]\nsteps = 2000\npause = 0.02\n')
    child = piped([sys.executable, "-m", "tests.pipeline.toy.slow", f"--profile={profile}"], repository)
    try:
        wait_for(lambda: (base_dir / "stages/slow/metrics.jsonl").exists())
        asked = piped([sys.executable, "-m", "scripts.status", "--no-forecast"], repository)
        out, err = asked.communicate(timeout=60)
    finally:
        child.terminate()
        child.communicate(timeout=30)
    assert asked.returncode == 0, err
    assert "slow             running" in out and "/2000" in out and "time left not known yet" in out
    assert json.loads((base_dir / "stages/slow/status.json").read_text())["state"] == "interrupted"
