from dataclasses import replace

import pytest
import torch

from nanochat.dag.arithmetic import ArithmeticTexts
from nanochat.dag.executor import IDENTITY, NO_STEP
from nanochat.dag.expressions import ExpressionSettings
from nanochat.dag.labels import GATE_CLOSED, GATE_OPEN, GATE_UNKNOWN
from nanochat.dag.losses import structure_loss
from nanochat.dag.mixer import BranchConfig, DagBranch
from nanochat.dag.numbers import format_value
from nanochat.dag.predictor import TowerConfig
from nanochat.data.conversations import render


def branch_of(tokenizer, **options):
    torch.manual_seed(0)
    return DagBranch(
        BranchConfig(TowerConfig(tokenizer.vocab_size, tokenizer.bos_id, width=32, layers=1, **options), 48, layer=0), tokenizer
    )


def pack(items):
    """One row of documents one after the other, as the loader lays them out."""
    documents, ids = [], []
    for item in items:
        documents.append((len(ids), item))
        ids += item.ids
    return [documents], torch.tensor([ids])


def problem(question, answer, plan):
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer, "plan": plan}]}


def results_at_open_gates(branch, documents, idx):
    labels = branch.labels(documents, idx)
    output = branch.tower(idx, hidden=torch.zeros(*idx.shape, 48), labels=labels)
    opened = (labels.gate[0] == GATE_OPEN).nonzero().squeeze(1)
    return [format_value(output.plan.result[0, output.of_token[0, t]].item()) for t in opened], output


def test_plans_of_packed_conversations_give_their_answers(tokenizer):
    branch = branch_of(tokenizer)
    items = [
        render(tokenizer, problem("Tom has 3 apples and 14 nuts. He buys 4 apples. How many apples?", "7", [["add", 0, 2]])),
        render(tokenizer, {"messages": [{"role": "user", "content": "Is 5 a number?"}, {"role": "assistant", "content": "Yes, 5 is."}]}),
        render(tokenizer, problem("2.5 times 4 and 1 less", "9", [["multiply", 0, 1], ["subtract", "s0", 2]])),
        render(tokenizer, problem("What is 30 % of 50?", "15", [["multiply", 0, 1], ["divide", "s0", "c100"]])),
        *ArithmeticTexts(tokenizer, ExpressionSettings(chat_share=1.0), 12, seed=0),
    ]
    printed, output = results_at_open_gates(branch, *pack(items))
    expected = ["7", "9", "15", *(tokenizer.decode([i for i, m in zip(x.ids, x.mask, strict=True) if m][:-1]) for x in items[4:])]
    assert printed == expected
    assert structure_loss(output)[0].isfinite()


def test_every_turn_of_a_conversation_may_carry_a_plan(tokenizer):
    first, second = problem("3 and 4?", "7", [["add", 0, 1]]), problem("And 10 less 8?", "2", [["subtract", 0, 1]])
    printed, _ = results_at_open_gates(
        branch_of(tokenizer), *pack([render(tokenizer, {"messages": first["messages"] + second["messages"]})])
    )
    assert printed == ["7", "2"]


def test_documents_without_a_plan_close_the_gate_and_label_nothing(tokenizer):
    branch = branch_of(tokenizer)
    documents, idx = pack(
        [render(tokenizer, {"messages": [{"role": "user", "content": "I am 5."}, {"role": "assistant", "content": "Fine."}]})]
    )
    labels = branch.labels(documents, idx)
    assert (labels.gate == GATE_CLOSED).all() and (labels.operation < 0).all()


def test_a_plan_too_long_for_the_steps_or_with_a_missing_number_is_left_unlabelled(tokenizer):
    branch = branch_of(tokenizer)
    for plan in (
        [["add", 0, 1], *(["add", f"s{k}", 0] for k in range(4))],
        [["add", 0, 1], ["add", "s0", 7], ["add", "s1", 0]],
        [["add", 0, 7]],
        [["multiply", 0, "c0.37"]],
    ):
        item = render(tokenizer, problem("3 and 4", "7", plan))
        labels = branch.labels(*pack([item]))
        at = item.plan.position
        assert labels.gate[0, at] == GATE_UNKNOWN and (labels.operation[0, at] < 0).all()
        assert (labels.operation[0, :at, 0] == IDENTITY).all()  # and nothing of it begins earlier


def test_labels_cut_by_the_end_of_a_row_do_not_spill(tokenizer):
    branch = branch_of(tokenizer)
    item = ArithmeticTexts(tokenizer, ExpressionSettings(chat_share=1.0), 4, seed=1)[0]
    documents, idx = [[(0, item)]], torch.tensor([item.ids[: item.answer - 2]])
    labels = branch.labels(documents, idx)
    assert labels.operation.shape[1] == item.answer - 2 and (labels.gate != GATE_OPEN).all()


LONG = [["subtract", 0, 1], ["multiply", "s0", 2], ["add", "s1", 1], ["divide", "s2", "c2"]]  # of 20, 8, 3: 12, 36, 44, 22


@pytest.mark.parametrize("steps, operations, gates", [(2, 3, 2), (2, 4, 2), (3, 4, 2), (1, 2, 2), (4, 4, 1)])
def test_a_plan_of_more_operations_than_a_token_carries_out_begins_at_the_token_before(tokenizer, steps, operations, gates):
    branch = branch_of(tokenizer, steps=steps)
    answer = ["12", "36", "44", "22"][operations - 1]
    item = render(tokenizer, problem("From 20 take 8, times 3, and so on", answer, LONG[:operations]))
    other = render(tokenizer, problem("5 and 6", "11", [["add", 0, 1]]))
    documents, idx = pack([other, item])
    printed, output = results_at_open_gates(branch, documents, idx)
    assert printed == ["11", answer]  # only answers are printed
    computing = [p - len(other) for p in (branch.labels(documents, idx).operation[0, :, 0] < IDENTITY).nonzero().squeeze(1).tolist()]
    at = item.plan.position
    assert computing[1:] == [at - 1, at][-gates:] and item.ids[at - 1] == tokenizer.special("<|user_end|>")
    assert structure_loss(output)[0].isfinite()


def test_a_long_plan_begins_when_the_question_is_read_and_not_at_a_number_or_space(tokenizer):
    branch = branch_of(tokenizer, steps=1)
    item = render(tokenizer, problem("20, 8, 3. So 5", "44", LONG[:3]))
    stop = next(i for i in range(item.plan.text[0], len(item)) if "." in tokenizer.decode([item.ids[i]]))
    printed, output = results_at_open_gates(branch, *pack([replace(item, plans=(replace(item.plan, ready=stop),))]))
    assert printed == ["44"]
    at = item.plan.position
    assert output.at[output.labels[0][..., 0] < IDENTITY].tolist() == [at - 4, at - 1, at]
    closer = branch.labels(*pack([item]))
    assert closer.gate[0, at] == GATE_UNKNOWN  # the whole question comes before it: only one token is left


def test_in_isolated_mode_a_plan_cannot_begin_earlier(tokenizer):
    branch = branch_of(tokenizer, steps=2, mode="isolated")
    item = render(tokenizer, problem("From 20 take 8, times 3, and so on", "44", LONG[:3]))
    labels = branch.labels(*pack([item]))
    assert labels.gate[0, item.plan.position] == GATE_UNKNOWN and set(labels.operation.flatten().tolist()) == {IDENTITY, NO_STEP}
