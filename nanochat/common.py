"""What every room needs: where things lie, which device, which process of how many, and errors meant for people."""

import contextlib
import errno
import hashlib
import json
import os
import re
import shlex
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

# How long a process of a run waits for another. Long, because one process may tokenize or hash many gigabytes for all.
PATIENCE = timedelta(hours=2)

# Where libraries would otherwise write into the home directory: variable -> folder under <base directory>/cache.
CACHES = {
    "XDG_CACHE_HOME": "",
    "HF_HOME": "huggingface",
    "TIKTOKEN_CACHE_DIR": "tiktoken",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
    "CUDA_CACHE_PATH": "cuda",
    "MPLCONFIGDIR": "matplotlib",
    "WANDB_CACHE_DIR": "",  # it makes a folder wandb in it; its system monitor does not look at XDG_CACHE_HOME
    "WANDB_DATA_DIR": "wandb/data",
}


class UserError(Exception):
    """Something the person at the keyboard can mend: one sentence saying what is wrong and what to do. No traceback.

    A command in it is written `python -m ...` and shown as it works for that person: see `typed`.
    """

    def __str__(self) -> str:
        return typed(super().__str__())


class Interrupted(Exception):
    """A stop was requested and everything worth keeping has been saved; the next run goes on from there."""


def base_dir() -> Path:
    """The one folder everything is written under: `NANOCHAT_BASE_DIR`, default `~/.cache/nanochat`."""
    text = os.environ.get("NANOCHAT_BASE_DIR")
    if text is not None and not text.strip():
        raise UserError("NANOCHAT_BASE_DIR is set but empty; unset it or give a folder")
    return Path(text).expanduser().absolute() if text else Path.home() / ".cache" / "nanochat"


def data_dir(configured: str = "") -> Path:
    """The folder with original data files: the option, else `NANOCHAT_DATA_DIR`, else `<base directory>/data`."""
    text = configured or os.environ.get("NANOCHAT_DATA_DIR", "")
    return Path(text).expanduser().absolute() if text else base_dir() / "data"


def profile_owner() -> str:
    """The profile this base directory is used with, "" while it is new."""
    return (read_json(base_dir() / "profile.json") or {}).get("profile") or ""


def stay_home() -> None:
    """Before any library reads its environment: no hub is called, and every library's cache lies in the base directory."""
    cache = base_dir() / "cache"
    os.environ.update({"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"})
    for name, folder in CACHES.items():
        os.environ.setdefault(name, str(cache / folder))


def say(*words) -> None:
    """One line for a person, on stderr and from the first process only: stdout belongs to results."""
    if rank() == 0:
        with contextlib.suppress(OSError):  # a closed terminal or a full disk behind stderr must not cost a run
            print(*words, file=sys.stderr, flush=True)


def shown(command: list[str]) -> str:
    """A command as a person would type it in this folder."""
    here = f"{Path.cwd()}{os.sep}"
    return shlex.join(word.removeprefix(here) for word in command)


def typed(text: str) -> str:
    """`text` with each `python -m` as the Python that runs this: a plain `python` has none of the packages."""
    return re.sub(r"(?<![\w/.-])python -m ", lambda _: f"{shown([sys.executable or 'python'])} -m ", text)


def duration(seconds: float) -> str:
    """`3.2 s`, `42 s`, `14 min 3 s`, `7 h 13 min`, `2 d 3 h`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    total = round(seconds)
    for size, unit, smaller, below in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if total >= size:
            rest = total % size // smaller
            return f"{total // size} {unit} {rest} {below}" if rest else f"{total // size} {unit}"
    return f"{total} s"


# ---------------------------------------------------------------------------------------------------------------------
# Files: written aside, flushed, renamed


@contextlib.contextmanager
def atomic_path(path: Path):
    """Yields a temporary path beside `path`; on success flushed to disk and renamed onto it, on failure removed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
        _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Has the operating system write a file, or a folder's list of names, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot flush a folder
            raise
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Writes `text` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value) -> None:
    """Writes `value` as indented JSON atomically."""
    write_text(path, json.dumps(value, indent=1, sort_keys=False, default=str) + "\n")


