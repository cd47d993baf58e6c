"""The runner over toy stages: one line per stage, skip, stop at the first failure, dry run, signals."""

import json
import os
import signal
import sys
from types import SimpleNamespace

import pytest

from nanochat.common import UserError
from nanochat.pipeline import plan
from scripts import speedrun
from tests.pipeline.helpers import TOY, piped, wait_for
from tests.pipeline.toy import numbers


@pytest.fixture
def steps(profile):
    """The plan of the toy profile."""
    return plan.make_plan(str(profile), package=TOY)


@pytest.fixture
def speed(monkeypatch, profile, capfd):
    """Runs scripts.speedrun in this process over the toy stages: `code, out = speed("--dry-run")`."""
    real = plan.make_plan
    monkeypatch.setattr(plan, "make_plan", lambda *args: real(*args, package=TOY))

    def call(*argv):
        return speedrun.main([f"--profile={profile}", *argv]), capfd.readouterr().out

    return call


@pytest.fixture
def pipeline(repository, profile):
    """Starts scripts.speedrun over the toy stages as a process."""
    children = []

    def begin(*argv, **environment):
        children.append(piped([sys.executable, "-m", f"{TOY}.pipeline", f"--profile={profile}", *argv], repository, **environment))
        return children[-1]

    yield begin
    for child in children:
        if child.poll() is None:
            child.kill()
        child.communicate()


def test_a_plan_has_a_command_per_entry(steps, profile):
    assert [step.label for step in steps] == ["numbers", "total", "total.again", "slow"]
    assert steps[2].command == [sys.executable, "-m", f"{TOY}.total", f"--profile={profile}", "--tag=again"]


def test_several_processes_run_under_torchrun_where_a_stage_can(profile, monkeypatch):
    monkeypatch.setattr(plan, "PARALLEL", {"slow"})
    monkeypatch.setenv("NPROC", "2")
    steps = plan.make_plan(str(profile), "data", package=TOY)
    assert [step.processes for step in steps] == [1, 1, 1, 2]
    assert steps[3].command[1:4] == ["--standalone", "--nproc_per_node=2", "-m"] and steps[3].command[0].endswith("torchrun")
    assert steps[0].command[-1] == f"--data_dir={os.getcwd()}/data"


@pytest.mark.parametrize("text", ["0", "two", "-1"])
def test_a_wrong_number_of_processes_is_refused(monkeypatch, text):
    monkeypatch.setenv("NPROC", text)
    with pytest.raises(UserError, match="NPROC must be"):
        plan.count_processes()


def test_from_and_only_choose(steps):
    assert [s.label for s in plan.choose(steps, first="total")] == ["total", "total.again", "slow"]
    assert [s.label for s in plan.choose(steps, only="total")] == ["total"]
    assert [s.label for s in plan.choose(steps, only="total.again")] == ["total.again"]
    with pytest.raises(UserError, match="did you mean 'slow'"):
        plan.choose(steps, only="slwo")
    with pytest.raises(UserError, match="--only=numbers comes before --from=total"):
        plan.choose(steps, "total", "numbers")


def test_a_stage_or_common_key_that_does_not_exist_is_refused(profile):
    profile.write_text('stages = ["nubmers"]\n')
    with pytest.raises(UserError, match="there is no stage 'nubmers'"):
        plan.make_plan(str(profile), package=TOY)
    profile.write_text('stages = ["numbers"]\n[common]\ncuont = 1\n')
    with pytest.raises(UserError, match="'cuont' of \\[common\\].*did you mean 'count'"):
        plan.make_plan(str(profile), package=TOY)


def test_the_dry_run_lists_commands_and_states_and_writes_nothing(speed, base_dir):
    code, out = speed("--dry-run")
    assert code == 0 and not base_dir.exists()
    assert out.count(f"-m {TOY}.") == 4
    assert "2/4 total            to do        after the stages above (needs toy/numbers.txt)" in out
    assert out.strip().endswith("4 to do")


def test_the_dry_run_names_what_no_stage_will_make(speed, profile):
    profile.write_text(profile.read_text() + '[total]\nalso = "more.txt"\n')
    code, out = speed("--dry-run")
    assert code == 0
    assert "missing" in out and "more.txt: download it with: bash download_data.sh" in out


def test_what_may_be_absent_is_noted(speed, profile):
    profile.write_text(profile.read_text() + '[total]\nbonus = "bonus.txt"\n')
    out = speed("--dry-run")[1]
    assert "missing" not in out and "after the stages above (needs toy/numbers.txt); without <data>/bonus.txt" in out


def test_a_wrong_setting_of_a_profile_is_refused_before_the_first_stage(speed, profile, base_dir, capfd):
    profile.write_text(profile.read_text().replace("count = 4", "count = 0"))
    for words in ([], ["--dry-run"]):
        assert speed(*words)[0] == 2
    assert not base_dir.exists()


