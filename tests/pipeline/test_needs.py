"""Packages of a stage, read from the sources."""

import sys

import pytest

from nanochat.pipeline import needs


def test_packages_of_a_stage_are_found_through_all_modules_it_imports():
    assert {"torch", "numpy", "tiktoken", "rustbpe", "pyarrow", "safetensors"} <= needs.packages_of("scripts.base_train")
    assert "yaml" in needs.packages_of("scripts.base_eval") and "yaml" not in needs.packages_of("scripts.tok_train")


def test_readers_of_tasks_are_looked_into_although_they_are_found_by_name():
    assert "pyarrow" in needs.packages_of("tasks.common")


def test_ours_and_python_s_own_modules_are_no_packages():
    found = needs.packages_of("scripts.mid_train")
    assert not found & {"nanochat", "scripts", "tasks", "json", "os", "tomllib", "__future__"}


def test_an_import_that_expects_to_fail_does_not_count():
    assert "tomli" not in needs.packages_of("nanochat.config")


@pytest.mark.parametrize("source, reason", [("raise OSError('libcudart.so.12: cannot open')", "libcudart.so.12: cannot open"), ("", "")])
def test_a_package_that_breaks_while_it_is_imported_is_told_so(tmp_path, monkeypatch, source, reason):
    (tmp_path / "half_installed.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    assert needs.broken("half_installed") == reason
    sys.modules.pop("half_installed", None)


def test_a_package_that_is_not_there_is_named():
    assert "no_such_package" in needs.broken("no_such_package")
