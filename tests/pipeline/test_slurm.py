"""Time limits, and what a job knows about its own."""

import time

import pytest

from nanochat.common import UserError
from nanochat.pipeline import slurm


@pytest.mark.parametrize(
    "text, seconds",
    [("90", 5400), ("1:30", 90), ("12:00:00", 43200), ("1-0", 86400), ("1-12", 129600), ("2-01:30", 178200), ("0-00:00:07", 7)],
)
def test_time_limits_in_slurm_s_forms(text, seconds):
    assert slurm.parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "1:2:3:4", "1h", "-5"])
def test_other_forms_are_refused(text):
    with pytest.raises(UserError, match="is no time limit; write minutes"):
        slurm.parse_time(text)


def scontrol(tmp_path, monkeypatch, says: str) -> None:
    tool = tmp_path / "bin" / "scontrol"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\necho '{says}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")


def test_outside_a_job_there_is_no_limit(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert slurm.job_end() is None and slurm.seconds_left() is None


def test_the_end_is_taken_from_the_environment_or_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 600))
    assert 590 < slurm.seconds_left() <= 600
    monkeypatch.delenv("SLURM_JOB_END_TIME")
    scontrol(tmp_path, monkeypatch, "JobId=7 StartTime=2020-01-01T00:00:00 EndTime=2020-01-01T01:00:00 Deadline=N/A")
    assert slurm.seconds_left() < 0 and slurm.job_end() == slurm.end_of("7")


def test_a_job_without_a_limit_and_a_missing_scontrol_are_no_limit(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slurm.end_of("7") is None
    scontrol(tmp_path, monkeypatch, "JobId=7 EndTime=Unknown")
    assert slurm.end_of("7") is None
