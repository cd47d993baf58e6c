"""Preflight: each thing that would stop a run is one line with its remedy, and the exit code says how bad it is."""

import dataclasses
import json
import os
import sys
import time

import pytest

from nanochat.data.tokenizer import Tokenizer
from nanochat.pipeline import manifest, plan, preflight
from nanochat.pipeline.verdicts import BAD, OK, WARN, Verdict, count, exit_code
from scripts import preflight as script
from tests.pipeline import data_folder
from tests.pipeline.helpers import TOY


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """A complete tiny data folder, made once; tests work on copies made of links."""
    return data_folder.make(tmp_path_factory.mktemp("data"))


@pytest.fixture
def data(complete, tmp_path):
    """A copy of it whose files can be deleted and replaced."""
    folder = tmp_path / "data"
    for path in complete.rglob("*"):
        if path.is_file():
            target = folder / path.relative_to(complete)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
    return folder


def examined(data, profile="d20_a100x8", **chosen) -> list[Verdict]:
    steps = plan.choose(plan.make_plan(profile, str(data)), **chosen)
    return list(preflight.files(profile, steps))


def faults(verdicts) -> list[Verdict]:
    return [verdict for verdict in verdicts if verdict.level != OK]


@pytest.fixture(autouse=True)
def tiny_assets(monkeypatch):
    """The manifest as if the tiny folder were the real one: its own numbers of rows, four shards, no known sizes and hashes."""
    real = manifest.of_profile

    def of_profile(profile):
        return [dataclasses.replace(entry, rows=data_folder.ROWS.get(entry.id), files=_tiny(entry)) for entry in real(profile)]

    monkeypatch.setattr(manifest, "of_profile", of_profile)


def _tiny(entry):
    shards = [f"base_data/shard_{i:05d}.parquet" for i in data_folder.SHARDS]
    files = (file for file in entry.files if entry.id != "base_data" or file.path in shards)
    return tuple(dataclasses.replace(file, size=0, sha256="") for file in files)


def replace(path, content: bytes) -> None:
    path.unlink()  # not written in place: the file is a link that other tests share
    path.write_bytes(content)


def test_a_complete_folder_has_nothing_to_mend(data):
    verdicts = examined(data)
    assert faults(verdicts) == [] and int(verdicts[-1].text.split()[0]) > 15


REMOVED = {  # file -> (level, stages of which at least these are named)
    "gsm8k/train.parquet": (BAD, ("mid_train", "chat_sft")),
    "mmlu/auxiliary_train.parquet": (BAD, ("mid_train",)),
    "arc/ARC-Easy-Train.parquet": (BAD, ("chat_sft",)),
    "arc/ARC-Challenge-Train.parquet": (BAD, ("chat_sft",)),
    "mmlu/mmlu_validation.parquet": (WARN, ("mid_train",)),
    "smoltalk/test-00000-of-00001.parquet": (WARN, ("mid_train", "chat_sft")),
    "gsm8k/test.parquet": (WARN, ("chat_eval.mid", "chat_eval.sft")),
    "mmlu/mmlu_test.parquet": (WARN, ("chat_eval.mid", "chat_eval.sft")),
    "arc/ARC-Easy-Test.parquet": (WARN, ("chat_eval.mid", "chat_eval.sft")),
    "arc/ARC-Challenge-Test.parquet": (WARN, ("chat_eval.mid", "chat_eval.sft")),
    "humaneval/HumanEval.parquet": (WARN, ("chat_eval.mid", "chat_eval.sft")),
    "tokenizers/r50k_base.tiktoken": (WARN, ("tok_eval",)),
    "tokenizers/cl100k_base.tiktoken": (WARN, ("tok_eval",)),
    "eval_bundle/core.yaml": (WARN, ("base_eval",)),
}


@pytest.mark.parametrize("name", REMOVED)
def test_a_file_that_was_deleted_is_named_with_its_stages_and_remedy(data, name):
    (data / name).unlink()
    level, stages = REMOVED[name]
    began = time.monotonic()
    found = [verdict for verdict in faults(examined(data)) if name in verdict.text]
    assert time.monotonic() - began < 5
    assert [verdict.level for verdict in found] == [level]
    assert all(stage in found[0].text for stage in stages)
    assert "bash download_data.sh --profile d20_a100x8" in found[0].text


def test_a_folder_that_was_deleted_is_named(data):
    for path in (data / "base_data").iterdir():
        path.unlink()
    (found,) = faults(examined(data))
    assert found.level == BAD and "base_data/*.parquet is missing" in found.text
    assert all(stage in found.text for stage in ("tok_train", "base_train", "mid_train"))


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "is empty"),
        (b"PAR1 and then the connection broke", "is damaged"),
        (b"version https://git-lfs.github.com/spec/v1\nsize 44\n", "is a Git LFS pointer"),
        (b"<!DOCTYPE html><title>503</title>", "is a web page"),
    ],
)
def test_what_only_looks_like_data_is_told(data, content, reason):
    replace(data / "gsm8k/train.parquet", content)
    (found,) = [v for v in faults(examined(data)) if "gsm8k/train" in v.text]
    assert found.level == BAD and reason in found.text and "remove it, then download it with" in found.text


