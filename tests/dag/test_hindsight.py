"""Plans found in plain text: planted ones are found, ambiguous ones and copies are not, later numbers are never used."""

import numpy as np
import pytest
import torch

from nanochat.dag.executor import ADD, DIVIDE, MULTIPLY, NO_STEP, SUBTRACT
from nanochat.dag.hindsight import unique_program
from nanochat.dag.labels import GATE_CLOSED, GATE_UNKNOWN, plan_tensors
from nanochat.dag.mixer import BranchConfig, DagBranch
from nanochat.dag.numbers import format_value
from nanochat.dag.predictor import TowerConfig
from nanochat.data.conversations import Rendered, render


def plain(tokenizer, text):
    ids = [tokenizer.bos_id, *tokenizer.encode(text)]
    return Rendered(ids, [0] + [1] * (len(ids) - 1))


def found(model, tokenizer, *items, search=True):
    """What the labelled plans compute, and the text up to where each is printed."""
    documents, ids = [], []
    for item in items:
        documents.append((len(ids), item))
        ids += item.ids
    idx = torch.tensor([ids])
    labels = plan_tensors([documents], idx, model.tower.table, tokenizer.bos_id, model.config.steps, search=search)
    output = model(idx, labels=labels)
    at = (labels.gate[0] == GATE_UNKNOWN).nonzero().squeeze(1).tolist()
    assert len(at) == int((labels.operation[0, :, 0] != NO_STEP).sum())
    return [(format_value(output.plan.result[0, output.of_token[0, t]].item()), tokenizer.decode(ids[: t + 1])) for t in at]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("There were 17 cows and 25 pigs, so 42 in all.", "42"),
        ("Of 90 men 31 left and 59 stayed.", "59"),
        ("12 rows of 14 make 168.", "168"),
        ("Share 91 by 7: each has 13.", "13"),
        ("Twenty and 2.5 are 22.5 now", "22.5"),
    ],
)
def test_planted_results_are_found(tokenizer, make_predictor, text, expected):
    ((printed, before),) = found(make_predictor(), tokenizer, plain(tokenizer, text))
    assert printed == expected and text.startswith(before.removeprefix("<|bos|>") + expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("15 and 90 and 60 and 75.", []),  # 15 + 60, 90 - 15
        ("17 and 25 and 42 and 42.", ["42"]),  # the second is a copy
        ("3 and 4 make 7.", []),  # below ten
        ("1000 and 234 are 1,234.", []),  # not as it would be printed
        ("12 is before 30 and 77 and 18.", ["18"]),  # 30 - 18 = 12 comes too late
        ("Only 12 and 77.", []),
    ],
)
def test_what_is_ambiguous_a_copy_small_or_later_is_not(tokenizer, make_predictor, text, expected):
    assert [printed for printed, _ in found(make_predictor(), tokenizer, plain(tokenizer, text))] == expected


def test_documents_do_not_see_each_other_and_conversations_are_not_searched(tokenizer, make_predictor):
    model = make_predictor()
    assert found(model, tokenizer, plain(tokenizer, "17 cows, 25 pigs."), plain(tokenizer, "There are 42.")) == []
    talk = {"messages": [{"role": "user", "content": "17 and 25"}, {"role": "assistant", "content": "are 42"}]}
    assert found(model, tokenizer, render(tokenizer, talk)) == []


def test_it_is_off_unless_asked_for(tokenizer, make_predictor):
    item = plain(tokenizer, "There were 17 cows and 25 pigs, so 42 in all.")
    assert found(make_predictor(), tokenizer, item, search=False) == []
    labels = plan_tensors([[(0, item)]], torch.tensor([item.ids]), make_predictor().tower.table, tokenizer.bos_id, 2)
    assert (labels.gate == GATE_CLOSED).all()


def test_programs_are_counted_by_operation_and_values():
    assert set(unique_program(np.array([20.0, 7.0, 7.0, 3.0]), 27.0)) == {ADD, 2}  # ADD is 0, and so is the index of 20
    assert unique_program(np.array([7.0, 50.0]), 14.0) is None  # 7 stands there once
    assert unique_program(np.array([7.0, 50.0, 7.0]), 14.0) == (ADD, 2, 2)
    assert unique_program(np.array([90.0, 31.0]), 59.0) == (SUBTRACT, 0, 1)
    assert unique_program(np.array([8.0, 96.0]), 12.0) == (DIVIDE, 1, 0)
    assert unique_program(np.array([8.0, 96.0, 4.0, 3.0]), 12.0) is None
    assert unique_program(np.array([11.0, 13.0]), 143.0)[0] == MULTIPLY


@pytest.mark.parametrize("asked", [False, True])
def test_the_branch_of_a_gpt_searches_if_its_configuration_says_so(tokenizer, asked):
    tower = TowerConfig(tokenizer.vocab_size, tokenizer.bos_id, width=32, layers=1)
    branch = DagBranch(BranchConfig(tower, 48, layer=0, hindsight=asked), tokenizer)
    item = plain(tokenizer, "There were 17 cows and 25 pigs, so 42 in all.")
    labels = branch.labels([[(0, item)]], torch.tensor([item.ids]))
    assert bool((labels.operation == ADD).any()) == asked
