"""The stage contract, on toy stages: skipped, run again, failed, interrupted, refused."""

import fcntl
import json
import multiprocessing
import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from nanochat import common
from nanochat.pipeline import plan
from nanochat.pipeline import stage as contract
from nanochat.pipeline.stage import execute
from tests.pipeline.toy import numbers, slow, total


@pytest.fixture
def run(profile):
    """Runs a toy stage in this process and gives its exit code."""
    return lambda module, *argv: execute(module.STAGE, [f"--profile={profile}", *argv])


def test_status_tells_everything_about_a_finished_stage(run, status, base_dir):
    assert run(numbers) == 0
    found = status("numbers")
    assert found["stage"] == "numbers" and found["state"] == "done" and found["error"] is None
    assert found["started"] <= found["ended"] and found["seconds"] >= 0
    assert found["config"]["count"] == 4 and found["headline"] == "4 numbers"
    assert found["metrics"] == {"count": 4, "nothing": None}
    assert found["outputs"] == {"toy/numbers.txt": common.sha256(base_dir / "toy" / "numbers.txt")}


def test_a_stage_that_is_done_is_skipped(run, status, capsys):
    run(numbers)
    before = status("numbers")
    assert run(numbers) == 0
    assert status("numbers") == before
    assert "skipped" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--device=cpu", "--wandb=off", "--run_name=x", "--resume=off"])
def test_options_that_decide_nothing_about_the_result_do_not_run_it_again(run, status, option):
    run(numbers)
    before = status("numbers")
    run(numbers, option)
    assert status("numbers") == before


def test_a_changed_option_runs_it_again_from_the_start(run, status):
    run(numbers)
    assert run(numbers, "--count=2") == 0
    assert status("numbers")["metrics"]["count"] == 2
    assert status("numbers")["config"]["resume"] == "off"


def test_force_runs_it_again_from_the_start(run, status):
    run(numbers)
    before = status("numbers")
    run(numbers, "--force")
    assert status("numbers")["started"] > before["started"] and status("numbers")["config"]["resume"] == "off"


@pytest.mark.parametrize("harm", [lambda p: p.write_text("9\n"), lambda p: p.unlink(), lambda p: p.write_text("1\n2\n3\n5\n")])
def test_a_damaged_output_is_made_again(run, status, base_dir, harm):
    run(numbers)
    path = base_dir / "toy" / "numbers.txt"
    whole = path.read_text()
    harm(path)
    assert run(numbers) == 0
    assert path.read_text() == whole


def test_a_changed_input_runs_the_next_stage_again(run, status):
    run(numbers)
    run(total)
    assert status("total")["metrics"]["total"] == 10
    run(numbers, "--count=3")
    run(total)
    assert status("total")["metrics"]["total"] == 6


@pytest.mark.parametrize("data", ["data", "base/data"])
def test_a_base_directory_and_a_data_folder_can_be_moved(run, status, base_dir, tmp_path, monkeypatch, data):
    folder = tmp_path / data
    folder.mkdir(parents=True)
    (folder / "more.txt").write_text("5\n")
    options = ["--also=more.txt", f"--data_dir={folder}"]
    assert (run(numbers), run(total, *options)) == (0, 0)
    assert set(status("total")["inputs"]) == {"toy/numbers.txt", "<data>/more.txt"}
    before = status("total")
    (tmp_path / "base").rename(tmp_path / "other")
    base_dir.symlink_to(tmp_path / "other")  # where `status` looks
    monkeypatch.setenv("NANOCHAT_BASE_DIR", str(tmp_path / "other"))
    there = folder if folder.is_dir() else tmp_path / "other" / "data"
    shutil.copytree(there, tmp_path / "copy")
    assert run(numbers) == 0 and run(total, "--also=more.txt", f"--data_dir={tmp_path / 'copy'}") == 0
    assert status("total") == before


def test_absolute_paths_of_an_earlier_version_still_count(run, status, base_dir):
    run(numbers), run(total)
    for label in ("numbers", "total"):
        old = status(label)
        for key in ("inputs", "outputs"):
            old[key] = {str(base_dir / path): value for path, value in old[key].items()}
        (base_dir / "stages" / label / "status.json").write_text(json.dumps(old))
        assert run({"numbers": numbers, "total": total}[label]) == 0
        assert status(label) == old, "skipped"


