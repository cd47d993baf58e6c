"""What a person runs when nothing works: the machine, one line for each thing a run needs of it, with the remedy.

Looks at Python, torch and its build, the driver, each GPU (a small product, bfloat16), NCCL, the disk and its speed, folders, the
environment's settings (secrets are never shown), and Slurm. Needs no profile and no data.
"""

import importlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from nanochat import common
from nanochat.common import UserError
from nanochat.pipeline import manifest, needs, slurm
from nanochat.pipeline.verdicts import BAD, OK, WARN, Verdict

OLDEST_PYTHON = (3, 10)
PACKAGES = ("numpy", "tiktoken", "rustbpe", "pyarrow", "datasets", "safetensors", "yaml")
PROBE_BYTES = 64 << 20  # written and read for the speed of the disk
SLOW_DISK = 20e6  # bytes per second below which checkpoints and tokens take minutes
LITTLE_SPACE = 5e9  # bytes; the smallest profile needs a few hundred million
LITTLE_MEMORY = 4e9
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH|COOKIE", re.IGNORECASE)
MATTERS = re.compile(
    r"NANOCHAT_|HF_|WANDB_|SITE_|SBATCH_|SLURM_(JOB_GPUS|GPUS_ON_NODE)$|CUDA_VISIBLE|NCCL_|OMP_NUM|MASTER_|NPROC$|TORCH|PYTHONPATH$"
    r"|https?_proxy$",
    re.IGNORECASE,
)
# Variables that give a process GPUs -> values that give none. The first and the last hold indices: "0" is a GPU there.
GRANTS = {"SLURM_JOB_GPUS": ("",), "SLURM_GPUS_ON_NODE": ("", "0"), "CUDA_VISIBLE_DEVICES": ("", "-1", "NoDevFiles")}
SIZE = 512  # rows of the matrices that each GPU multiplies
FIX_TORCH = "set TORCH_SPEC and TORCH_INDEX_URL in .env.local (see .env.local.example), then: bash setup_environment.sh"


def examine() -> Iterator[Verdict]:
    """Every verdict, in the order in which a person would look."""
    for look in LOOKS:
        yield from look()


def python() -> Iterator[Verdict]:
    """Version, and whether it is the environment that setup_environment.sh made."""
    text = f"Python {platform.python_version()} ({sys.executable}) on {platform.system()} {platform.release()}"
    if sys.version_info < OLDEST_PYTHON:
        yield Verdict(BAD, f"{text}: 3.10 or newer is needed; set PYTHON or SITE_MODULES in .env.local, then: bash setup_environment.sh")
    elif sys.prefix == sys.base_prefix:
        yield Verdict(WARN, f"{text} is no virtual environment; run with .venv/bin/python (bash setup_environment.sh makes it)")
    else:
        yield Verdict(OK, text)


def packages() -> Iterator[Verdict]:
    """Packages besides torch."""
    faults = {name: reason for name in PACKAGES if (reason := needs.broken(name))}
    for name, reason in faults.items():
        yield Verdict(BAD, f"package {name} cannot be imported ({reason}); bash setup_environment.sh installs it")
    if not faults:
        yield Verdict(OK, f"packages: {', '.join(PACKAGES)}")


# ---------------------------------------------------------------------------------------------------------------------
# Torch and GPUs


def torch_build() -> Iterator[Verdict]:
    """Which torch, for which CUDA, and whether that suits the driver."""
    reason = needs.broken("torch")
    if reason:
        yield Verdict(BAD, f"torch cannot be imported ({reason}); {FIX_TORCH}")
        return
    torch = importlib.import_module("torch")
    cuda, cards, driver = torch.version.cuda, list(Path("/dev").glob("nvidia[0-9]*")), driver_version()
    text = f"torch {torch.__version__}, " + (f"built for CUDA {cuda}" if cuda else "built without CUDA")
    given = granted()
    if cards and not cuda:
        yield Verdict(BAD, f"{text}, but this machine has {len(cards)} GPU{'s' * (len(cards) > 1)}; {FIX_TORCH}")
    elif cards and not torch.cuda.is_available():
        yield Verdict(BAD, f"{text}, which the driver {driver or '(unknown)'} does not run; choose a torch for an older CUDA: {FIX_TORCH}")
    elif given and not torch.cuda.is_available():
        yield Verdict(BAD, f"{text}, sees no GPU, but {given} says that there are some; {FIX_TORCH}")
    else:
        yield Verdict(OK, f"{text}{f', driver {driver}' if driver else ''}")
    if torch.cuda.is_available():
        nccl = torch.distributed.is_available() and torch.distributed.is_nccl_available()
        yield Verdict(OK, "NCCL is there") if nccl else Verdict(BAD, f"torch has no NCCL, which several GPUs need; {FIX_TORCH}")


