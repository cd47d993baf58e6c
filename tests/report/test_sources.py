"""The report's list of data from outside."""

from nanochat.report.sources import sources
from nanochat.report.write import page


def test_a_run_on_its_own_text_says_that_nothing_came_from_outside(whole_run):
    text = sources(whole_run.collect())
    assert "nothing from outside" in text and "|" not in text


def test_each_data_set_has_a_line_with_commit_rows_stages_and_licence_and_a_citation(run):
    run.stage("tok_eval", inputs={"tokenizer": "1", "<data>/tokenizers/r50k_base.tiktoken": "2"})
    run.stage("mid_train", inputs={"<data>/gsm8k/train.parquet": "3", "<data>/gsm8k/test.jsonl": "4"})
    run.stage("chat_eval.mid", inputs={"<data>/gsm8k/test.jsonl": "4", "<data>/eval_bundle": "5"})
    run.stage("chat_sft", state="failed", inputs={"<data>/humaneval/HumanEval.jsonl.gz": "6"})
    text = sources(run.collect())
    (line,) = [line for line in text.splitlines() if "GSM8K" in line and line.startswith("|")]
    for words in ("`gsm8k/train`, `gsm8k/test`", "7,473<br>1,319", "`740312add88f`", "`mid_train` `chat_eval.mid`", "| MIT |"):
        assert words in line
    assert "- Cobbe et al. 2021, Training Verifiers" in text and "DataComp-LM" in text and "50,256" in text
    assert "HumanEval" not in text, "a stage that is not done made nothing of it"


def test_files_that_a_person_chose_are_named_as_theirs(run):
    run.stage("tok_train", inputs={"<data>/my/a.txt": "1", "<data>/my/b.txt": "2"})
    text = sources(run.collect())
    assert text.count("your own files: `my/…`") == 1 and "To cite" not in text


def test_the_list_is_in_the_report(run):
    run.stage("tok_train", inputs={"<data>/base_data/shard_00000.parquet": "1"})
    assert "FineWeb-Edu" in page(run.collect(), {}, "report", None, 2)
