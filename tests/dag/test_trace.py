"""The trace says what was computed: its values are the executor's, its fractions are exact, its graph is the plan."""

import math
import re
from fractions import Fraction

import numpy as np
import pytest
import torch

from nanochat.dag import attach_branch
from nanochat.dag.arithmetic import tensors_of
from nanochat.dag.executor import OPERATIONS, apply
from nanochat.dag.expressions import ExpressionSettings, ExpressionStream
from nanochat.dag.numbers import format_value
from nanochat.dag.trace import _Reader, exact_step, layout, trace_text
from nanochat.model.gpt import GPT
from nanochat.model.presets import make_config
from nanochat.train import checkpoint
from scripts import dag_trace


def gold_trace(predictor, tokenizer, batch, row):
    """The trace of a generated expression whose labelled plan is followed."""
    ids, labels, _ = tensors_of(batch.select(np.array([row])))
    with torch.no_grad():
        output = predictor(ids, labels=labels)
    return _Reader(predictor.tower, tokenizer, output, ids[0].tolist()).trace(None)


@pytest.mark.parametrize("mode", ["tape", "isolated"])
def test_following_the_labels_shows_every_operation_and_ends_with_the_answer(tokenizer, make_predictor, mode):
    settings = ExpressionSettings(operations=(1, 5), mode=mode, steps=2 if mode == "tape" else 5)
    predictor, batch = make_predictor(mode=mode, steps=settings.steps), ExpressionStream(tokenizer, settings, seed=3).batch(60)
    for row in range(len(batch)):
        trace = gold_trace(predictor, tokenizer, batch, row)
        steps = [step for thought in trace.thoughts for step in thought.steps]
        assert len(steps) == batch.operations[row] and trace.thoughts[-1].position == batch.length[row] - 1
        assert trace.thoughts[-1].printed == format_value(float(batch.value[row]))
        assert format_value(float(trace.thoughts[-1].exact)) == trace.thoughts[-1].printed
        nodes, edges = layout(trace)
        assert len(nodes) >= len(trace.numbers) + len(steps) and len(edges) == 2 * len(steps)
        assert all(nodes[a][1] < nodes[b][1] for a, b in edges)


def test_what_the_tower_chose_itself_is_what_was_executed(tokenizer, make_predictor):
    predictor = make_predictor(seed=5)
    values = {}
    trace = trace_text(predictor, tokenizer, [tokenizer.bos_id, *tokenizer.encode("12 + (3.5 - 2) * 7 / 0.25 plus 9 =")])
    assert [v for _, v, _ in trace.numbers] == [12, 3.5, 2, 7, 0.25, 9]
    steps = [step for thought in trace.thoughts for step in thought.steps]
    assert steps
    for step in steps:
        assert 0 < step.probability <= 1 and all(0 < operand.probability <= 1 for operand in step.operands)
        x, y = (values[operand.name] if operand.name in values else float(operand.name) for operand in step.operands)
        operation = torch.tensor([OPERATIONS.index(step.operation)])
        expected = apply(operation, torch.tensor([x], dtype=torch.float64), torch.tensor([y], dtype=torch.float64)).item()
        assert step.value == expected or (math.isnan(step.value) and math.isnan(expected))
        values[step.name] = step.value


@pytest.mark.parametrize("seed", range(4))
def test_the_plans_listed_are_formulas_of_their_values(tokenizer, make_predictor, seed):
    predictor = make_predictor(seed=seed)
    trace = trace_text(predictor, tokenizer, [tokenizer.bos_id, *tokenizer.encode("12 + 3.5 =")], plans=30)
    steps = {step.name: step.value for thought in trace.thoughts[:-1] for step in thought.steps}
    assert len(trace.plans) == 30 and all(a.probability >= b.probability for a, b in zip(trace.plans, trace.plans[1:], strict=False))
    for plan in trace.plans:
        python = re.sub(r"s\d+", lambda m: f"({steps[m[0]]!r})", plan.formula).translate(str.maketrans("−×÷", "-*/"))
        if math.isfinite(plan.value):
            assert eval(python, {"nan": math.nan}) == pytest.approx(plan.value)


def test_exact_results_are_fractions_and_nothing_where_there_is_none():
    third, two = Fraction(1, 3), Fraction(2)
    assert [exact_step(o, third, two) for o in OPERATIONS] == [Fraction(7, 3), Fraction(-5, 3), Fraction(2, 3), Fraction(1, 6), third]
    assert exact_step("divide", two, Fraction(0)) is None and exact_step("add", None, two) is None


@pytest.fixture
def saved(tokenizer, make_predictor, base_dir, monkeypatch):
    """A mid checkpoint with a tower and one without."""
    monkeypatch.setattr(checkpoint, "load_model", lambda source, tag="", step=None, device="cpu": (models[tag], tokenizer, {"id": "toy"}))
    models = {}
    for tag in ("", "plain"):
        torch.manual_seed(0)
        models[tag] = GPT(make_config("tiny", vocab_size=tokenizer.vocab_size)).eval()
    attach_branch(models[""], make_predictor(), tokenizer).gate.bias.data.fill_(5.0)


def test_the_program_shows_numbers_steps_and_gates_and_draws_the_plan(saved, tmp_path, capsys):
    picture = tmp_path / "plan.svg"
    assert dag_trace.main(["What is 12 plus 30 times 2?", "--source=mid", f"--svg={picture}"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("numbers read: 12, 30, 2\n") and "gate 0.99" in out
    assert picture.read_text().startswith("<svg") and ">30<" in picture.read_text()


def test_the_program_lists_as_many_plans_as_asked_for(saved, capsys):
    assert dag_trace.main(["What is 12 plus 30 times 2?", "--source=mid", "--plans=3"]) == 0
    out = capsys.readouterr().out
    head, _, listed = out.partition("the 3 best plans there\n")
    assert head and len(listed.splitlines()) == 3 and all(" %  " in line and " = " in line for line in listed.splitlines())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["3+4", "--source=mid", "--plans=-1"], "plans"),
        ([], "give one text"),
        ([""], "give one text"),
        (["3+4", "5"], "give one text"),
        (["3+4", "--source=mid", "--model_tag=plain"], "without the tower"),
        (["3+4", "--sorce=mid"], "sorce"),
    ],
)
def test_mistakes_have_one_sentence(saved, words, message, capsys):
    assert dag_trace.main(words) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("dag_trace: ") and message in said


def test_a_picture_that_cannot_be_written_is_said(saved, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert dag_trace.main(["3+4", "--source=mid", f"--svg={tmp_path}/file/plan.svg"]) == 1
    assert "could not be written" in capsys.readouterr().err
