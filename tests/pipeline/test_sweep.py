"""The lines of a sweep are checked before they wait in a queue."""

import pytest

from scripts import sweep

GOOD = "base_train --tag=a --depth=6\n# comment\n\n  base_train --tag b --depth=8\nmid_train --tag=a\n--only=tok_train\n--from=report\r\n"


@pytest.fixture
def asked(tmp_path, base_dir, monkeypatch, capsys):
    """Exit code and what is said about the lines of a file."""
    monkeypatch.setenv("NANOCHAT_PROFILE", "embedded")

    def ask(text: str) -> tuple[int, list[str]]:
        path = tmp_path / "runs.txt"
        path.write_bytes(text.encode())
        return sweep.main([f"--file={path}"]), capsys.readouterr().err.splitlines()

    return ask


def test_lines_that_can_run_pass_in_silence(asked):
    assert asked(GOOD) == (0, [])


@pytest.mark.parametrize(
    "line, said",
    [
        ("base_trian --tag=c", "there is no stage 'base_trian' (did you mean 'base_train'?)"),
        ("status --tag=c", "there is no stage 'status'"),
        ("base_train --tag=c --dpeth=4", "unknown option '--dpeth=4' (did you mean '--depth'?)"),
        ("base_train --tag=c --depth=four", "--depth must be"),
        ("base_train --depth=4", "it needs a --tag="),
        ("base_train --tag=a", "base_train.a is run 1 already"),
        ("base_train --tag='c", "a quote is not closed"),
        ("--profile=nosuch", "there is no profile 'nosuch'"),
        ("--only=nosuch", "--only=nosuch is not a stage"),
    ],
)
def test_each_line_that_cannot_run_is_named_with_its_reason(asked, line, said):
    code, lines = asked(GOOD + line)
    assert code == 2 and len(lines) == 1 and lines[0].startswith(f"run 6 ({line}): ") and said in lines[0]


def test_a_file_that_is_not_there_is_one_sentence(base_dir, capsys):
    assert sweep.main(["--file=nofile"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