def granted() -> str:
    """The variable by which Slurm or a person has given this process GPUs, as `NAME=value`; "" if none has."""
    given = {name: os.environ.get(name, "").strip() for name in GRANTS}
    return next((f"{name}={value}" for name, value in given.items() if value not in GRANTS[name]), "")


def driver_version() -> str:
    """The NVIDIA driver's version, "" without one."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return told.stdout.split()[0] if told.returncode == 0 and told.stdout.split() else ""


def gpus() -> Iterator[Verdict]:
    """Each GPU by name: memory, a product that is right, bfloat16."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    if not torch.cuda.is_available():
        if not granted():  # else torch_build has said what is wrong
            yield Verdict(OK, "no GPU: training runs on the CPU (profile embedded or real_small)")
        return
    for index in range(torch.cuda.device_count()):
        yield gpu(torch, index)


def gpu(torch, index: int) -> Verdict:
    """One GPU: multiplies two matrices of ones and compares with what must come out."""
    try:
        properties = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index)
        bfloat16 = torch.cuda.get_device_capability(index)[0] >= 8
        ones = torch.ones(SIZE, SIZE, device=f"cuda:{index}", dtype=torch.bfloat16 if bfloat16 else torch.float32)
        right = bool((ones @ ones == SIZE).all())
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        return Verdict(BAD, f"GPU {index} does not compute ({reason}); nvidia-smi may say why, a reboot or the administrators help")
    text = f"GPU {index}: {properties.name}, {total / 1e9:.0f} GB, {free / 1e9:.0f} free, {'bfloat16' if bfloat16 else 'no bfloat16'}"
    if not right:
        return Verdict(BAD, f"{text}; it multiplies wrongly: tell the administrators, and leave it out with CUDA_VISIBLE_DEVICES")
    if free < 0.9 * total:
        return Verdict(WARN, f"{text}; others use it: nvidia-smi shows by whom")
    return Verdict(OK, text) if bfloat16 else Verdict(WARN, f"{text}: it computes in float32, slower and with twice the memory")


def cpu() -> Iterator[Verdict]:
    """Cores that this process may use, and memory."""
    from nanochat.pipeline import machine

    found = machine.describe()
    text = f"{found['cpu']}, {found['cores']} cores for this process, {found['ram_bytes'] / 1e9:.0f} GB of memory"
    little = found["ram_bytes"] < LITTLE_MEMORY
    yield Verdict(WARN, f"{text}: little; in a job ask for more (SITE_MEM in .env.local)") if little else Verdict(OK, text)


# ---------------------------------------------------------------------------------------------------------------------
# Disk and settings


def folders() -> Iterator[Verdict]:
    """The base directory, whose it is, and the data folder."""
    base, data = common.base_dir(), common.data_dir()
    owner = common.profile_owner()
    existing = _existing(base)
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        yield Verdict(BAD, f"base directory {base}: {existing} cannot be written; set NANOCHAT_BASE_DIR to a folder that can")
    elif (base / "STOP").exists():
        yield Verdict(WARN, f"base directory {base} holds a stop file; remove {base / 'STOP'} to go on")
    else:
        state = f"of profile '{owner}'" if owner else "new" if not base.exists() else "of no profile yet"
        yield Verdict(OK, f"base directory {base}, {state}")
    yield data_folder(data, os.environ.get("NANOCHAT_PROFILE") or owner)


def data_folder(data: Path, profile: str) -> Verdict:
    """What the data folder holds; one without anything is fine only for a profile that downloads nothing."""
    count = sum(1 for _ in data.iterdir()) if data.is_dir() else 0
    if count:
        return Verdict(OK, f"data folder {data}: {count} entries")
    text = f"data folder {data} is {'empty' if data.is_dir() else 'not there'}"
    try:
        wanted = [asset for asset in manifest.of_profile(profile) if asset.files] if profile else None
    except UserError:  # a profile that is gone
        wanted = None
    if wanted:
        return Verdict(WARN, f"{text}, and profile {profile} needs its files; download them with: {manifest.command(profile, '')}")
    needs_it = "of the profiles only those with downloads need it" if wanted is None else f"profile {profile} needs none"
    return Verdict(OK, f"{text}; {needs_it}")


