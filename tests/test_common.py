"""What every room needs: here the commands in messages, which must work as they are shown."""

import sys

import pytest
import torch

from nanochat.common import UserError, compute_dtype, shown, typed


def test_a_command_in_a_message_names_the_python_that_has_the_packages(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv/bin/python"))
    monkeypatch.chdir(tmp_path)
    assert str(UserError("make it with `python -m scripts.tok_train`")) == "make it with `.venv/bin/python -m scripts.tok_train`"
    assert shown([sys.executable, "-m", "scripts.chat_cli", f"--data_dir={tmp_path}/d"]).startswith(".venv/bin/python -m scripts.chat_cli")
    monkeypatch.chdir("/")
    assert typed("make it with: python -m scripts.x") == f"make it with: {tmp_path}/.venv/bin/python -m scripts.x"


def test_a_message_within_a_message_is_changed_once():
    inner = UserError("run python -m scripts.x")
    assert str(UserError(f"base_train: {inner}")) == f"base_train: {inner}"


@pytest.mark.parametrize("capability, dtype", [(6, torch.float32), (7, torch.float16), (8, torch.bfloat16), (9, torch.bfloat16)])
def test_activations_have_the_precision_that_a_gpu_has_matrix_units_for(monkeypatch, capability, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (capability, 0))
    assert compute_dtype(torch.device("cuda", 0)) == dtype and compute_dtype(torch.device("cpu")) == torch.float32
