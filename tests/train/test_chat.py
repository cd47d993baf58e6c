"""Conversations from several places are one sequence; the loss on unseen ones counts trained tokens only."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nanochat.common import UserError
from nanochat.data.conversations import Rendered
from nanochat.data.loader import ConversationBatch, ConversationLoader
from nanochat.train.chat import Joined, conversation_loss, mean_length, validation_loss


@given(st.lists(st.lists(st.integers(), max_size=5), max_size=6))
def test_joined_is_the_concatenation(parts):
    joined = Joined(parts)
    assert [joined[i] for i in range(len(joined))] == [x for part in parts for x in part]
    with pytest.raises(IndexError):
        joined[len(joined)]


def test_mean_length_counts_what_fits():
    items = [Rendered([1] * 4, [0] * 4), Rendered([1] * 100, [0] * 100)] * 300
    assert 4 < mean_length(items, None, 10) < 10 and mean_length([], None, 10) == 0


def conversations(n):
    return [{"messages": [{"role": "user", "content": f"Say {i}."}, {"role": "assistant", "content": f"{i}!"}]} for i in range(n)]


def test_validation_loss_is_the_mean_over_trained_tokens_of_all_batches(make_gpt, byte_tokenizer):
    model = make_gpt(sequence_len=32).eval()

    def loader():
        return ConversationLoader(conversations(20), byte_tokenizer, 2, 32)

    batches = [next(iter(x)) for x in [loader()]]
    expected = torch.cat([model(b.inputs, b.targets, reduction="none").loss[b.targets >= 0] for b in batches]).mean().item()
    assert validation_loss(model, loader(), 1) == pytest.approx(expected, rel=1e-5)


def test_nothing_to_measure_is_said(make_gpt):
    empty = ConversationBatch(torch.zeros(1, 4, dtype=torch.long), torch.full((1, 4), -1), [[]])
    with pytest.raises(UserError, match="no token"):
        validation_loss(make_gpt(), [empty], 1)


def test_a_branch_gets_its_plans_and_reports_its_figures(make_gpt, byte_tokenizer):
    class Branch(torch.nn.Module):
        layer = 0

        def labels(self, documents, idx):
            return ("labels of", len(documents))

        def forward(self, x, idx, *, cache=None, plan=None):
            return x, {"metrics": {"dag/rows": plan[1]}}

        def loss(self, nll, idx, targets, side):
            return nll

    model = make_gpt(sequence_len=32)
    batch = next(iter(ConversationLoader(conversations(20), byte_tokenizer, 2, 32)))
    plain, nothing = conversation_loss(model, batch)
    model.attach(Branch())
    loss, metrics = conversation_loss(model, batch)
    assert nothing == {} and metrics == {"dag/rows": 2}
    torch.testing.assert_close(loss, plain)
