"""A Slurm job of several nodes: how many there are, and how a stage runs on all of them at once.

srun starts one torchrun on each node; they meet at the first one (rendezvous c10d) and start the same number of processes
each. What srun and torchrun exit with says little; the runner reads status.json.
"""

import os

from nanochat.common import UserError
from nanochat.pipeline.offline import expand_nodes

GRACE_SECONDS = 30  # how long the other nodes may go on when one has ended: the first process may still be writing down why


def count_nodes() -> int:
    """Nodes of the Slurm job that this process is in; one outside Slurm, and one in a step on a single node."""
    text = os.environ.get("SLURM_NNODES", "")
    return int(text) if os.environ.get("SLURM_JOB_ID") and text.isdigit() else 1


def on_all_nodes(torchrun: list[str], nodes: int, processes: int) -> list[str]:
    """The command up to `-m MODULE`: `processes` processes on each of `nodes` nodes."""
    job = os.environ["SLURM_JOB_ID"]
    cpus = os.environ.get("SLURM_CPUS_PER_TASK")
    srun = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--export=ALL", "--kill-on-bad-exit=0"]
    srun += [f"--wait={GRACE_SECONDS}"] + ([f"--cpus-per-task={cpus}"] if cpus else [])  # some versions give a step one CPU unless told
    meeting = f"{_first_node()}:{20000 + int(job) % 20000}"
    run = f"{job}.{os.environ.get('SLURM_RESTART_COUNT', '0')}"
    return [*srun, *torchrun, f"--nnodes={nodes}", f"--nproc_per_node={processes}", "--max-restarts=0", "--rdzv-backend=c10d",
            f"--rdzv-endpoint={meeting}", f"--rdzv-id={run}"]  # fmt: skip


def _first_node() -> str:
    names = expand_nodes(os.environ.get("SLURM_JOB_NODELIST", ""))
    if not names:
        raise UserError("this job has several nodes but SLURM_JOB_NODELIST names none; submit it with sbatch")
    return names[0]
