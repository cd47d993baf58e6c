"""`python -m scripts.report` keeps the contract of a stage."""

import json

import pytest

from nanochat.pipeline.stage import EXIT_DONE, EXIT_FAILED, EXIT_USAGE
from scripts import report


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory of its own."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def make(*options: str) -> int:
    return report.main(["--profile=embedded", "--device=cpu", *options])


def test_it_writes_the_page_its_pictures_and_a_copy_with_the_run(whole_run, here):
    assert make() == EXIT_DONE
    copy = whole_run.base / "stages" / "report"
    assert (here / "report.md").read_text() == (copy / "report.md").read_text()
    assert (here / "report" / "arithmetic.svg").read_bytes() == (copy / "report" / "arithmetic.svg").read_bytes()
    assert json.loads((copy / "status.json").read_text())["metrics"] == {"stages_done": 14, "stages": 14}


def test_nothing_new_is_skipped_and_any_new_status_is_written(whole_run, here, capsys):
    assert make() == EXIT_DONE
    assert make() == EXIT_DONE
    assert "nothing changed" in capsys.readouterr().err
    whole_run.stage("chat_sft", "failed", error="a new reason")
    assert make() == EXIT_DONE
    assert "a new reason" in (here / "report.md").read_text()
    assert "nothing changed" not in capsys.readouterr().err


def test_a_page_that_is_gone_or_wanted_elsewhere_is_written_again(whole_run, here, tmp_path, monkeypatch):
    make()
    (here / "report.md").unlink()
    assert make() == EXIT_DONE and (here / "report.md").is_file()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    assert make() == EXIT_DONE and (tmp_path / "there" / "report.md").is_file()


def test_without_any_stage_one_sentence_says_what_to_do(run, here, capsys):
    assert make() == EXIT_USAGE
    said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0 and "no stage has run" in said and "bash speedrun.sh" in said
    assert not (here / "report.md").exists()


def test_a_page_that_is_not_markdown_is_refused(whole_run, here, capsys):
    assert make("--out=report.txt") == EXIT_USAGE
    assert "--out must end in .md, not 'report.txt'" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_named(whole_run, here, capsys):
    (here / "occupied").write_text("a file where a folder should be")
    assert make("--out=occupied/report.md") == EXIT_FAILED
    assert str(here / "occupied") in capsys.readouterr().err
    assert make("--out=/proc/report.md") == EXIT_FAILED
    said = capsys.readouterr().err
    assert "choose another place with --out" in said and "NANOCHAT_BASE_DIR" not in said


def test_help_names_every_option_with_its_default(capsys):
    with pytest.raises(SystemExit) as exit_:
        report.main(["--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    assert "'report.md'" in text and "--price" in text and "US dollars" in text


def test_an_unknown_option_is_named_with_its_neighbour(whole_run, here, capsys):
    assert make("--ouput=x.md") == EXIT_USAGE
    assert "did you mean '--out'" in capsys.readouterr().err
