"""The cells of the tables: the right figure in the right place, and the state of a stage wherever a figure is missing."""

from nanochat.report import costs, tables
from nanochat.report.text import table


def cells(markdown: str) -> dict[str, list[str]]:
    """First cell of each row -> the others."""
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in markdown.split("\n")]
    return {row[0]: row[1:] for row in rows}


def test_each_model_has_its_figures_in_its_column(whole_run):
    found = cells(tables.models(whole_run.collect()))
    assert found["metric"] == ["chance", "n", "BASE", "MID", "SFT"]
    assert found["bits per byte, held-out text"] == ["", "", "0.613", "0.421", "–"]
    assert found["loss on unseen answers"][2:] == ["–", "–", "0.913"]
    assert found["facts"] == ["25.0 %", "200", "–", "**61.0 % (54.1 – 67.5)**", "**66.0 % (59.2 – 72.2)**"]
    assert found["ChatCORE"][2:] == ["–", "0.5300", "0.5933"]
    assert found["arithmetic, exact match"][1:] == ["3,000", "–", "99.1 % (98.7 – 99.4)", "99.1 % (98.7 – 99.4)"]


def test_only_what_is_better_than_guessing_is_bold(run):
    run.stage("chat_eval.mid", metrics={"accuracy/mmlu": 0.26, "chance/mmlu": 0.25, "n/mmlu": 100})
    run.stage("chat_eval.sft", metrics={"accuracy/mmlu": 0.9, "chance/mmlu": 0.25, "n/mmlu": 50})
    found = cells(tables.models(run.collect()))
    assert found["MMLU"] == ["25.0 %", "100 / 50", "–", "26.0 % (18.4 – 35.4)", "**90.0 % (78.6 – 95.7)**"]


def test_a_stage_that_gives_no_figure_shows_its_state_in_every_table(run):
    run.stage("base_train", "failed", error="loss is NaN at step 3")
    run.stage("mid_train", "interrupted", error="saved at step 7")
    run.stage("tok_eval", "failed", error="no tokenizer")
    run.stage("dag_eval.dag", metrics={"exact_match": 1.0, "n": 10, "exact_match/1_op": 1.0, "n/1_op": 10})
    results = run.collect()
    models, arithmetic = cells(tables.models(results)), cells(tables.arithmetic(results))
    assert models["bits per byte, held-out text"][2:] == [
        "**failed**: loss is NaN at step 3",
        "**interrupted**: saved at step 7",
        "not run",
    ]
    assert models["CORE"][2:] == ["not run", "–", "–"]
    assert models["chat tasks"][2:] == ["–", "not run", "not run"]
    assert arithmetic["1 operation"] == ["10", "100 % (72.2 – 100.0)", "not run", "not run", "not run"]
    assert tables.tokenizer(results) == "tok_eval: **failed**: no tokenizer"
    assert cells(tables.stages(results))["[`base_train`](#base_train)"] == ["**failed**: loss is NaN at step 3", "10 s", ""]
    assert cells(costs.time_table(results, None))["`chat_sft`"] == ["not run", ""]


def test_figures_of_a_failed_stage_are_not_shown_as_results(run):
    run.stage("base_eval", "failed", error="disk", metrics={"val_bpb": 0.1234, "core": 0.9})
    assert "0.123" not in tables.models(run.collect()) and "0.9" not in tables.models(run.collect())


def test_arithmetic_has_a_row_for_each_number_of_operations_and_a_column_for_each_model(whole_run):
    found = cells(tables.arithmetic(whole_run.collect()))
    assert found["expressions with"] == ["n", "predictor alone", "MID with DAG", "SFT with DAG", "MID without DAG"]
    assert found["1 operation"][-1] == "41.0 % (36.8 – 45.4)"
    assert found["6 operations"][3:] == ["97.4 % (95.6 – 98.5)", "0 % (0.0 – 0.8)"]
    assert found["**all**"][0] == "3,000"
    assert found["parameters"] == ["", "300 k", "2.13 M", "", "1.83 M"]


