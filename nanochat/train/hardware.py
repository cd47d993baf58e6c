"""What the machine can do, and making it do so: peak arithmetic and use of GPUs, and the C library's way with freed memory."""

import contextlib
import ctypes
import sys

import torch

# Dense bfloat16 operations per second, from the vendors' data sheets.
PEAK_FLOPS = {
    "H200": 989e12,
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
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((flops for key, flops in PEAK_FLOPS.items() if key in name), None)


def gpu_usage(device: torch.device) -> dict[str, float]:
    """gpu_memory (GB, the most this process held at once) and gpu_utilisation (share of the last moment in which the GPU worked; only
    where the `gpu` extra is installed) of a CUDA device; nothing elsewhere."""
    if device.type != "cuda":
        return {}
    usage = {"gpu_memory": round(torch.cuda.max_memory_allocated(device) / 1e9, 3)}
    with contextlib.suppress(ImportError, RuntimeError):  # without NVML, or where it answers no questions, as in some containers
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
