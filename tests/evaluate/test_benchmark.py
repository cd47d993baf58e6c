"""The benchmark runs, its JSON has what it promises, and what it compares with is right."""

import json
import re
from fractions import Fraction

import pytest
import torch

from nanochat.dag.surface import STYLES
from nanochat.evaluate import benchmark
from nanochat.evaluate.sympy_expressions import SympyExpressions
from scripts import dag_bench
from tests.dag.reference import expression_in

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tokenizer():
    return benchmark.Tokenizer({bytes([i]): i for i in range(256)})


@pytest.fixture
def quick(monkeypatch, tokenizer):
    monkeypatch.setattr(benchmark, "make_tokenizer", lambda: tokenizer)
    for name in ("EXPRESSIONS", "CONVERSATIONS", "WORD_PROBLEMS", "DOCUMENTS"):
        monkeypatch.setattr(benchmark, name, 10)


def test_the_last_line_is_json_with_every_figure(quick, capsys):
    options = ["--shapes=tiny", "--rounds=1", "--examples=128", "--seconds=0", "--tokens=4", "--rows=1", "--device=cpu"]
    assert dag_bench.main(options) == 0
    said = capsys.readouterr().out.splitlines()
    found = json.loads(said[-1])
    assert set(found) == {"machine", "generator", "step", "decode"} and found["machine"]["device"]
    assert set(found["generator"]) == {"symbols+english", *STYLES, "all", "sympy"}
    assert all(x["examples_per_s"] > 0 and x["faster"] > 0 for x in found["generator"].values())
    step = found["step"]["tiny"]
    for what in ("pass", "optimizer", "step"):
        assert step[f"{what}_ms/plain"] > 0 and step[f"{what}_ms/dag"] > 0 and step[f"{what}_ratio"] > 0
    assert step["params/dag"] > step["params/plain"] > 0 and step["peak_mb/dag"] > 0 and (step["rows"], step["tokens_per_row"]) == (1, 64)
    assert set(found["decode"]["tiny"]) == {"token_ms/plain", "token_ms/dag", "ratio"}
    assert len(said) == 1 + len(found["generator"]) + 4 + 1


def test_a_part_alone_is_measured_alone(quick, capsys):
    assert dag_bench.main(["--parts=decode", "--shapes=tiny", "--rounds=1", "--tokens=2", "--device=cpu"]) == 0
    assert set(json.loads(capsys.readouterr().out.splitlines()[-1])) == {"machine", "decode"}


@pytest.mark.parametrize("option, words", [("--parts=steps", "there is no 'steps'"), ("--shapes=d99", "d12"), ("--rounds=0", "rounds")])
def test_what_cannot_be_measured_is_refused(option, words, capsys):
    assert dag_bench.main([option]) == 2
    assert words in capsys.readouterr().err


def test_what_is_compared_runs_alternately_and_the_first_round_does_not_count():
    order = []
    runs = {name: lambda name=name: order.append(name) or float(len(order)) for name in "ab"}
    found = benchmark.alternately(runs, rounds=2)
    assert "".join(order) == "baabba" and found == {"a": [3.0, 6.0], "b": [4.0, 5.0]}
    assert benchmark.ratio([2.0, 9.0, 4.0], [1.0, 3.0, 4.0]) == 2.0


def test_with_and_without_the_tower_the_rows_are_the_same_and_hold_plans(tokenizer, quick):
    bench = benchmark.Bench(tokenizer, benchmark.SHAPES["tiny"], torch.device("cpu"), rows=4)
    assert bench.use(False).branch is None and bench.use(True).branch is bench.branch
    loader = benchmark.ConversationLoader(bench.items, tokenizer, 4, 64)
    labelled = sum(int((bench.branch.labels(b.documents, b.inputs).gate == 1).sum()) for b, _ in zip(loader, range(8), strict=False))
    assert labelled > 0


def test_examples_made_with_sympy_are_right(tokenizer):
    for example, _ in zip(iter(SympyExpressions(tokenizer, seed=1).example, None), range(60), strict=False):
        text = expression_in(example.text)
        numbers = [Fraction(n) for n in re.findall(r"\d+", text)]
        assert eval(re.sub(r"\d+", lambda m: f"Fraction({m[0]})", text)) == Fraction(example.value).limit_denominator(10**4)
        assert len(numbers) == len(example.steps) + 1 and tokenizer.decode(example.ids[2:-2]) == example.text
        for operation, one, two in example.steps:
            x, y = numbers[one], numbers[two]
            numbers.append([x + y, x - y, x * y, x / (y or 1)][operation])
        assert numbers[-1] == Fraction(example.value).limit_denominator(10**4)


def test_a_preset_with_a_larger_vocabulary_than_the_tokenizer_says_only_what_it_has(tokenizer, quick):
    bench = benchmark.Bench(tokenizer, benchmark.Shape("d1", 1, 64, 1), torch.device("cpu"))
    assert bench.model.config.vocab_size > tokenizer.vocab_size
    said = benchmark.Engine(bench.use(True).eval(), tokenizer).generate([[tokenizer.bos_id, 50]], max_tokens=12, stop=[])[0]
    assert len(said) == 12 and max(said) < tokenizer.vocab_size
    assert set(bench.decode(8, 1)) == {"token_ms/plain", "token_ms/dag", "ratio"}