def test_what_is_optional_may_be_missing_but_not_damaged(data):
    replace(data / "tokenizers/r50k_base.tiktoken", b"nonsense")
    (found,) = faults(examined(data))
    assert found.level == BAD and "r50k_base.tiktoken is damaged" in found.text and found.text.startswith("tok_eval: ")


def test_a_part_of_a_data_set_that_is_missing_is_named(data):
    (data / "base_data/shard_00001.parquet").unlink()
    (data / "smoltalk/train-00002-of-00004.parquet").unlink()
    texts = [v.text for v in faults(examined(data))]
    assert len(texts) == 2 and any("base_data/shard_00001.parquet is missing" in text and "base_train" in text for text in texts)
    assert any("train-00002-of-00004.parquet is missing" in text and "chat_sft" in text for text in texts)


def test_fewer_rows_than_the_manifest_knows_are_named(data):
    (data / "gsm8k/train.parquet").unlink()
    data_folder.write_parquet(data / "gsm8k/train.parquet", [data_folder.GSM] * 7)
    (found,) = faults(examined(data))
    assert found.level == BAD and "gsm8k/train.parquet has 7 rows instead of 40" in found.text


def test_a_file_that_changed_since_it_was_downloaded_is_named(data):
    size = (data / "humaneval/HumanEval.parquet").stat().st_size
    (data / manifest.LOCK).write_text(json.dumps({"humaneval/HumanEval.parquet": {"size": size + 1, "rows": 1}}))
    (found,) = faults(examined(data))
    assert found.level == BAD and f"has {size} bytes instead of {size + 1}" in found.text


def test_a_folder_that_looks_like_a_cached_data_set_is_told(data):
    (data / "gsm8k/train.parquet").unlink()
    (data / "gsm8k/train.parquet").mkdir()
    (data / "gsm8k/train.parquet/dataset_info.json").write_text("{}")
    (found,) = faults(examined(data))
    assert found.level == BAD and "is a folder, where a file should be" in found.text


def test_many_files_with_the_same_fault_are_one_line(data):
    for path in (data / "base_data").iterdir():
        replace(path, b"PAR1")
    (found,) = faults(examined(data))
    assert "shard_00000.parquet, shard_00001.parquet, shard_00002.parquet and 1 more each is damaged" in found.text


def test_what_earlier_stages_make_need_not_be_there_but_what_nobody_makes_must(data):
    assert faults(examined(data, first="tok_train")) == []
    (found,) = faults(examined(data, only="mid_train"))[:1]
    assert found.level == BAD and "checkpoints/base_train/default is missing" in found.text


def test_files_that_the_profile_never_downloads_are_no_warning(tmp_path):
    assert faults(examined(tmp_path, "embedded")) == []


# ---------------------------------------------------------------------------------------------------------------------
# The rest of the examination


@pytest.fixture
def steps(profile):
    return plan.make_plan(str(profile), package=TOY)


def test_a_base_directory_of_another_profile_is_bad(steps, profile, base_dir):
    assert [v.level for v in preflight.place(str(profile), steps)] == [OK]
    assert not base_dir.exists(), "a look leaves nothing behind"
    base_dir.mkdir()
    (base_dir / "profile.json").write_text('{"profile": "embedded"}')
    (found,) = preflight.place(str(profile), steps)
    assert found.level == BAD and "holds a run of profile 'embedded'" in found.text


def test_a_stop_file_is_bad_and_that_of_a_stage_a_warning(steps, profile, base_dir):
    (base_dir / "stages/slow").mkdir(parents=True)
    (base_dir / "stages/slow/STOP").touch()
    assert [v.level for v in preflight.place(str(profile), steps)] == [WARN, OK]
    (base_dir / "STOP").touch()
    assert [v.level for v in preflight.place(str(profile), steps)] == [BAD]


def test_a_base_directory_that_cannot_be_is_bad(steps, profile, base_dir):
    base_dir.write_text("a file")
    (found,) = preflight.place(str(profile), steps)
    assert found.level == BAD and "set NANOCHAT_BASE_DIR to a folder" in found.text


def test_a_base_directory_that_nobody_can_make_is_bad_with_its_remedy(steps, profile, monkeypatch):
    monkeypatch.setenv("NANOCHAT_BASE_DIR", "/proc/nowhere")
    (found,) = preflight.place(str(profile), steps)
    assert found.level == BAD and "/proc/nowhere" in found.text and "set NANOCHAT_BASE_DIR to a folder that can" in found.text


