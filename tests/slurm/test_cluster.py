"""The tracked batch files on a real Slurm: jobs finish, heal, fail and are refused as HPC_SETUP.md says."""

import json
import math
import re
import time

import pytest

from tests.slurm.conftest import curve, reached, status

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="session")
def pace(site, prepared) -> tuple[int, int]:
    """(steps of pretraining that take most of a turn, minutes of a turn in which a job can begin and get somewhere) here and now."""
    base = site.base("pace", prepared)
    began = time.time()
    job = site.sbatch("slurm/stage.slurm", "base_train", base=base, profile=site.profile("pace", steps=40))
    assert site.lab.wait(job)["JobState"] == "COMPLETED", site.log(job)
    minutes = max(1, math.ceil((2 * (time.time() - began) + 15) / 60))
    lines = (base / "stages/base_train/metrics.jsonl").read_text().splitlines()
    fastest = min(line["dt"] for line in map(json.loads, lines) if "dt" in line)  # others may compute here too
    return int(60 * minutes / fastest), minutes


@pytest.fixture(scope="session")
def uninterrupted(site, prepared, pace):
    """(job, base directory) of the whole pipeline in one turn."""
    base = site.base("uninterrupted", prepared)
    done = site.submit(base=base, profile=site.profile("long", steps=pace[0]))
    return re.search(r"submitted job (\d+)", done.stdout).group(1), base


@pytest.fixture(scope="session")
def healing(site, prepared, pace):
    """(job, base directory) of the same pipeline in turns of a minute, or of some where others compute too.

    Slurm looks at the time only every 30 seconds, for warnings as for limits: the warning comes 5 to 35 seconds before the end.
    """
    base = site.base("healing", prepared)
    words = (f"--time={pace[1]}", "--signal=B:USR1@5", "slurm/speedrun.slurm")
    return site.sbatch(*words, base=base, profile=site.profile("long", steps=pace[0])), base


def test_the_pipeline_is_submitted_and_finishes(site, uninterrupted):
    job, base = uninterrupted
    found = site.lab.wait(job, seconds=700)
    assert found["JobState"] == "COMPLETED" and found["ExitCode"] == "0:0", site.log(job)
    assert "gres:gpu:8" in found["TresPerNode"] and found["MinMemoryNode"] == "256G" and found["Restarts"] == "0"
    states = {path.parent.name: json.loads(path.read_text())["state"] for path in base.glob("stages/*/status.json")}
    assert len(states) == 7 and set(states.values()) == {"done"}
    assert "exit code 0" in site.log(job) and (site.checkout / "report.md").exists()
    assert "COMPLETED" in (site.lab.folder / "log" / "mail").read_text()


def test_a_job_with_too_little_time_heals_itself_and_ends_with_the_same_losses(site, pace, uninterrupted, healing):
    job, base = healing  # which began when the other had ended
    found = site.lab.wait(job, seconds=700)
    assert found["JobState"] == "COMPLETED", site.log(job)
    assert int(found["Restarts"]) >= (2 if pace[1] == 1 else 1)
    ends = [json.loads(line) for line in (base / "slurm" / f"{job}.jsonl").read_text().splitlines()]
    assert len(ends) == int(found["Restarts"])
    print("\n".join(f"restart {end['restart']}: {end['reached']}" for end in ends))
    for stage in ("base_train", "dag_train", "mid_train", "chat_sft"):
        whole, healed = curve(uninterrupted[1], stage), curve(base, stage)
        assert len(whole) >= 5 and {step: healed[step] for step in whole} == whole, stage


def test_cancelling_saves_and_ends_the_job_for_good(site, prepared):
    base = site.base("cancelled", prepared)
    profile = site.profile("endless", steps=100_000)
    job = site.sbatch("slurm/stage.slurm", "base_train", base=base, profile=profile)
    reached(base, "base_train", 5)
    second = site.submit(base=base, profile=profile, check=False)
    assert second.returncode == 2 and f"job {job} (stage base_train) is RUNNING" in second.stderr
    site.lab.run("scancel", job)
    assert site.lab.wait(job)["JobState"] == "CANCELLED"
    found = waited(lambda: status(base, "base_train").get("state") != "running" and status(base, "base_train"))
    assert found["state"] == "interrupted" and "saved at step" in found["error"]
    assert list(base.glob("checkpoints/base_train/default/step_*/COMPLETE")) and not list(base.glob("slurm/*.jsonl"))


def test_a_job_whose_node_dies_goes_on_when_slurm_has_it_back(site, prepared):
    base = site.base("crashed", prepared)
    profile = site.profile("crash", steps=160, save_every=20)
    job = site.sbatch("slurm/stage.slurm", "base_train", base=base, profile=profile)
    reached(base, "base_train", 50)
    node = site.lab.job(job)["NodeList"]
    site.lab.crash(node)
    site.lab.order("up", node)
    found = site.lab.wait(job)
    assert found["JobState"] == "COMPLETED" and found["Restarts"] == "1", site.log(job)
    assert re.search(r"goes on from step \d*[02468]0 ", site.log(job)) and len(curve(base, "base_train")) == 160


