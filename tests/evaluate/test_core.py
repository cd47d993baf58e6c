"""CORE on a small bundle: prompts as written by hand, scores as worked out by hand, batches as one at a time."""

import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanochat.common import UserError
from nanochat.evaluate.core import CoreTask, Row, evaluate_core, fit, prompts, read_bundle, rows_of, score, shown_examples
from tests.evaluate.fakes import Bigram, Recurrent, byte_tokenizer

BOS = byte_tokenizer().bos_id
MC = {"query": "Q?", "choices": ["no", "yes"], "gold": 1}
SCHEMA = {"context_options": ["The cat", "The dog"], "continuation": "barks.", "gold": 1}
LM = {"context": " Say: ", "continuation": "ok"}


def core_task(kind, shots=0, delimiter=" "):
    return CoreTask("x", kind, None, shots, delimiter, 0.25)


def write_bundle(folder, entries, baselines=None):
    """`entries`: (label, kind, shots, items or None for a missing file)."""
    data = folder / "eval_data" / "group"
    data.mkdir(parents=True)
    lines = ["icl_tasks:"]
    for label, kind, shots, items in entries:
        lines += [f"- label: {label}", f"  dataset_uri: group/{label}.jsonl", f"  num_fewshot: [{shots}]", f"  icl_task_type: {kind}"]
        if items is not None:
            (data / f"{label}.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    (folder / "core.yaml").write_text("\n".join(lines))
    rows = [f"{label},{(baselines or {}).get(label, 0)}" for label, *_ in entries]
    (folder / "eval_meta_data.csv").write_text("\n".join(["Eval Task,Random baseline", *rows]))
    return folder


@pytest.mark.parametrize(
    ("kind", "item", "shown", "delimiter", "expected"),
    [
        ("multiple_choice", MC, [], " ", ["Q? no", "Q? yes"]),
        (
            "multiple_choice",
            MC,
            [{**MC, "query": "R?", "gold": 0}],
            "\nAnswer: ",
            ["R?\nAnswer: no\n\nQ?\nAnswer: no", "R?\nAnswer: no\n\nQ?\nAnswer: yes"],
        ),
        ("schema", SCHEMA, [SCHEMA], " ", ["The dog barks.\n\nThe cat barks.", "The dog barks.\n\nThe dog barks."]),
        ("language_modeling", LM, [LM], " ", ["Say: ok\n\nSay:", "Say: ok\n\nSay: ok"]),
    ],
)
def test_prompts_are_as_written_here(kind, item, shown, delimiter, expected):
    assert prompts(core_task(kind, delimiter=delimiter), item, shown) == expected


def spans(kind, item, shown=()):
    tokenizer, task = byte_tokenizer(), core_task(kind)
    rows = rows_of(task, prompts(task, item, shown), tokenizer.encode, tokenizer.bos_id)
    assert all(row.ids[0] == BOS for row in rows)
    return [tokenizer.decode(row.ids[row.start : row.end]) for row in rows]


def test_the_scored_span_is_what_the_options_do_not_share():
    assert spans("multiple_choice", MC, [MC]) == ["no", "yes"]
    assert spans("schema", SCHEMA) == [" barks.", " barks."]
    assert spans("language_modeling", LM) == [" ok"]


def test_an_option_that_begins_like_another_still_has_a_token_to_score():
    assert spans("multiple_choice", {"query": "Q", "choices": ["a", "ab"], "gold": 0}) == ["a", "b"]


def test_solved_examples_are_others_drawn_as_in_the_published_results():
    items = [{"n": i} for i in range(30)]
    for index in (0, 7, 29):
        others = [i for i in range(30) if i != index]
        expected = random.Random(1234 + index).sample(others, 10)
        assert [item["n"] for item in shown_examples(items, index, 10)] == expected
    assert len(shown_examples(items[:3], 0, 10)) == 2


@given(st.integers(2, 60), st.integers(2, 60), st.data())
def test_cropping_keeps_the_beginning_of_text_and_the_scored_tokens_that_fit(n, length, data):
    start = data.draw(st.integers(1, n - 1))
    row = Row(list(range(n)), start, n)
    cut = fit(row, length)
    assert len(cut.ids) == min(n, length) and cut.ids[0] == 0 and cut.end == len(cut.ids) and 1 <= cut.start < cut.end
    kept = cut.ids[cut.start : cut.end]
    assert kept == row.ids[start:][-len(kept) :]
    assert len(kept) == min(n - start, length - 1)


def test_scores_are_mean_nats_of_the_span():
    model = Bigram({"a": {"b": 0.5}, "b": {"b": 0.25, "c": 0.125}})
    row = Row([BOS, *b"abbc"], 2, 5)
    assert score(model, [row], BOS, 100, guesses=False) == [pytest.approx((math.log(2) + math.log(4) + math.log(8)) / 3)]


def test_a_guess_is_right_only_if_every_token_is_the_likeliest():
    model = Bigram({"a": {"b": 0.5}, "b": {"b": 0.25, "c": 0.125}})
    rows = [Row([BOS, *b"ab"], 2, 3), Row([BOS, *b"abb"], 2, 4), Row([BOS, *b"abc"], 2, 4), Row([BOS, *b"abcb"], 4, 5)]
    assert score(model, rows, BOS, 100, guesses=True) == [1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("guesses", [False, True])
def test_batched_scores_are_those_of_one_at_a_time(guesses):
    rng = random.Random(0)
    rows = []
    for _ in range(40):
        ids = [BOS, *(rng.randrange(97, 100) for _ in range(rng.randrange(2, 30)))]
        start = rng.randrange(1, len(ids))
        rows.append(Row(ids, start, len(ids)))
    model = Recurrent(vocab=265)
    if guesses:  # make about half of the guesses right
        model.head.bias.data[97:100] += 5
    together, alone = score(model, rows, BOS, 200, guesses), [score(model, [row], BOS, 1, guesses)[0] for row in rows]
    assert together == pytest.approx(alone, rel=1e-5)
    assert not guesses or 0 < sum(together) < len(rows)
    assert max(b * t for b, t in model.calls[: len(model.calls) - 40]) <= 200 and len(model.calls) < 40 + 25


def test_accuracy_centering_and_core_are_as_worked_out_by_hand(tmp_path):
    # After "?" a "b" has probability 0.4; "cc" has 0.5 each, a lower mean (0.69 < 0.92 nats) though a higher sum (1.39 > 0.92).
    model = Bigram({" ": {"c": 0.5, "b": 0.4}, "c": {"c": 0.5}, "x": {" ": 0.9}, "d": {"!": 0.9}, "y": {" ": 0.05}})
    mc = [{"query": "?", "choices": ["b", "cc"], "gold": 1}] * 3 + [{"query": "?", "choices": ["b", "cc"], "gold": 0}]
    schema = [{"context_options": ["x", "y"], "continuation": "c", "gold": 0}]
    lm = [{"context": "x", "continuation": "c"}, {"context": "x", "continuation": "b"}]
    entries = [
        ("mc", "multiple_choice", 0, mc),
        ("schema", "schema", 0, schema),
        ("lm", "language_modeling", 0, lm),
        ("gone", "schema", 0, None),
    ]
    bundle = write_bundle(tmp_path, entries, {"mc": 50, "schema": 50})
    result = evaluate_core(model, byte_tokenizer(), bundle)
    assert result.tasks["mc"] == {"accuracy": 0.75, "centered": 0.5, "n": 4}
    assert result.tasks["schema"] == {"accuracy": 1.0, "centered": 1.0, "n": 1}
    assert result.tasks["lm"] == {"accuracy": 0.5, "centered": 0.5, "n": 2}
    assert result.core == pytest.approx(2 / 3)
    assert result.coverage == "3 of 4 tasks, missing: gone" and result.cropped == 0


def test_only_so_many_items_are_scored_and_the_shuffle_is_fixed(tmp_path):
    items = [{"context": f"{i}", "continuation": "b"} for i in range(50)]
    bundle = write_bundle(tmp_path, [("lm", "language_modeling", 10, items)])
    assert evaluate_core(Bigram({}), byte_tokenizer(), bundle, max_per_task=5).tasks["lm"]["n"] == 5


def test_rows_longer_than_the_context_are_cropped_and_counted(tmp_path):
    items = [{"context": "x" * 50, "continuation": "b"}, {"context": "x", "continuation": "b"}]
    bundle = write_bundle(tmp_path, [("lm", "language_modeling", 0, items)])
    model = Bigram({})
    result = evaluate_core(model, byte_tokenizer(), bundle, context=16)
    assert result.cropped == 1 and max(t for _, t in model.calls) < 16


def test_ranks_share_the_items_and_every_item_once(tmp_path, monkeypatch):
    items = [{"context": f"{i}", "continuation": "b"} for i in range(11)]
    bundle = write_bundle(tmp_path, [("lm", "language_modeling", 0, items)])
    seen = []
    for rank in range(2):
        monkeypatch.setattr("nanochat.evaluate.core.rank", lambda rank=rank: rank)
        monkeypatch.setattr("nanochat.evaluate.core.world_size", lambda: 2)
        seen.append(evaluate_core(Bigram({}), byte_tokenizer(), bundle).tasks["lm"]["n"])
    assert sorted(seen) == [5, 6]


@pytest.mark.parametrize("damage", ["core.yaml", "eval_meta_data.csv", "kind", "line"])
def test_a_damaged_bundle_is_one_sentence(tmp_path, damage):
    kind = "essay" if damage == "kind" else "schema"
    bundle = write_bundle(tmp_path, [("a", kind, 0, [SCHEMA])])
    if damage == "line":
        (bundle / "eval_data/group/a.jsonl").write_text('{"context_options": [')
    elif damage != "kind":
        (bundle / damage).unlink()
    with pytest.raises(UserError, match="fetch"):
        evaluate_core(Bigram({}), byte_tokenizer(), bundle)


def test_the_real_bundle_has_22_tasks_of_which_coqa_may_be_missing(real_data):
    tasks = read_bundle(real_data / "eval_bundle")
    assert len(tasks) == 22 and {t.label for t in tasks if not t.path.is_file()} <= {"coqa"}
    baselines = {t.label: t.baseline for t in tasks}
    assert baselines["boolq"] == 0.62 and baselines["bigbench_language_identification"] == pytest.approx(0.091) and baselines["squad"] == 0


def test_every_task_of_the_real_bundle_is_rendered_and_scored(real_data):
    model = Bigram({})
    result = evaluate_core(model, byte_tokenizer(), real_data / "eval_bundle", max_per_task=2, context=128)
    assert len(result.tasks) + len(result.missing) == 22 and all(t["n"] == 2 for t in result.tasks.values())