def disk() -> Iterator[Verdict]:
    """Free space, and how fast it writes and reads."""
    folder = _existing(common.base_dir())
    free = shutil.disk_usage(folder).free
    try:
        write, read = disk_speed(folder)
    except OSError as error:
        yield Verdict(BAD, f"{folder} cannot be written ({error.strerror}); free some space or set NANOCHAT_BASE_DIR to another disk")
        return
    text = f"disk of {folder}: {free / 1e9:.1f} GB free, writes {write / 1e6:.0f} MB/s, reads {read / 1e6:.0f} MB/s"
    if free < LITTLE_SPACE:
        yield Verdict(WARN, f"{text}; little space: set NANOCHAT_BASE_DIR to a larger disk")
    elif write < SLOW_DISK:
        yield Verdict(WARN, f"{text}; slow: checkpoints will take long, set NANOCHAT_BASE_DIR to a local or scratch disk")
    else:
        yield Verdict(OK, text)


def disk_speed(folder: Path, size: int = PROBE_BYTES) -> tuple[float, float]:
    """Bytes per second written (and flushed), and read again (from the cache of the operating system, if it keeps the file)."""
    block = os.urandom(1 << 20)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor.") as f:
        began = time.monotonic()
        for _ in range(size >> 20):
            f.write(block)
        f.flush()
        os.fsync(f.fileno())
        written = time.monotonic()
        f.seek(0)
        while f.read(1 << 20):
            pass
        return size / max(written - began, 1e-9), size / max(time.monotonic() - written, 1e-9)


def _existing(path: Path) -> Path:
    return next(p for p in (path, *path.parents) if p.exists())


def settings() -> Iterator[Verdict]:
    """Variables of the environment that change what runs do; the values of secrets are not shown."""
    for name in sorted(name for name in os.environ if MATTERS.match(name)):
        value = "(set, not shown)" if SECRET.search(name) else re.sub(r"//[^/@\s]*@", "//(not shown)@", os.environ[name])
        fault = _fault(name, os.environ[name])
        yield Verdict(WARN, f"{name}={value}: {fault}") if fault else Verdict(OK, f"{name}={value}")


def _fault(name: str, value: str) -> str:
    if name in ("NANOCHAT_DATA_DIR",) and value and not Path(value).expanduser().is_dir():
        return "this folder is not there; mend or remove it in .env.local"
    if name == "OMP_NUM_THREADS" and value.isdigit() and int(value) > len(os.sched_getaffinity(0)):
        return f"more threads than the {len(os.sched_getaffinity(0))} cores of this process; unset it"
    if name == "CUDA_VISIBLE_DEVICES" and not value.strip():
        return "hides every GPU; unset it to use them"
    if name == "PYTHONPATH" and value:
        return "may bring in other versions of packages; unset it if imports fail"
    return ""


def job() -> Iterator[Verdict]:
    """Whether Slurm is here, and whether this is a job."""
    number = os.environ.get("SLURM_JOB_ID")
    if number:
        left = slurm.seconds_left()
        ends = f"ends in {common.duration(max(0.0, left))}" if left is not None else "has no known end"
        yield Verdict(OK, f"in Slurm job {number} on {os.environ.get('SLURM_JOB_NODELIST', '?')}, which {ends}")
        return
    if not shutil.which("sbatch"):
        yield Verdict(OK, "no Slurm here: run bash speedrun.sh, or on a cluster log in to its login node")
        return
    try:
        told = subprocess.run(["sinfo", "-h", "-o", "%P %a"], capture_output=True, text=True, timeout=slurm.PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        yield Verdict(WARN, "sbatch is here but the controller does not answer; wait, or ask the administrators")
        return
    parts = ", ".join(line.split()[0] for line in told.stdout.splitlines() if line.split())
    if told.returncode == 0 and parts:
        yield Verdict(OK, f"Slurm is here, partitions: {parts}")
    else:
        said = (told.stderr.strip() or "nothing").splitlines()[0]
        yield Verdict(WARN, f"sbatch is here but sinfo says: {said}; log in to the cluster's login node")


LOOKS: tuple[Callable[[], Iterator[Verdict]], ...] = (python, packages, torch_build, gpus, cpu, folders, disk, settings, job)