def test_a_tag_is_a_run_of_its_own(run, status, base_dir):
    run(numbers)
    run(total, "--tag=again")
    assert status("total.again")["tag"] == "again"
    assert not (base_dir / "stages" / "total").exists()


def test_a_wrong_setting_is_refused_before_anything_is_written(run, status, base_dir, capsys):
    assert run(numbers, "--count=0") == 2
    assert "numbers: --count must be at least 1, not 0" in capsys.readouterr().err
    assert not base_dir.exists()
    run(numbers)
    before, ledger = status("numbers"), (base_dir / "ledger.jsonl").read_text()
    assert run(numbers, "--count=0") == 2
    assert status("numbers") == before and (base_dir / "ledger.jsonl").read_text() == ledger


@pytest.mark.parametrize("attempts", [["user"], ["interrupt"], ["user", "crash"]])
def test_a_failed_attempt_with_other_settings_leaves_the_finished_result(run, status, base_dir, capsys, attempts):
    run(numbers)
    before, curves = status("numbers"), (base_dir / "stages/numbers/metrics.jsonl").read_text()
    for fail in attempts:
        assert run(numbers, "--count=2", f"--fail={fail}") != 0
        assert status("numbers")["state"] in ("failed", "interrupted")
    capsys.readouterr()
    assert run(numbers) == 0 and "skipped" in capsys.readouterr().err
    assert status("numbers") == before and (base_dir / "stages/numbers/metrics.jsonl").read_text() == curves
    assert not list((base_dir / "stages/numbers").glob("metrics.*.jsonl"))


def test_a_result_that_a_failed_attempt_overwrote_is_made_again(run, status, base_dir):
    run(numbers)
    run(numbers, "--count=2", "--fail=user")
    (base_dir / "toy/numbers.txt").write_text("1\n2\n")
    assert run(numbers) == 0 and status("numbers")["metrics"]["count"] == 4
    assert (base_dir / "toy/numbers.txt").read_text() == "1\n2\n3\n4\n"


def test_a_forced_run_that_fails_leaves_nothing_finished(run, status, capsys):
    run(numbers)
    started = status("numbers")["started"]
    run(numbers, "--force", "--fail=user")
    capsys.readouterr()
    assert run(numbers) == 0 and "skipped" not in capsys.readouterr().err
    assert status("numbers")["started"] > started


def test_an_input_that_may_be_absent_runs_the_stage_again_when_it_appears(run, status, tmp_path):
    (tmp_path / "data").mkdir()
    run(numbers)
    options = ["--bonus=bonus.txt", f"--data_dir={tmp_path / 'data'}"]
    assert run(total, *options) == 0 and status("total")["metrics"]["total"] == 10
    (tmp_path / "data/bonus.txt").write_text("7\n")
    assert run(total, *options) == 0 and status("total")["metrics"]["total"] == 17


def test_a_data_folder_that_is_not_there_is_refused_if_it_was_given(run, base_dir, tmp_path, monkeypatch, capsys):
    assert run(numbers, f"--data_dir={tmp_path / 'nowhere'}") == 2
    assert "nowhere is not a folder; give the folder that holds the data files" in capsys.readouterr().err
    assert not base_dir.exists()
    monkeypatch.setenv("NANOCHAT_DATA_DIR", str(tmp_path / "nowhere"))
    assert run(numbers) == 0


def test_a_missing_input_is_one_sentence_with_the_command_that_makes_it(run, base_dir, capsys):
    assert run(total) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "numbers.txt is missing" in lines[0] and "python -m tests.pipeline.toy.numbers" in lines[0]
    assert not base_dir.exists(), "nothing may be written, no profile claimed"


def test_a_folder_without_its_marker_is_missing(base_dir):
    folder = base_dir / "tokenizer"
    folder.mkdir(parents=True)
    (folder / "ranks").touch()
    item = contract.Input(folder, "make it")
    assert contract.missing([item]) == [item]
    (folder / "COMPLETE").touch()
    assert contract.missing([item]) == []


