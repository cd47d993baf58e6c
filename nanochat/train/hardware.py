"""What the machine can do, and making it do so: peak arithmetic, use of GPUs, memory, energy, the C library's way with freed memory."""

import contextlib
import ctypes
import glob
import re
import sys
import time
from collections.abc import Callable

import torch

from nanochat.common import UserError, duration

# Dense bfloat16 operations per second, from the vendors' data sheets.
PEAK_FLOPS = {
    "H200 NVL": 835e12,
    "H200": 989e12,
    "GH200": 989e12,
    "H100 NVL": 835e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "B200": 2250e12,
    "L40S": 362e12,
    "A40": 150e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}


def peak_flops(device: torch.device) -> float | None:
    """Peak bfloat16 operations per second of a CUDA device, None if it is not known."""
    return peak_of(torch.cuda.get_device_name(device)) if device.type == "cuda" else None


def peak_of(name: str) -> float | None:
    """The same for a device by its name. A relative of a device in the table is not known: an A4000 is no A40, a laptop's 4090 no 4090,
    and a slice of a GPU (MIG) not the whole."""
    other = r"(?! (Ti|D|SUPER|Laptop))(?!.*\bMIG\b)"
    return next((flops for key, flops in PEAK_FLOPS.items() if re.search(rf"\b{key}\b{other}", name)), None)


def placed(model: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """`model` on a device. UserError where that has no numbers of 64 bits, in which the tower calculates."""
    if device.type == "mps" and any(x.dtype == torch.float64 for x in (*model.parameters(), *model.buffers())):
        raise UserError("the tower calculates with numbers of 64 bits, which this machine's GPU does not have; use --device=cpu")
    return model.to(device)


def first_step(run, device: torch.device, began: float) -> None:
    """Says and keeps how long after `began` (time.monotonic()) the first step of a run was done, compilation included."""
    if "first_step_seconds" in run.metrics:  # the run went back to where it began
        return
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds = time.monotonic() - began
    run.say(f"first step after {duration(seconds)}")
    run.result(first_step_seconds=round(seconds, 3))


def gpu_usage(device: torch.device) -> dict[str, float]:
    """gpu_memory (GB, the most this process held at once) and gpu_utilisation (share of the last moment in which the GPU worked; only
    where the `gpu` extra is installed) of a CUDA device; nothing elsewhere."""
    if device.type != "cuda":
        return {}
    usage = {"gpu_memory": round(torch.cuda.max_memory_allocated(device) / 1e9, 3)}
    with contextlib.suppress(Exception):  # no NVML, or one that refuses this question: NVMLError is no RuntimeError, and nothing to end for
        usage["gpu_utilisation"] = torch.cuda.utilization(device) / 100
    return usage


def keep_freed_memory() -> None:
    """Tells glibc to keep freed blocks of up to 1 GB instead of giving them back to the system.

    Training on a CPU frees and asks for the same megabytes hundreds of times a step; fetched anew, each page is cleared by the
    kernel first, which costs up to a third of the time. Elsewhere than on glibc nothing happens.
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of <malloc.h>
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(mmap_threshold, 1 << 30)
            libc.mallopt(trim_threshold, 1 << 30)


def peak_megabytes(device: torch.device, work: Callable) -> float:
    """The most memory this process held during `work`: on a GPU what torch allocated, else resident memory (0 where Linux's /proc is
    missing). Freed memory is given back to the system first."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return torch.cuda.max_memory_allocated(device) / 1e6
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as f:
        f.write("5")  # the peak counts from here (proc(5))
    work()
    with contextlib.suppress(OSError), open("/proc/self/status") as f:
        return next((int(line.split()[1]) / 1e3 for line in f if line.startswith("VmHWM")), 0.0)
    return 0.0


class Energy:
    """Joules used since it was made: by a GPU as NVML counts them, else by the processors' packages as RAPL does."""

    COUNTERS = "/sys/class/powercap/intel-rapl:*/energy_uj"

    def __init__(self, device: torch.device):
        self.device, self.began = device, None
        self.began = self._count()

    def joules(self) -> float | None:
        """None where nobody counts: without a GPU's driver, in a virtual machine, or without the right to read the counters."""
        now = self._count()
        if not now or not self.began or now.keys() != self.began.keys():
            return None
        return sum(count - self.began[name] for name, count in now.items() if count >= self.began[name])  # one that began anew is left out

    def _count(self) -> dict[str, float]:
        if self.device.type == "cuda":
            try:
                import pynvml
            except ImportError:  # it is an extra
                return {}
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlInit()
                uuid = f"GPU-{torch.cuda.get_device_properties(self.device).uuid}"
                return {"gpu": pynvml.nvmlDeviceGetTotalEnergyConsumption(pynvml.nvmlDeviceGetHandleByUUID(uuid)) / 1e3}
            return {}
        found = {}
        for path in glob.glob(self.COUNTERS):
            with contextlib.suppress(OSError, ValueError), open(path) as f:
                found[path] = int(f.read()) / 1e6
        return found
