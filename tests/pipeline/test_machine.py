"""What the ledger says of the machine."""

import json
import os
import sys
from types import SimpleNamespace

import pytest

from nanochat.pipeline import ledger, machine


@pytest.fixture(autouse=True)
def look_again():
    """Each test describes the machine anew."""
    machine.describe.cache_clear()
    yield
    machine.describe.cache_clear()


def with_cuda(monkeypatch, **cuda) -> None:
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=SimpleNamespace(**cuda)))


def test_a_machine_has_a_processor_cores_and_memory():
    found = machine.describe()
    assert found["cpu"] and found["cores"] == len(os.sched_getaffinity(0)) and found["ram_bytes"] > 2**28


def test_gpus_are_named_and_counted(monkeypatch):
    card = SimpleNamespace(name="NVIDIA A100-SXM4-80GB", total_memory=80 * 2**30)
    with_cuda(monkeypatch, is_available=lambda: True, device_count=lambda: 8, get_device_properties=lambda index: card)
    assert {k: machine.describe()[k] for k in ("gpu", "gpus", "gpu_bytes")} == {"gpu": card.name, "gpus": 8, "gpu_bytes": 80 * 2**30}


def test_without_a_gpu_there_is_none(monkeypatch):
    with_cuda(monkeypatch, is_available=lambda: False)
    assert (machine.describe()["gpu"], machine.describe()["gpus"]) == (None, 0)


def test_torch_is_not_imported_to_look_for_gpus(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    assert machine.describe()["gpu"] is None and "torch" not in sys.modules


def test_it_stands_in_every_line_of_the_ledger(base_dir):
    base_dir.mkdir()
    ledger.record("start", "tok_train", "", time=1.0)
    (line,) = (json.loads(line) for line in (base_dir / "ledger.jsonl").read_text().splitlines())
    assert line["machine"] == machine.describe()