def test_a_data_folder_of_the_settings_that_is_not_there_is_named(steps, profile, base_dir, monkeypatch):
    monkeypatch.setenv("NANOCHAT_DATA_DIR", str(base_dir / "nowhere"))
    warned, fine = preflight.place(str(profile), steps)
    assert (warned.level, fine.level) == (WARN, OK) and f"NANOCHAT_DATA_DIR={base_dir / 'nowhere'} is not a folder" in warned.text


def test_a_time_limit_that_is_none_is_named_with_its_setting(monkeypatch, capsys):
    monkeypatch.delenv("SITE_TIME", raising=False)
    assert script.main(["--profile=embedded", "--time_limit=abc"]) == 2
    assert "--time_limit: 'abc' is no time limit" in capsys.readouterr().out
    monkeypatch.setenv("SITE_TIME", "abc")
    assert script.main(["--profile=embedded", "--time_limit=abc"]) == 2
    assert "SITE_TIME: 'abc' is no time limit" in capsys.readouterr().out


def test_a_package_that_cannot_be_imported_is_bad_unless_the_code_goes_on_without(monkeypatch):
    steps = plan.make_plan("embedded")
    monkeypatch.setattr(preflight.needs, "broken", lambda package: "not there" if package in ("wandb", "rustbpe") else "")
    found = {v.level: v.text for v in preflight.packages("embedded", steps)}
    assert "rustbpe" in found[BAD] and "tok_train" in found[BAD] and "wandb" in found[WARN]


def test_checkpoints_of_another_tokenizer_are_named(base_dir):
    steps = plan.make_plan("embedded")
    assert list(preflight.tokenizer("embedded", steps)) == []
    Tokenizer({bytes([i]): i for i in range(256)}).save(base_dir / "tokenizer")
    folder = base_dir / "checkpoints/base_train/default/step_000010"
    folder.mkdir(parents=True)
    (folder / "COMPLETE").touch()
    (folder / "meta.json").write_text('{"tokenizer_hash": "another"}')
    warned = list(preflight.tokenizer("embedded", steps))
    assert [v.level for v in warned] == [WARN, OK] and "will be trained again" in warned[0].text
    assert [v.level for v in preflight.tokenizer("embedded", plan.choose(steps, only="base_eval"))] == [BAD, OK]
    (base_dir / "tokenizer/tokenizer.tiktoken").write_text("nonsense")
    assert [v.level for v in preflight.tokenizer("embedded", plan.choose(steps, only="base_eval"))] == [BAD]


@pytest.mark.parametrize("job, here, level", [("", 0, OK), ("7", 0, BAD), ("7", 4, WARN), ("7", 8, OK)])
def test_gpus_are_counted_against_the_profile(monkeypatch, job, here, level):
    monkeypatch.setenv("SLURM_JOB_ID", job)
    monkeypatch.setattr(plan, "count_gpus", lambda: here)
    monkeypatch.setattr(preflight, "_each_gpu", lambda count: iter(()))
    (found,) = preflight.gpus("d20_a100x8", [])
    assert found.level == level and "8" in found.text


@pytest.mark.parametrize("levels, code, words", [
    ((OK,), 0, "nothing to mend"), ((OK, WARN), 1, "1 warning"), ((WARN, BAD, WARN), 2, "1 bad, 2 warnings")])  # fmt: skip
def test_the_exit_code_is_that_of_the_worst_verdict(levels, code, words):
    verdicts = [Verdict(level, "x") for level in levels]
    assert (exit_code(verdicts), count(verdicts)) == (code, words)


def test_a_command_in_a_remedy_is_shown_as_it_works_here(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv/bin/python"))
    monkeypatch.chdir(tmp_path)
    lines = [str(v) for v in preflight.files("d20_a100x8", plan.choose(plan.make_plan("d20_a100x8"), only="mid_train"))]
    made = [line for line in lines if "-m scripts." in line]
    assert made and not [line for line in made if " python -m" in line or "`python -m" in line]
    assert all(".venv/bin/python -m scripts." in line for line in made)


def test_a_verdict_is_one_line():
    assert str(Verdict(BAD, "two\nlines")) == "bad   two lines"


def test_the_script_prints_a_line_for_each_and_gives_the_exit_code(capsys, base_dir, data):
    assert script.main(["--profile=embedded"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-1].startswith("preflight: nothing to mend") and all(line[:6] == "ok    " for line in out[:-1])
    assert any("of work left on" in line for line in out)
    assert script.main(["--profile=d20_a100x8", f"--data_dir={data.parent}"]) == 2
    assert script.main(["--profile=nonsense"]) == 2 and "there is no profile" in capsys.readouterr().out
    assert not base_dir.exists()
