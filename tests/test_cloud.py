"""The SkyPilot task of cloud/speedrun.yaml: its own parser takes it, it runs the same scripts as everywhere, and holds no secret."""

import re
import subprocess

import pytest
import yaml


@pytest.fixture
def task(repository) -> dict:
    return yaml.safe_load((repository / "cloud/speedrun.yaml").read_text())


def test_skypilot_reads_it(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))  # it writes there when it is imported
    sky = pytest.importorskip("sky", reason="needs SkyPilot: pip install '.[cloud]'")
    read = sky.Task.from_yaml(str(repository / "cloud/speedrun.yaml"))
    assert {"A100": 8} in [resources.accelerators for resources in read.resources]
    assert all(resources.autostop_config.enabled for resources in read.resources)


def test_it_runs_the_same_scripts_and_stops_the_machine(task, repository):
    assert set(task) == {"name", "workdir", "resources", "envs", "setup", "run"} and task["workdir"] == "."
    assert task["resources"]["autostop"]["idle_minutes"] > 0
    scripts = re.findall(r"^bash (\S+)", task["setup"] + task["run"], re.MULTILINE)
    assert scripts == ["setup_environment.sh", "download_data.sh", "speedrun.sh"]
    assert all((repository / name).is_file() for name in scripts)
    assert (repository / "config" / f"{task['envs']['NANOCHAT_PROFILE']}.toml").is_file()
    for shell in (task["setup"], task["run"]):
        subprocess.run(["bash", "-n"], input=shell, text=True, check=True)


def test_no_secret_and_no_provider_stands_in_it(task):
    assert set(task["envs"]) == {"NANOCHAT_PROFILE"}
    assert not {"cloud", "infra", "region", "zone", "image_id"} & set(task["resources"])
