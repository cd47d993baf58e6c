import pytest

from nanochat.common import UserError
from nanochat.pipeline import nodes, plan


@pytest.fixture
def job(monkeypatch):
    """A job on two nodes."""
    for name, value in {"JOB_ID": "41", "NNODES": "2", "JOB_NODELIST": "gpu[07-08]", "CPUS_PER_TASK": "16", "RESTART_COUNT": "3"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)


def test_outside_slurm_there_is_one_node(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("SLURM_NNODES", "2")
    assert nodes.count_nodes() == 1


def test_the_processes_of_all_nodes_meet_at_the_first(job):
    command = nodes.on_all_nodes(["torchrun"], 2, 8)
    assert nodes.count_nodes() == 2
    assert command[0] == "srun" and command.index("torchrun") == command.index("--cpus-per-task=16") + 1
    for word in ("--nodes=2", "--ntasks-per-node=1", "--nnodes=2", "--nproc_per_node=8", "--rdzv-endpoint=gpu07:20041", "--rdzv-id=41.3"):
        assert word in command


def test_a_job_without_a_list_of_nodes_is_refused(job, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_NODELIST", "")
    with pytest.raises(UserError, match="submit it with sbatch"):
        nodes.on_all_nodes(["torchrun"], 2, 8)


def test_only_stages_that_compute_together_run_on_all_nodes(job, monkeypatch):
    monkeypatch.setenv("NPROC", "1")
    steps = {step.label: step for step in plan.make_plan("embedded")}
    assert steps["tok_train"].command[0].endswith("python") and not steps["tok_train"].distributed
    assert steps["base_train"].command[0] == "srun" and steps["base_train"].distributed
    assert steps["base_train"].command[-3:] == ["-m", "scripts.base_train", "--profile=embedded"]