def read_json(path: Path):
    """The JSON in `path`, or None if the file is missing or damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def sha256(path: Path) -> str:
    """Hex digest of a file, or of a folder: the digest of its files' names and digests in order."""
    path = Path(path)
    digest = hashlib.sha256()
    if path.is_dir():
        for child in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{child.relative_to(path)} {sha256(child)}\n".encode())
        return digest.hexdigest()
    with open(path, "rb") as f:
        for chunk in iter(lambda: f.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()


# ---------------------------------------------------------------------------------------------------------------------
# Randomness


def derive_seed(seed: int, *names) -> int:
    """A 63-bit seed for one named random stream of a run: streams never share, whatever the run's seed."""
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


# ---------------------------------------------------------------------------------------------------------------------
# Processes and devices


def rank() -> int:
    """Index of this process among all of the run's (torchrun's RANK), 0 when alone."""
    return int(os.environ.get("RANK", 0))


def world_size() -> int:
    """Number of processes of the run (torchrun's WORLD_SIZE), 1 when alone."""
    return int(os.environ.get("WORLD_SIZE", 1))


@dataclass
class Compute:
    """Where a process computes: `device` (torch.device), `dtype` for activations, its rank and the number of ranks."""

    device: object
    dtype: object
    rank: int
    world: int


def start_compute(device: str = "auto") -> Compute:
    """Chooses device and activation dtype and, under torchrun, joins the process group (gloo on CPU, nccl on CUDA).

    The precision is that of `compute_dtype`.
    """
    import torch
    import torch.distributed as dist

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device=cuda was asked for but this machine shows no CUDA device; use --device=cpu")
    if device == "mps" and not torch.backends.mps.is_available():
        raise UserError("--device=mps was asked for but this machine has no Apple GPU; use --device=cpu")
    local = int(os.environ.get("LOCAL_RANK", 0))
    if device == "cuda":
        if local >= torch.cuda.device_count():
            raise UserError(f"process {local} has no GPU: this machine shows {torch.cuda.device_count()}; start as many processes as GPUs")
        torch.cuda.set_device(local)
        torch.set_float32_matmul_precision("high")
        where = torch.device("cuda", local)
    else:
        where = torch.device(device)
    if world_size() > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device == "cuda" else "gloo", timeout=PATIENCE, device_id=where if device == "cuda" else None)
    return Compute(where, compute_dtype(where), rank(), world_size())


def compute_dtype(device):
    """Precision of activations on a torch.device: on CUDA bfloat16 from compute capability 8, where hardware has it, and float16 on 7,
    whose matrix units have nothing else (training then scales its loss); float32 elsewhere."""
    import torch

    if device.type != "cuda":
        return torch.float32
    capability = torch.cuda.get_device_capability(device)[0]
    return torch.bfloat16 if capability >= 8 else torch.float16 if capability == 7 else torch.float32


def stop_compute() -> None:
    """Leaves the process group, if there is one."""
    if world_size() > 1:
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()


def barrier() -> None:
    """Waits for every process of the run; nothing to do when alone."""
    if world_size() > 1:
        import torch.distributed as dist

        if dist.is_initialized():
            dist.barrier()


def from_first(make, source: int = 0):
    """What `make()` gives in the first process, or in the process `source`, in every process. Its exception, if any, is raised in all."""
    if world_size() == 1:
        return make()
    import torch.distributed as dist

    box = [None, None]
    if rank() == source:
        try:
            box[0] = make()
        except Exception as error:  # handed on, so that the others do not wait for a message that never comes
            box[1] = error
    dist.broadcast_object_list(box, src=source)
    if box[1] is not None:
        raise box[1]
    return box[0]


def all_reduce_sum(values: list[float]) -> list[float]:
    """Element-wise sum of a list of numbers over all processes, in float64."""
    if world_size() == 1:
        return [float(v) for v in values]
    import torch
    import torch.distributed as dist

    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    tensor = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(tensor)
    return tensor.tolist()
