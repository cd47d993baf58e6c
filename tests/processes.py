"""Runs a function in several processes that form a gloo group:  in_processes(4, work, tmp_path, argument, ...)

The processes are forked from one that has imported torch and does nothing else, so that each costs milliseconds.
"""

import multiprocessing
import os
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

IMPORTED = ("pytest", "hypothesis.strategies", "torch.multiprocessing", "nanochat.model.gpt", "nanochat.train.optimizer")
multiprocessing.set_forkserver_preload(list(IMPORTED))


def in_processes(world: int, work, folder: Path, *arguments) -> list:
    """What `work(*arguments)` gives in each process, by rank. `work` is a function of a module; tensors, names and numbers go in and out.
    With one process it runs in a group of its own too."""
    meeting = folder / f"{work.__name__}-{world}-{len(list(folder.iterdir()))}"
    mp.start_processes(_run, (world, work, str(meeting), arguments), world, start_method="forkserver")
    return [torch.load(f"{meeting}.{rank}.pt", weights_only=False) for rank in range(world)]


def _run(rank: int, world: int, work, meeting: str, arguments: tuple) -> None:
    os.environ.update({"RANK": str(rank), "WORLD_SIZE": str(world)})
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    torch.save(work(*arguments), f"{meeting}.{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
