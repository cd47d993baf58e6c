"""What torch.compile is to see has no graph break: the plain GPT as a whole, and its blocks beside a branch."""

import pytest
import torch
from torch import nn

from nanochat.model.gpt import GPT
from nanochat.model.presets import make_config

WHOLE = {"backend": "eager", "fullgraph": True}  # an error at any graph break; traced, but not translated


class DataDependent(nn.Module):
    """A branch that no graph can hold: what it does follows the values."""

    layer = 0

    def forward(self, x, idx, *, cache=None, plan=None):
        return (x + 1 if bool((idx > 50).any()) else x), {}

    def loss(self, nll, idx, targets, side):
        return nll

    def mix(self, logits, idx, side):
        return logits


def model_and_text():
    torch.manual_seed(0)
    model = GPT(make_config("tiny", vocab_size=100)).train()
    return model, torch.randint(0, 100, (2, 12)), torch.randint(0, 100, (2, 12))


@pytest.mark.slow
def test_the_plain_gpt_is_one_graph_with_and_without_targets():
    model, idx, targets = model_and_text()
    whole = torch.compile(model, **WHOLE)
    assert torch.equal(whole(idx).logits, model(idx).logits)
    loss = whole(idx, targets).loss
    assert torch.equal(loss, model(idx, targets).loss)
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.slow
def test_blocks_are_one_graph_each_beside_a_branch_that_is_none():
    from torch._dynamo.exc import TorchDynamoException

    model, idx, targets = model_and_text()
    model.attach(DataDependent())
    expected, names = model(idx, targets).loss, list(model.state_dict())
    with pytest.raises(TorchDynamoException):
        torch.compile(model, **WHOLE)(idx, targets)
    torch.compiler.reset()
    model.compile_blocks(**WHOLE)
    assert torch.equal(model(idx, targets).loss, expected) and list(model.state_dict()) == names
    assert torch.equal(model.eval()(idx).logits, model(idx).logits)