def test_a_stage_folder_counts_only_when_the_stage_is_done(run, base_dir):
    run(numbers, "--fail=user")
    item = contract.Input(base_dir / "stages" / "numbers", "run it")
    assert contract.missing([item]) == [item]
    run(numbers)
    assert contract.missing([item]) == []


@pytest.mark.parametrize(
    ("fail", "words"),
    [("user", "try again later"), ("full", "disk holding"), ("memory", "memory ran out"), ("forgotten output", "No such file")],
)
def test_a_failure_is_one_reason_and_exit_code_1(run, status, capsys, fail, words):
    assert run(numbers, f"--fail={fail}") == 1
    error = capsys.readouterr().err
    assert words in error
    assert status("numbers")["state"] == "failed" and words in status("numbers")["error"]
    assert ("Traceback" in error) == (fail == "forgotten output")


def test_a_crash_shows_its_traceback_and_is_kept_as_the_reason(run, status, capsys):
    assert run(numbers, "--fail=crash") == 1
    assert "Traceback" in capsys.readouterr().err
    assert status("numbers")["error"] == "ZeroDivisionError: one over nothing"


def test_a_full_disk_leaves_nothing_half_written(run, base_dir, monkeypatch, capsys):
    real = os.replace

    def full(source, target):
        if Path(target).name == "numbers.txt":
            raise OSError(28, "No space left on device", str(target))
        return real(source, target)

    monkeypatch.setattr(os, "replace", full)
    assert run(numbers) == 1
    assert "full; free some space" in capsys.readouterr().err
    assert [p for p in (base_dir / "toy").iterdir()] == []


def test_a_failed_stage_runs_again(run, status):
    run(numbers, "--fail=user")
    assert run(numbers) == 0
    assert status("numbers")["state"] == "done"


def test_an_interrupted_stage_exits_with_75_and_runs_again(run, status):
    assert run(numbers, "--fail=interrupt") == 75
    assert status("numbers")["state"] == "interrupted" and status("numbers")["error"] == "saved at step 7"
    assert run(numbers) == 0


def test_a_stop_file_stops_a_stage_and_is_cleared_by_the_next_run(run, status, base_dir, monkeypatch):
    with monkeypatch.context() as patch:
        stop = lambda _: (base_dir / "stages" / "slow" / "STOP").touch()  # noqa: E731
        patch.setattr(slow, "time", SimpleNamespace(sleep=stop))  # not time.sleep itself, which others use too
        assert run(slow) == 75
    assert status("slow")["error"] == "saved at step 1"
    assert run(slow) == 0
    assert status("slow")["metrics"]["started_at"] == 1


def test_the_stop_file_of_the_base_directory_must_be_removed_by_hand(run, base_dir, capsys):
    base_dir.mkdir()
    (base_dir / "STOP").touch()
    assert run(numbers) == 2
    assert "remove it to go on" in capsys.readouterr().err


def test_a_stop_file_that_came_while_the_runner_started_a_stage_interrupts_it(run, base_dir, capsys, monkeypatch):
    monkeypatch.setenv("NANOCHAT_LAUNCH", "abc")
    base_dir.mkdir()
    (base_dir / "STOP").touch()
    assert run(numbers) == 75
    assert "interrupted before it began" in capsys.readouterr().err and not (base_dir / "stages").exists()


def test_a_stage_that_runs_already_is_refused(run, base_dir, capsys):
    folder = base_dir / "stages" / "numbers"
    folder.mkdir(parents=True)
    with open(folder / "lock", "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        assert contract.is_running("numbers")
        assert run(numbers) == 2
    said = capsys.readouterr().err
    assert "already running" in said and "wait for it or stop it first" in said
    assert not contract.is_running("numbers")
    assert run(numbers) == 0


def test_the_lock_does_not_outlive_a_stage_in_a_process_that_it_forked(profile, base_dir):
    left = []

    def forks(config, run):
        left.append(multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,)))
        left[0].start()
        return "done"

    try:
        assert execute(replace(numbers.STAGE, work=forks), [f"--profile={profile}"]) == 0
        assert left[0].is_alive() and not contract.is_running("numbers")
    finally:
        left[0].kill()
        left[0].join()