def test_what_changed_is_named(speed, profile, base_dir, status):
    assert speed("--only=numbers")[0] == speed("--only=total")[0] == 0
    words = profile.read_text()
    profile.write_text(words.replace("count = 4", "count = 5"))
    assert "1/4 numbers          to do        again: --count was 4 and is 5" in speed("--dry-run")[1]
    profile.write_text(words.replace("count = 4", f"count = 4\nnames = {['a long name' * 9]}"))
    assert "again: --names changed" in speed("--dry-run")[1]
    profile.write_text(words)
    (base_dir / "toy/numbers.txt").write_text("7\n")
    out = speed("--dry-run")[1]
    assert "again: output toy/numbers.txt changed" in out and "again: input toy/numbers.txt changed" in out
    (base_dir / "toy/numbers.txt").unlink()
    assert "again: output toy/numbers.txt is gone" in speed("--dry-run")[1]


def test_a_damaged_status_is_called_unreadable(speed, base_dir):
    assert speed("--only=numbers")[0] == 0
    (base_dir / "stages/numbers/status.json").write_text('{"state": "do')
    out = speed("--dry-run")[1]
    assert "1/4 numbers          to do        again: stages/numbers/status.json is unreadable" in out


def test_a_result_left_by_a_failed_attempt_with_other_settings_is_taken_up_again(speed, profile, base_dir, status):
    assert speed("--only=numbers")[0] == 0
    before = status("numbers")
    assert numbers.execute(numbers.STAGE, [f"--profile={profile}", "--count=2", "--fail=user"]) == 1
    assert "1/4 numbers          done         4 numbers" in speed("--dry-run")[1]
    code, out = speed("--only=numbers")
    assert code == 0 and "skipped" in out and status("numbers") == before


def test_the_dry_run_of_a_base_directory_that_cannot_be_is_refused(speed, base_dir):
    base_dir.write_text("a file")
    assert speed("--dry-run")[0] == 2


def test_the_dry_run_of_another_profile_s_base_directory_says_so(speed, base_dir):
    base_dir.mkdir()
    (base_dir / "profile.json").write_text('{"profile": "embedded"}')
    code, out = speed("--dry-run")
    assert code == 0 and "holds a run of profile 'embedded'" in out


def test_the_dry_run_shows_the_commands_of_the_machine_that_the_profile_is_made_for(speed, profile, monkeypatch):
    monkeypatch.setattr(plan, "PARALLEL", {"slow"})
    monkeypatch.setattr(plan, "count_gpus", lambda: 0)
    profile.write_text("gpus = 8\n" + profile.read_text())
    code, out = speed("--dry-run")
    assert code == 0 and out.count("torchrun --standalone --nproc_per_node=8 -m") == 1
    assert "meant for 8 GPUs, and this machine shows 0" in out


def test_task_files_that_training_needs_are_missing_and_those_of_evaluations_are_noted(tmp_path):
    (tmp_path / "base_data").mkdir()
    for i in range(2):
        (tmp_path / f"base_data/shard_{i}.parquet").write_text("text")
    steps = plan.make_plan("d20_a100x8", str(tmp_path))
    found = dict(zip([step.label for step in steps], plan.survey(steps), strict=True))
    lacking = {label for label, finding in found.items() if finding.state == "missing"}
    assert lacking == {"mid_train", "chat_sft", "chat_eval.mid", "chat_eval.sft"}
    paths = [f"{tmp_path / name}.parquet" for name in ("smoltalk/train-*", "mmlu/auxiliary_train", "gsm8k/train")]
    assert found["mid_train"].note.startswith(f"{', '.join(paths)}: download it with: bash download_data.sh --profile d20_a100x8")
    assert "<data>/eval_bundle/core.yaml" in found["base_eval"].note and "<data>/tokenizers/r50k_base.tiktoken" in found["tok_eval"].note
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k/test.jsonl").touch()
    finding = plan.survey(steps)[7]
    assert finding.state == "to do" and "without <data>/arc/ARC-Easy-Test.parquet" in finding.note


def test_nothing_starts_when_a_file_from_outside_is_missing(speed, profile, base_dir):
    profile.write_text(profile.read_text() + '[total]\nalso = "more.txt"\n')
    assert speed()[0] == 2
    assert not base_dir.exists()


def test_data_dir_reaches_the_stages(speed, profile, status, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "more.txt").write_text("5\n")
    profile.write_text(profile.read_text() + '[total]\nalso = "more.txt"\n')
    assert speed("--only=numbers", f"--data_dir={tmp_path / 'data'}")[0] == 0
    assert speed("--only=total", f"--data_dir={tmp_path / 'data'}")[0] == 0
    assert status("total")["metrics"]["total"] == 15
    assert speed("--data_dir=nowhere")[0] == 2


