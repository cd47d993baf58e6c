"""The doctor names what is broken and what to do, and shows no secret."""

import os
from types import SimpleNamespace

import pytest
import torch

from nanochat.pipeline import doctor
from nanochat.pipeline.verdicts import BAD, OK, WARN
from scripts import doctor as script


def card(capability=(8, 0), free=80e9, right=True, error=None):
    """A stand-in for torch on a machine with a GPU: its products are computed on the CPU."""

    def ones(*shape, device, dtype):
        if error:
            raise RuntimeError(error)
        return torch.ones(*shape) * (1.0 if right else 1.5)

    cuda = SimpleNamespace(
        get_device_properties=lambda i: SimpleNamespace(name="NVIDIA A100-SXM4-80GB"),
        mem_get_info=lambda i: (free, 80e9),
        get_device_capability=lambda i: capability,
    )
    return SimpleNamespace(cuda=cuda, ones=ones, bfloat16=torch.bfloat16, float32=torch.float32)


@pytest.mark.parametrize(
    "stand_in, level, words",
    [
        (card(), OK, "GPU 0: NVIDIA A100-SXM4-80GB, 80 GB, 80 free, bfloat16"),
        (card(capability=(7, 0)), WARN, "no bfloat16"),
        (card(free=10e9), WARN, "others use it"),
        (card(right=False), BAD, "it multiplies wrongly"),
        (card(error="CUDA error: uncorrectable ECC error"), BAD, "uncorrectable ECC error"),
    ],
)
def test_each_gpu_is_tried(stand_in, level, words):
    found = doctor.gpu(stand_in, 0)
    assert found.level == level and words in found.text


def test_torch_without_cuda_on_a_machine_with_gpus_is_bad(monkeypatch):
    monkeypatch.setattr(doctor.Path, "glob", lambda self, pattern: iter(["/dev/nvidia0"]))
    monkeypatch.setattr(torch.version, "cuda", None)
    found = list(doctor.torch_build())
    assert found[0].level == BAD and "TORCH_INDEX_URL" in found[0].text


def test_a_driver_too_old_for_torch_is_bad(monkeypatch):
    monkeypatch.setattr(doctor.Path, "glob", lambda self, pattern: iter(["/dev/nvidia0"]))
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor, "driver_version", lambda: "470.1")
    (found,) = doctor.torch_build()
    assert found.level == BAD and "470.1" in found.text


@pytest.mark.parametrize(
    "name, value, level",
    [
        ("SLURM_JOB_GPUS", "0,1", BAD),
        ("SLURM_GPUS_ON_NODE", "2", BAD),
        ("SLURM_GPUS_ON_NODE", "0", OK),
        ("CUDA_VISIBLE_DEVICES", "0", BAD),
        ("CUDA_VISIBLE_DEVICES", "", OK),
        ("CUDA_VISIBLE_DEVICES", "-1", OK),
        ("SLURM_JOB_ID", "7", OK),
    ],
)
@pytest.mark.parametrize("cuda", [None, "12.8"])
def test_gpus_that_were_granted_and_torch_cannot_use_are_bad(monkeypatch, name, value, level, cuda):
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for other in doctor.GRANTS:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, value)
    found = [*doctor.torch_build(), *doctor.gpus()]
    assert any(v.level == BAD for v in found) == (level == BAD), found
    if level == BAD:
        assert f"{name}={value}" in found[0].text and "TORCH_INDEX_URL" in found[0].text
        assert not any("training runs on the CPU" in v.text for v in found)


def test_a_broken_package_is_bad(monkeypatch):
    monkeypatch.setattr(doctor.needs, "broken", lambda name: "no such file" if name == "pyarrow" else "")
    (found,) = doctor.packages()
    assert found.level == BAD and "pyarrow" in found.text and "bash setup_environment.sh" in found.text


