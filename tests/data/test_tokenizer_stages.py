"""tok_train and tok_eval as stages: what they leave, when they are skipped, and how they fail."""

import json

import pytest

from nanochat.common import base_dir as base
from nanochat.data.compression import RIVALS, load_rival
from nanochat.data.sources import open_source
from nanochat.data.tokenizer import Tokenizer
from nanochat.data.tokenizer_text import tokenizer_texts
from scripts import tok_eval, tok_train

SENTENCE = "the baker opened her shop early and put the warm bread into a window while rain fell"
WORDS = SENTENCE.split()


@pytest.fixture
def text_folder(tmp_path):
    for i in range(3):
        lines = [" ".join(WORDS[(i + j * k) % len(WORDS)] for j in range(40)) + "." for k in range(80)]
        (tmp_path / f"{i}.txt").write_text("\n\n".join(lines))
    return tmp_path


def arguments(folder, *more):
    return ["--profile=real_small", f"--data_dir={folder}", "--text=*.txt", "--val_files=1", *more]


def status(stage):
    return json.loads((base() / "stages" / stage / "status.json").read_text())


def test_both_stages_leave_a_tokenizer_and_their_figures(text_folder, capsys):
    assert tok_train.main(arguments(text_folder, "--vocab_size=450")) == 0
    tokenizer, metrics = Tokenizer.load(), status("tok_train")["metrics"]
    assert tokenizer.vocab_size == metrics["vocab_size"] == 450
    assert metrics["bytes_per_token"] > 2 and metrics["seconds"] >= 0
    assert tok_eval.main(arguments(text_folder)) == 0
    metrics = status("tok_eval")["metrics"]
    assert metrics["bytes_per_token/held_out/ours"] > 2 and metrics["bytes_per_token/korean/ours"] >= 1
    assert not any(name.endswith("gpt4") for name in metrics)
    assert "gpt4              not present (tokenizers/cl100k_base.tiktoken)" in capsys.readouterr().err


def test_a_second_run_is_skipped_and_a_changed_option_is_not(text_folder, capsys):
    assert tok_train.main(arguments(text_folder, "--vocab_size=400")) == 0
    first = status("tok_train")["started"]
    assert tok_train.main(arguments(text_folder, "--vocab_size=400")) == 0
    assert status("tok_train")["started"] == first
    assert tok_train.main(arguments(text_folder, "--vocab_size=420")) == 0
    assert Tokenizer.load().vocab_size == 420


def test_arithmetic_words_are_tokens_even_where_the_text_has_none(text_folder):
    assert tok_train.main(arguments(text_folder, "--vocab_size=1000")) == 0
    tokenizer = Tokenizer.load()
    for word in ["What", " is", " plus", " minus", " times", " divided", " by", " multiplied", " +", " -", " *", " ×", " ÷", " =", " ("]:
        assert tokenizer.token_id(word) is not None, word


def test_training_text_keeps_its_limits(text_folder):
    source = open_source("*.txt", str(text_folder))
    texts = list(tokenizer_texts(source, seed=0, max_chars=5_000, document_cap=300))
    assert texts == list(tokenizer_texts(source, seed=0, max_chars=5_000, document_cap=300))
    own = [t for t in texts if t.split()[0] in WORDS]
    assert max(map(len, own)) <= 300 and sum(map(len, own)) <= 5_000


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--text=*.parquet"], "is missing"),
        (["--vocab_size=10"], "at least 265"),
        (["--max_chars=0"], "max_chars must be at least 1"),
        (["--vocab_sise=10"], "did you mean '--vocab_size'"),
        (["--text=empty/*.txt"], "too little text"),
        (["--text=broken.jsonl"], "broken.jsonl is damaged"),
    ],
)
def test_wrong_input_is_one_sentence_and_leaves_no_tokenizer(text_folder, capsys, options, sentence):
    (text_folder / "empty").mkdir()
    (text_folder / "empty" / "a.txt").touch()
    (text_folder / "broken.jsonl").write_text("{")
    assert tok_train.main(arguments(text_folder, *options)) != 0
    errors = capsys.readouterr().err
    assert sentence in errors and "Traceback" not in errors
    assert not (base() / "tokenizer").exists()


def test_a_tag_or_settings_that_cannot_work_leave_the_tokenizer_as_it_is(text_folder, capsys):
    assert tok_train.main(arguments(text_folder, "--vocab_size=450")) == 0
    for option in ("--tag=t2", "--vocab_size=10", "--max_chars=0", "--document_cap=0"):
        assert tok_train.main(arguments(text_folder, option)) == 2
    assert "one tokenizer; for another one set NANOCHAT_BASE_DIR" in capsys.readouterr().err
    assert tok_eval.main(arguments(text_folder, "--held_out_chars=0")) == 2
    assert Tokenizer.load().vocab_size == 450 and status("tok_train")["state"] == "done"


def test_a_damaged_tokenizer_is_made_again_and_a_damaged_rank_file_of_others_fetched(text_folder, capsys):
    assert tok_train.main(arguments(text_folder, "--vocab_size=450")) == 0
    (text_folder / "tokenizers").mkdir()
    (text_folder / "tokenizers/r50k_base.tiktoken").write_text("noise")
    assert tok_eval.main(arguments(text_folder)) == 1
    assert "r50k_base.tiktoken is not a tiktoken rank file" in capsys.readouterr().err
    (base() / "tokenizer/tokenizer.tiktoken").write_text("noise")
    assert tok_eval.main(arguments(text_folder)) == 1
    said = capsys.readouterr().err
    assert "-m scripts.tok_train --force" in said and "fetch" not in said


def test_evaluation_without_a_tokenizer_names_the_command(text_folder, capsys):
    assert tok_eval.main(arguments(text_folder)) == 2
    assert "python -m scripts.tok_train" in capsys.readouterr().err


def test_the_embedded_profile_trains_on_its_own_text(capsys):
    assert tok_train.main(["--profile=embedded", "--vocab_size=600", "--max_chars=200_000"]) == 0
    assert Tokenizer.load().vocab_size == 600
    assert tok_eval.main(["--profile=embedded"]) == 0


def test_rivals_encode_as_published(real_data):
    assert load_rival("gpt2", real_data).encode_ordinary("hello world") == [31373, 995]
    assert load_rival("gpt4", real_data).encode_ordinary("hello world") == [15339, 1917]
    assert set(RIVALS) == {"gpt2", "gpt4"}


def test_real_novels_are_compared_with_both_rivals(real_data, capsys):
    options = ["--profile=real_small", f"--data_dir={real_data}", "--val_files=1", "--text=text/english_novels/Doyle_*.txt.gz"]
    assert tok_train.main([*options, "--max_chars=500_000", "--vocab_size=2000"]) == 0
    assert tok_eval.main(options) == 0
    metrics = status("tok_eval")["metrics"]
    for name in ("ours", "gpt2", "gpt4"):
        assert metrics[f"bytes_per_token/held_out/{name}"] > 2.5