def test_one_stage_is_not_called_several(speed):
    assert "· 1 stage ·" in speed("--only=slow", "--dry-run")[1]


@pytest.mark.slow
def test_all_stages_run_in_order_and_then_all_are_skipped(speed, status):
    code, out = speed()
    lines = [line.split() for line in out.splitlines()[1:5]]
    assert code == 0
    assert [line[:3] for line in lines] == [
        [f"{i}/4", name, "done"] for i, name in enumerate(("numbers", "total", "total.again", "slow"), 1)
    ]
    assert "the total is 10" in out and "chat:" in out and "-m scripts.chat_cli" in out
    code, out = speed()
    assert code == 0 and out.count("skipped") == 4
    assert speed("--dry-run")[1].strip().endswith("4 done")
    # a change in the middle runs that stage and what reads from it
    assert numbers.execute(numbers.STAGE, [f"--profile={status('numbers')['profile']}", "--count=2"]) == 0
    code, out = speed("--from=total")
    assert "the total is 3" in out and out.count("skipped") == 1


@pytest.mark.slow
def test_the_first_failure_stops_the_run_with_its_reason(speed, profile, base_dir):
    (base_dir / "data").mkdir(parents=True)
    (base_dir / "data" / "broken.txt").write_text("not a number\n")
    profile.write_text(profile.read_text() + '["total.again"]\nalso = "broken.txt"\n')
    code, out = speed()
    assert code == 1
    assert "3/4 total.again      failed" in out and "ValueError: invalid literal" in out
    assert "4/4" not in out and "the same command goes on" in out


@pytest.mark.slow
def test_a_stage_that_dies_without_a_word_is_told_so(pipeline, profile, base_dir, status):
    profile.write_text('stages = ["slow"]\n[slow]\nsteps = 5000\n')
    child = pipeline()
    pid = wait_for(lambda: (base_dir / "stages/slow/metrics.jsonl").exists() and status("slow")["pid"])
    os.kill(pid, signal.SIGKILL)
    out, _ = child.communicate(timeout=30)
    assert child.returncode == 1 and "failed" in out and "SIGKILL" in out
    assert status("slow")["state"] == "failed"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_reaches_the_stage_once_and_the_same_command_goes_on(pipeline, profile, base_dir, status, number):
    profile.write_text('stages = ["slow"]\n[slow]\nsteps = 60\n')
    log = base_dir / "stages/slow/metrics.jsonl"
    child = pipeline()
    wait_for(lambda: log.exists() and len(log.read_text().splitlines()) > 2)
    child.send_signal(number)
    out, err = child.communicate(timeout=30)
    assert child.returncode == 75 and "interrupted" in out and "the same command goes on" in out
    assert status("slow")["state"] == "interrupted" and "Traceback" not in err
    child = pipeline()
    out, _ = child.communicate(timeout=60)
    assert child.returncode == 0 and status("slow")["metrics"]["started_at"] > 0


@pytest.mark.slow
def test_a_killed_runner_takes_its_stage_along_and_the_next_one_goes_on(pipeline, profile, base_dir, status):
    profile.write_text('stages = ["slow"]\n[slow]\nsteps = 100\n')
    log = base_dir / "stages/slow/metrics.jsonl"
    child = pipeline()
    wait_for(lambda: log.exists() and len(log.read_text().splitlines()) > 2)
    child.kill()
    wait_for(lambda: status("slow")["state"] == "interrupted", 20)
    child = pipeline()
    child.communicate(timeout=60)
    assert child.returncode == 0 and status("slow")["metrics"]["started_at"] > 0


@pytest.mark.slow
def test_under_torchrun_a_signal_stops_all_processes_in_the_same_step(pipeline, profile, base_dir, status):
    profile.write_text('stages = ["slow"]\n[slow]\nsteps = 2000\n')
    child = pipeline(NPROC="2")
    log = base_dir / "stages/slow/metrics.jsonl"
    wait_for(lambda: log.exists() and len(log.read_text().splitlines()) > 2)
    assert json.loads(log.read_text().splitlines()[0])["processes"] == 2
    child.send_signal(signal.SIGUSR1)
    out, _ = child.communicate(timeout=60)
    assert child.returncode == 75 and "saved at step" in out
    assert not (base_dir / "stages/slow/STOP").exists()


@pytest.mark.parametrize("stage, chat", [("report", True), ("slow", False)])
def test_the_last_job_of_a_chain_ends_with_the_command_to_chat_like_the_whole_pipeline(base_dir, monkeypatch, capsys, stage, chat):
    monkeypatch.setattr(speedrun, "run_plan", lambda steps, say: 0)
    monkeypatch.setattr(speedrun, "heading", lambda config, steps: "heading")
    assert speedrun.run(speedrun.Config(only=stage), [SimpleNamespace(stage=SimpleNamespace(name=stage))]) == 0
    assert ("scripts.chat_cli" in capsys.readouterr().out) == chat