def test_secrets_are_not_shown(monkeypatch, capsys):
    monkeypatch.setenv("WANDB_API_KEY", "f00dfeed")
    monkeypatch.setenv("HF_TOKEN", "hf_f00dfeed")
    monkeypatch.setenv("https_proxy", "http://me:f00dfeed@proxy.example.org:3128")
    text = "\n".join(v.text for v in doctor.settings())
    assert "f00dfeed" not in text and "WANDB_API_KEY=(set, not shown)" in text and "@proxy.example.org:3128" in text


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("NANOCHAT_DATA_DIR", "/no/such/folder", "is not there"),
        ("OMP_NUM_THREADS", "4096", "more threads than"),
        ("CUDA_VISIBLE_DEVICES", "", "hides every GPU"),
        ("PYTHONPATH", "/elsewhere", "other versions"),
    ],
)
def test_settings_that_spoil_runs_are_warned_of(monkeypatch, name, value, words):
    monkeypatch.setenv(name, value)
    (found,) = [v for v in doctor.settings() if v.text.startswith(f"{name}=")]
    assert found.level == WARN and words in found.text


def test_the_disk_is_measured_and_nothing_stays(tmp_path, monkeypatch):
    assert min(doctor.disk_speed(tmp_path, 2 << 20)) > 0 and not list(tmp_path.iterdir())
    for free, write, level in ((1e9, 1e9, WARN), (1e12, 1e6, WARN), (1e12, 1e9, OK)):
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder, free=free: SimpleNamespace(free=free))
        monkeypatch.setattr(doctor, "disk_speed", lambda folder, write=write: (write, 1e9))
        assert [v.level for v in doctor.disk()] == [level]


def test_folders(base_dir):
    assert [v.level for v in doctor.folders()] == [OK, OK]
    base_dir.mkdir()
    (base_dir / "STOP").touch()
    assert [v.level for v in doctor.folders()] == [WARN, OK]
    (base_dir / "STOP").unlink()
    base_dir.rmdir()
    base_dir.write_text("a file")
    assert [v.level for v in doctor.folders()] == [BAD, OK]


def test_an_empty_data_folder_is_fine_only_for_a_profile_that_downloads_nothing(base_dir, monkeypatch):
    base_dir.mkdir()
    for owner, level, words in (
        ("embedded", OK, "profile embedded needs none"),
        ("d20_a100x8", WARN, "bash download_data.sh --profile d20_a100x8"),
        ("", OK, "of the profiles only those"),
        ("gone", OK, "of the profiles only those"),
    ):
        (base_dir / "profile.json").write_text(f'{{"profile": "{owner}"}}')
        found = list(doctor.folders())[-1]
        assert found.level == level and words in found.text, found
    (base_dir / "profile.json").unlink()
    monkeypatch.setenv("NANOCHAT_PROFILE", "d20_a100x8")
    assert [v.level for v in doctor.folders()] == [OK, WARN]
    monkeypatch.setenv("NANOCHAT_DATA_DIR", str(base_dir))
    (base_dir / "x").touch()
    assert [v.level for v in doctor.folders()] == [OK, OK]


def slurm_tools(tmp_path, monkeypatch, sinfo: str) -> None:
    for name, body in (("sbatch", "exit 0"), ("sinfo", sinfo)):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")


def test_slurm_seen_or_not(tmp_path, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    assert [v.text for v in doctor.job()][0].startswith("no Slurm here")
    slurm_tools(tmp_path, monkeypatch, "echo 'gpu-a100* up'")
    assert [(v.level, v.text) for v in doctor.job()] == [(OK, "Slurm is here, partitions: gpu-a100*")]
    slurm_tools(tmp_path, monkeypatch, "echo 'cannot contact controller' >&2; exit 1")
    assert [v.level for v in doctor.job()] == [WARN]
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURM_JOB_END_TIME", "1")
    assert "in Slurm job 12" in [v.text for v in doctor.job()][0]


def test_the_script_gives_the_exit_code_of_the_worst(capsys, monkeypatch):
    for name in [name for name in os.environ if doctor.MATTERS.match(name)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(doctor, "disk_speed", lambda folder: (1e9, 1e9))
    monkeypatch.setattr(doctor, "LOOKS", (doctor.python, doctor.packages, doctor.torch_build, doctor.gpus, doctor.cpu))
    assert script.main([]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("doctor: nothing to mend")
    assert script.main(["--nonsense"]) == 2
