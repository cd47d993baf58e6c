"""Configuration: defaults < profile < command line, and one sentence for whatever cannot be."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanochat import config
from nanochat.common import UserError
from tests.pipeline.toy.numbers import Config


@pytest.fixture
def parse(profile):
    """Parses a command line for the toy stage with the toy profile."""
    return lambda *argv: config.parse(Config, "numbers", [f"--profile={profile}", *argv])


def test_the_profile_beats_the_default_and_the_command_line_beats_the_profile(parse):
    assert config.parse(Config, "total", [f"--profile={parse().profile}"]).count == 3
    assert parse().count == 4
    assert parse("--count=5").count == 5


def test_a_tagged_table_lies_over_the_stage_and_the_stage_over_common(profile):
    profile.write_text(
        'stages = ["numbers"]\n[common]\ncount = 1\nscale = 1\nsteps = 9\n[numbers]\ncount = 2\n["numbers.big"]\nscale = 3\n'
    )
    plain, big = (config.parse(Config, "numbers", [f"--profile={profile}", *tag]) for tag in ([], ["--tag=big"]))
    assert (plain.count, plain.scale) == (2, 1.0)
    assert (big.count, big.scale) == (2, 3.0)


@pytest.mark.parametrize("words", [["--count=7"], ["--count", "7"], ["count=7"], ["--count=7.0"], ["--count=0_7"]])
def test_all_spellings_of_an_option_mean_the_same(parse, words):
    assert parse(*words).count == 7


@pytest.mark.parametrize(
    ("words", "value"),
    [(["--shout"], True), (["--no-shout"], False), (["--no_shout"], False), (["--shout=yes"], True), (["--shout", "off"], False)],
)
def test_switches(parse, words, value):
    assert parse(*words).shout is value


def test_short_and_dashed_forms_negative_numbers_lists_and_auto(parse):
    found = parse("-s", "-0.5", "--names=a, b,,c", "--rate=auto", "--data-dir=x")
    assert (found.scale, found.names, found.rate, found.data_dir) == (-0.5, ["a", "b", "c"], None, "x")
    assert parse("--rate=1e-3").rate == 0.001
    assert parse("--names=[]").names == parse("--names=").names == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--cuont=3"], "unknown option '--cuont=3' (did you mean '--count'?)"),
        (["cuont=3"], "unknown option 'cuont=3' (did you mean 'count'?)"),
        (["--count=three"], "--count must be a whole number, not 'three'"),
        (["--count=1.5"], "--count must be a whole number"),
        (["--count=inf"], "--count must be a whole number"),
        (["--scale=big"], "--scale must be a number"),
        (["--scale=nan"], "--scale must be a number, not 'nan'"),
        (["--rate=-inf"], "--rate must be a number, not '-inf'"),
        (["--tag=../../x"], "--tag may hold letters, digits, '.', '_' and '-', not '../../x'"),
        (["--tag=a b"], "--tag may hold letters"),
        (["--tag=.."], "--tag may hold letters"),
        (["--shout=perhaps"], "--shout must be true or false"),
        (["--fail=usr"], "did you mean 'user'?"),
        (["--device=gpu"], "must be one of auto, cpu, cuda, mps"),
        (["--count"], "--count needs a value"),
        (["--tag", "--count=3"], "--tag needs a value"),
        (["count"], "write --key=value"),
        (["--profile=embeded"], "there is no profile 'embeded' (did you mean 'embedded'?); profiles in config/: d12"),
        (["--profile=d20"], "there is no profile 'd20' (did you mean 'd20_a100x8'?)"),
        (["--profile=nowhere.toml"], "there is no profile"),
    ],
)
def test_a_wrong_word_is_one_sentence(parse, words, sentence):
    with pytest.raises(UserError, match=re.escape(sentence)):
        parse(*words)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[numbers]\ncuont = 3\n", "unknown key 'cuont' in \\[numbers\\].*did you mean 'count'"),
        ("[numbers]\ncount = 'many'\n", "count in profile .* must be a whole number, not 'many'"),
        ("[nubmers]\ncount = 3\n", "no stage 'nubmers'.*did you mean 'numbers'"),
        ("count = 3\n", "'count' in .* must be a table"),
        ("stages = 'numbers'\n", "'stages' in .* must be a list$"),
        ("[numbers\n", "is not valid TOML"),
    ],
)
def test_a_wrong_profile_is_one_sentence(profile, text, sentence):
    profile.write_text(text if "stages" in text else 'stages = ["numbers"]\n' + text if text.startswith("[") else text)
    with pytest.raises(UserError, match=sentence):
        config.parse(Config, "numbers", [f"--profile={profile}"])


def test_help_shows_every_option_with_its_default_unit_and_choices(parse, profile, capsys):
    with pytest.raises(SystemExit) as leaving:
        parse("--help")
    text = capsys.readouterr().out
    assert leaving.value.code == 0
    assert text.startswith("A stage for tests") and "usage: python -m scripts.numbers" in text
    assert all(f"--{name}" in text for name in Config.__dataclass_fields__)
    assert f"how many numbers [lines] (default: 3; {profile}: 4)" in " ".join(text.split())
    assert "-s, --scale" in text and "auto | cpu | cuda | mps" in text


def test_every_profile_in_config_is_sound():
    for name in config.profiles():
        assert config.load_profile(name)["stages"][-1] == "report", name


def test_every_section_of_every_profile_has_only_keys_of_its_stage_and_values_that_can_work():
    from nanochat.pipeline.plan import make_plan

    for name in config.profiles():
        for step in make_plan(name):
            step.stage.configure(list(step.argv))


def test_a_tag_of_a_model_is_held_to_the_same_letters():
    from scripts import chat_eval

    assert config.parse(chat_eval.Config, "chat_eval", ["--profile=embedded", "--model_tag=small-2.b_1"]).model_tag == "small-2.b_1"
    with pytest.raises(UserError, match="--model_tag may hold letters"):
        config.parse(chat_eval.Config, "chat_eval", ["--profile=embedded", "--model_tag=../mid_train"])


def test_the_path_of_a_profile_in_config_is_that_profile(monkeypatch, tmp_path):
    monkeypatch.chdir(config.CONFIG_DIR.parent)
    assert config.choose_profile("config/embedded.toml") == "embedded"
    monkeypatch.chdir(tmp_path)
    assert config.choose_profile("mine.toml") == str(tmp_path / "mine.toml")


def test_without_any_hint_the_machine_decides(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(config.Path, "glob", lambda self, pattern: iter([]))
    assert config.choose_profile() == "embedded"
    monkeypatch.setenv("NANOCHAT_PROFILE", "d12")
    assert config.choose_profile() == "d12"
    assert config.choose_profile("real_small") == "real_small"


@given(st.integers(-(10**12), 10**12))
def test_whole_numbers_survive_the_command_line(number):
    field = Config.__dataclass_fields__["count"]
    assert config._convert(field, int, str(number), "x") == number
    assert config._convert(field, int, f"{number:_}", "x") == number


@given(st.text())
def test_no_text_breaks_the_conversion_other_than_by_a_sentence(text):
    for name, kind in (("count", int), ("scale", float), ("shout", bool), ("names", list[str])):
        try:
            config._convert(Config.__dataclass_fields__[name], kind, text, "x")
        except UserError:
            pass