def test_operations_are_in_the_order_of_their_number_and_suites_follow(run):
    metrics = {f"exact_match/{cell}": 0.5 for cell in ("10_ops", "my_suite", "2_ops", "1_op")}
    run.stage("dag_eval.dag", metrics={**metrics, "exact_match": 0.5})
    rows = list(cells(tables.arithmetic(run.collect(["dag_eval.dag"]))))
    assert rows[2:] == ["1 operation", "2 operations", "10 operations", "my suite", "**all**"]


def test_an_encoding_without_its_file_is_not_present(whole_run):
    found = cells(tables.tokenizer(whole_run.collect()))
    assert found["held out"] == ["3.61", "4.01", "not present", "-10.0 %", ""]
    assert found["code"] == ["1.70", "not present", "not present", "", ""]


def test_a_value_that_is_not_a_number_is_said_to_be_none(run):
    run.stage("base_eval", metrics={"val_bpb": float("nan"), "core": None})
    found = cells(tables.models(run.collect()))
    assert found["bits per byte, held-out text"][2] == "NaN" and found["CORE"][2] == "–"


def test_names_and_reasons_cannot_break_a_table(run):
    run.stage("chat_eval.sft", metrics={"accuracy/a|b<i>": 0.5, "n/a|b<i>": 4})
    run.stage("base_train", "failed", error="line one\n| two | <script>")
    results = run.collect()
    assert "a\\|b&lt;i&gt;" in tables.models(results)
    assert "**failed**: line one \\| two \\| &lt;script&gt;" in tables.stages(results)


def test_a_stage_older_than_what_it_was_made_from_says_so(run):
    run.stage("base_train", outputs={"/c": "2"})
    run.stage("base_eval", inputs={"/c": "1"})
    assert "done, but before the newest `base_train`" in tables.stages(run.collect())


def test_gpu_hours_and_dollars_stand_beside_the_time_where_a_gpu_was_used(run):
    run.where = {**run.where, "world": 8, "machine": {"gpu": "NVIDIA A100-SXM4-80GB", "gpus": 8, "gpu_bytes": 80 * 2**30, "cores": 64}}
    run.stage("base_train", seconds=3600)
    run.stage("tok_train", seconds=1800, config={"device": "cpu"})
    results = run.collect(["tok_train", "base_train"])
    found = cells(costs.time_table(results, None))
    assert found["`base_train`"] == ["1 h", "66.7 %", "8.00", "$ 14.40"]
    assert found["`tok_train`"] == ["30 min", "33.3 %", "0.00", "$ 0.00"]
    assert cells(costs.time_table(results, 1.0))["**all**"] == ["**1 h 30 min**", "**100 %**", "**8.00**", "**$ 8.00**"]
    assert "8.00 GPU hours, about **$ 14.40** (NVIDIA A100-SXM4-80GB at $ 1.80 an hour)" in costs.time_words(results, None)


def test_the_price_of_a_card_is_found_by_its_name():
    assert [costs.price_of(name) for name in ("NVIDIA H100 80GB HBM3", "NVIDIA L40S", "NVIDIA L4", "Tesla V100-SXM2", "unheard of")] == [
        3.0,
        1.2,
        0.7,
        0.55,
        2.0,
    ]


def test_time_is_the_sum_of_the_stages_and_the_span_of_the_ledger_beside_it(run):
    run.stage("tok_train", seconds=60)
    run.clock += 3600
    run.stage("base_train", seconds=120)
    words = costs.time_words(run.collect(), None)
    assert "took **3 min**" in words and "1 h 3 min passed" in words and "No GPU was used" in words


def test_restarts_are_counted_from_the_ledger(run):
    run.stage("tok_train")
    run.stage("base_train", "running")
    run.stage("base_train", "interrupted", error="stopped")
    run.stage("base_train", "failed", error="disk")
    run.stage("base_train")
    found = cells(costs.restarts(run.collect()))
    assert found["`base_train`"] == ["4", "1", "1", "1", "–", "done"] and "`tok_train`" not in found


def test_without_restarts_a_sentence_says_so(run):
    run.stage("tok_train")
    assert costs.restarts(run.collect(["tok_train"])) == "Every stage was done at its first attempt."
    assert costs.restarts(run.collect()).startswith("Every stage that ran was")


def test_a_table_has_a_rule_below_its_header():
    assert table(["a", "b"], [["1", "2"]], "lr") == "| a | b |\n| :--- | ---: |\n| 1 | 2 |"
