"""A device's peak is known or unknown, never guessed."""

import pytest
import torch

from nanochat.train.hardware import peak_flops, peak_of


@pytest.mark.parametrize(("name", "expected"), [
    ("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA H100 PCIe", 756e12), ("NVIDIA H100 NVL", 835e12), ("NVIDIA GH200 480GB", 989e12),
    ("NVIDIA H200", 989e12), ("NVIDIA A100-SXM4-80GB", 312e12), ("NVIDIA A40", 150e12), ("NVIDIA GeForce RTX 4090", 165e12),
    ("NVIDIA RTX A4000", None), ("NVIDIA GeForce RTX 4090 Laptop GPU", None), ("NVIDIA GeForce RTX 3090 Ti", None), ("NVIDIA H20", None),
    ("Tesla T4", None),
])  # fmt: skip
def test_a_device_has_the_peak_of_its_own_name_only(name, expected):
    assert peak_of(name) == expected


def test_a_cpu_has_no_peak():
    assert peak_flops(torch.device("cpu")) is None