def test_who_holds_a_stage_in_a_job_is_named_with_what_stops_it(run, base_dir, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    run(numbers)
    with open(base_dir / "stages/numbers/lock", "ab") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        step = plan.Step(numbers.STAGE, "", "tests.pipeline.toy.numbers", (f"--profile={contract.read_status('numbers')['profile']}",), 1)
        assert plan.look(step) == plan.Finding("running", "by job 4711; wait for it, or stop it first: scancel 4711")


def test_the_ledger_has_a_line_per_start_and_end(run, base_dir):
    run(numbers)
    run(numbers)
    run(numbers, "--fail=user")
    lines = [json.loads(line) for line in (base_dir / "ledger.jsonl").read_text().splitlines()]
    assert [(line["event"], line.get("state")) for line in lines] == [("start", None), ("end", "done"), ("start", None), ("end", "failed")]
    assert all(line["host"] and "torch" in line["packages"] and line["world"] == 1 for line in lines)


def test_metrics_have_a_line_per_step_and_no_numbers_that_json_lacks(run, base_dir):
    run(numbers)
    lines = [json.loads(line) for line in (base_dir / "stages" / "numbers" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 2, 3]
    assert lines[2]["value"] == 2.0 and lines[0]["endless"] is None and lines[0]["time"] > 0


def test_metrics_of_steps_that_were_not_kept_are_dropped_and_torn_lines_too(profile, base_dir):
    folder = base_dir / "stages" / "numbers"
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"step": 4, "lo')
    work = contract.Run("numbers", "", folder, None)
    work.log(3, loss=1.0)
    work.log(4, loss=0.5)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line.get("loss")) for line in lines] == [(1, None), (2, None), (3, 1.0), (4, 0.5)]


def test_a_base_directory_belongs_to_one_profile(run, profile, capsys):
    run(numbers)
    other = profile.with_name("other.toml")
    other.write_text(profile.read_text())
    assert execute(numbers.STAGE, [f"--profile={other}"]) == 2
    assert "set NANOCHAT_BASE_DIR to a new folder" in capsys.readouterr().err


def test_without_a_profile_the_base_directory_decides(run, status):
    run(numbers)
    before = status("numbers")
    assert execute(numbers.STAGE, []) == 0
    assert status("numbers") == before


@pytest.mark.parametrize("place", ["file", "under a file", "/proc/nanochat", "/sys/nanochat"])
def test_a_base_directory_that_cannot_be_is_one_sentence(run, tmp_path, monkeypatch, capsys, place):
    (tmp_path / "file").write_text("I am no folder")
    folder = {"file": tmp_path / "file", "under a file": tmp_path / "file" / "base"}.get(place, place)
    monkeypatch.setenv("NANOCHAT_BASE_DIR", str(folder))
    assert run(numbers) in (1, 2)
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "NANOCHAT_BASE_DIR" in lines[0]


def test_an_empty_base_directory_setting_is_refused(run, monkeypatch, capsys):
    monkeypatch.setenv("NANOCHAT_BASE_DIR", " ")
    assert run(numbers) == 2
    assert "set but empty" in capsys.readouterr().err


def test_a_stage_writes_only_under_the_base_directory(run, tmp_path, base_dir):
    before = {p for p in tmp_path.rglob("*")}
    run(numbers)
    assert all(p.is_relative_to(base_dir) for p in {p for p in tmp_path.rglob("*")} - before)


def test_a_missing_wandb_is_a_warning(run, status, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert run(numbers, "--wandb=offline") == 0
    assert "Weights & Biases is off" in capsys.readouterr().err


def test_a_wandb_that_breaks_costs_a_warning_and_no_run(run, monkeypatch, capsys):
    class Broken:
        class Settings:
            def __init__(self, **_): ...

        @staticmethod
        def init(**_):
            class BrokenRun:
                def log(self, *_, **__):
                    raise ConnectionError("gone")

                def finish(self):
                    raise ConnectionError("gone")

            return BrokenRun()

    monkeypatch.setitem(sys.modules, "wandb", Broken)
    assert run(numbers, "--wandb=offline") == 0
    assert capsys.readouterr().err.count("Weights & Biases") == 1