def test_a_failing_stage_fails_its_job_and_those_after_it_never_start(site, prepared):
    base = site.base("failing", prepared)
    profile = site.profile("failing", lr_scale=1e30, stages='stages = ["tok_train", "base_train", "base_eval", "report"]')
    done = site.submit("--chain", base=base, profile=profile)
    jobs = re.search(r"scancel (.*)", done.stdout).group(1).split()
    assert len(jobs) == 3, "tok_train is done"
    assert [site.lab.wait(job)["JobState"] for job in jobs] == ["FAILED", "CANCELLED", "CANCELLED"]
    assert "the loss became" in site.log(jobs[0]) and not status(base, "base_eval") and not site.log(jobs[1])


def test_where_requeueing_is_forbidden_the_job_submits_itself_anew_and_the_next_one_waits_for_that(site, prepared):
    base = site.base("forbidden", prepared)
    profile = site.profile("forbidden", steps=100)
    job = site.sbatch("--no-requeue", "--time=20", "slurm/stage.slurm", "base_train", base=base, profile=profile)
    child = site.sbatch(
        f"--dependency=afterok:{job}", "--kill-on-invalid-dep=yes", "slurm/stage.slurm", "dag_train", base=base, profile=profile
    )
    reached(base, "base_train", 20)
    settings = (site.checkout / ".env.local").read_text()
    (site.checkout / ".env.local").write_text(settings + "NANOCHAT_DATA_DIR=/nowhere\n")  # the job that follows must not care
    site.lab.run("scancel", "-b", "-s", "USR1", job)
    assert site.lab.wait(job)["ExitCode"] == "75:0", site.log(job)
    after = re.search(r"goes on as job (\d+)", site.log(job)).group(1)
    new = site.lab.job(after)
    assert (new["TimeLimit"], new["Account"], new["TresPerNode"]) == ("00:20:00", "class-xyz", "gres:gpu:8")
    assert new["NumNodes"] in ("1-1", "1"), "a range while it waits, a number once it has its node"
    assert site.lab.wait(after)["JobState"] == "COMPLETED", site.log(after)
    assert site.lab.wait(child)["JobState"] == "COMPLETED", site.log(child)
    (site.checkout / ".env.local").write_text(settings)
    assert "/nowhere" not in site.log(after) + site.log(child)
    assert len(curve(base, "base_train")) == 100 and (base / "slurm" / f"{job}.jsonl").exists()


def test_a_missing_file_is_found_before_any_stage(site, prepared):
    base = site.base("missing")
    profile = site.profile("missing", text='text = "base_data/*.parquet"')
    job = site.sbatch("slurm/speedrun.slurm", base=base, profile=profile)
    found = site.lab.wait(job)
    assert found["JobState"] == "FAILED" and found["ExitCode"] == "2:0"
    assert "base_data" in site.log(job) and "nothing was started" in site.log(job) and not (base / "stages").exists()


def test_of_a_sweep_only_the_element_that_fails_fails(site, prepared):
    base = site.base("sweep", prepared)
    runs = site.folder / "runs.txt"
    runs.write_text("# a bad one, a good one\nbase_train --tag=bad --lr_scale=1e30\n\n  base_train --tag=two --steps=2\n")
    done = site.submit("sweep", str(runs), base=base, profile=site.profile("sweep"), SITE_GPUS="a100:1")
    job = re.search(r"submitted job (\d+)", done.stdout).group(1)
    found = {number: site.lab.wait(f"{job}_{number}") for number in (1, 2)}
    assert [(f["JobState"], f["ExitCode"]) for f in found.values()] == [("FAILED", "1:0"), ("COMPLETED", "0:0")]
    assert len(curve(base, "base_train.two")) == 2


def test_two_nodes_train_one_model(site, prepared):
    base = site.base("nodes", prepared)
    job = site.sbatch("--nodes=2", "slurm/stage.slurm", "base_train", base=base, profile=site.profile("nodes", steps=6))
    found = site.lab.wait(job)
    assert found["JobState"] == "COMPLETED" and found["NumNodes"] == "2", site.log(job)
    lines = [json.loads(line) for line in (base / "ledger.jsonl").read_text().splitlines()]
    assert {line["world"] for line in lines if line["stage"] == "base_train"} == {2}
    assert len(curve(base, "base_train")) == 6 and "1 process on each of 2 nodes" in site.log(job)


@pytest.mark.parametrize(
    "settings, remedy",
    [
        ({"SITE_ACCOUNT": "nobody"}, "use the account 'nobody' here; set SITE_ACCOUNT in .env.local"),
        (
            {"SITE_TIME": "3-00:00:00"},
            "the time limit 3-00:00:00 is above what the partition allows (2-00:00:00); set SITE_TIME=2-00:00:00",
        ),
        ({"SITE_PARTITION": "gpu-b200"}, "there is no partition 'gpu-b200'; set SITE_PARTITION"),
    ],
)
def test_what_slurm_would_refuse_is_explained_before_submission(site, prepared, settings, remedy):
    done = site.submit(base=prepared, profile=site.folder / "toy.toml", check=False, **settings)
    assert done.returncode == 2 and remedy in done.stderr, done.stderr
    assert "submitted job" not in done.stdout
    assert [line.startswith("not submitted: ") for line in done.stderr.splitlines() if not line.startswith("warn")] == [True]


def waited(condition, seconds: float = 30):
    """What `condition` gives once that is true."""
    end = time.time() + seconds
    while not condition():
        assert time.time() < end
        time.sleep(0.2)
    return condition()
