"""The machine a stage runs on, for the ledger: processor, memory, and the GPUs if it has any."""

import functools
import os
import platform
import sys
from pathlib import Path


@functools.lru_cache
def describe() -> dict:
    """`cpu` (its name), `cores` this process may use, `ram_bytes`, `gpu` (name of the first, None without), `gpus`, `gpu_bytes`."""
    return {"cpu": _cpu(), "cores": len(os.sched_getaffinity(0)), "ram_bytes": _ram(), **_gpus()}


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _ram() -> int:
    """Bytes of memory: the machine's, or less where a control group (a Slurm job, a container) grants less."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        granted = int(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):
        return machine
    return min(machine, granted)


def _gpus() -> dict:
    """Asks PyTorch only if the stage has loaded it already: importing it costs seconds."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return {"gpu": None, "gpus": 0, "gpu_bytes": 0}
    first = torch.cuda.get_device_properties(0)
    return {"gpu": first.name, "gpus": torch.cuda.device_count(), "gpu_bytes": first.total_memory}
