"""A device's peak is known or unknown, never guessed."""

import pytest
import torch

from nanochat.common import UserError
from nanochat.train.hardware import gpu_usage, peak_flops, peak_of, placed


@pytest.mark.parametrize(("name", "expected"), [
    ("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA H100 PCIe", 756e12), ("NVIDIA H100 NVL", 835e12), ("NVIDIA GH200 480GB", 989e12),
    ("NVIDIA H200", 989e12), ("NVIDIA A100-SXM4-80GB", 312e12), ("NVIDIA A40", 150e12), ("NVIDIA GeForce RTX 4090", 165e12),
    ("NVIDIA RTX A4000", None), ("NVIDIA GeForce RTX 4090 Laptop GPU", None), ("NVIDIA GeForce RTX 3090 Ti", None), ("NVIDIA H20", None),
    ("Tesla T4", None), ("NVIDIA H200 NVL", 835e12), ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
])  # fmt: skip
def test_a_device_has_the_peak_of_its_own_name_only(name, expected):
    assert peak_of(name) == expected


def test_a_cpu_has_no_peak():
    assert peak_flops(torch.device("cpu")) is None


def test_a_model_with_numbers_of_64_bits_is_refused_where_there_are_none():
    model = torch.nn.Linear(2, 2)
    assert placed(model, torch.device("cpu")) is model
    model.register_buffer("digits", torch.zeros(3, dtype=torch.float64))
    with pytest.raises(UserError, match="use --device=cpu"):
        placed(model, torch.device("mps"))


def test_a_gpu_whose_driver_tells_nothing_of_its_use_is_no_reason_to_end(monkeypatch):
    class NVMLError(Exception):
        """As pynvml has it: of no other kind."""

    def refused(device):
        raise NVMLError("Not Supported")

    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 2_000_000_000)
    monkeypatch.setattr(torch.cuda, "utilization", refused)
    assert gpu_usage(torch.device("cuda:0")) == {"gpu_memory": 2.0}
