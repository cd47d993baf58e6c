"""What torch.compile is to see has no graph break: the plain GPT as a whole, and its blocks beside a branch."""

import shutil

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
    torch.testing.assert_close(model(idx, targets).loss, expected)
    assert list(model.state_dict()) == names


class Counting:
    """A compiler that translates nothing and counts what it is given."""

    def __init__(self):
        self.graphs, self.symbolic, self.calls = 0, 0, 0

    def __call__(self, graph, examples):
        self.graphs += 1
        self.symbolic += any(isinstance(example, torch.SymInt) for example in examples)

        def run(*inputs):
            self.calls += 1
            return graph.forward(*inputs)

        return run


@pytest.mark.slow
def test_blocks_that_are_alike_are_compiled_once_and_nothing_for_evaluation():
    torch.manual_seed(0)
    model = GPT(make_config("tiny", vocab_size=100, depth=9, sequence_len=256, window_pattern="SSSL")).train()
    text, counting = torch.randint(0, 100, (2, 256)), Counting()
    expected = model(text, text).loss
    torch.compiler.reset()
    model.compile_blocks(backend=counting, fullgraph=True)
    loss = model(text, text).loss
    loss.backward()
    torch.testing.assert_close(loss, expected)
    once = counting.graphs
    assert 4 <= once <= 6  # with and without value embeddings and windows, the first layer, the loss
    model.eval()
    with torch.no_grad():
        for length in (7, 100, 200):
            model(text[:, :length], text[:, :length])
    model.train()(text, text).loss.backward()
    assert counting.graphs == once


@pytest.mark.slow
def test_batches_made_smaller_again_and_again_are_each_compiled_for_their_own_shape():
    torch.manual_seed(0)
    model = GPT(make_config("tiny", vocab_size=100, depth=6, sequence_len=256, window_pattern="SSSL")).train()
    text, counting, calls = torch.randint(0, 100, (16, 256)), Counting(), []
    torch.compiler.reset()
    model.compile_blocks(backend=counting, fullgraph=True)
    for rows in (16, 8, 4, 2, 1, 16):
        counting.calls = 0
        model(text[:rows], text[:rows]).loss.backward()
        calls.append(counting.calls)
    assert len(set(calls)) == 1 and calls[0] >= 6 and counting.symbolic == 0


@pytest.mark.slow
def test_flex_attention_is_part_of_a_blocks_graph_and_gives_the_loss_of_the_others():
    torch.manual_seed(0)
    model = GPT(make_config("tiny", vocab_size=100, sequence_len=256, window_pattern="SL")).train()
    text = torch.randint(0, 100, (2, 200))
    torch.compiler.reset()
    with torch.no_grad():  # on a CPU it has no backward pass
        expected = model(text, text).loss
        model.use_attention("flex")
        model.compile_blocks(**WHOLE)
        torch.testing.assert_close(model(text, text).loss, expected)


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++"))), reason="torch.compile needs a C++ compiler on a CPU")
def test_compiled_training_has_the_losses_of_eager_training(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.compiler.reset()

    def losses(compiled):
        torch.manual_seed(0)
        model = GPT(make_config("tiny", vocab_size=100, sequence_len=256, window_pattern="SL")).train()
        if compiled:
            model.compile_blocks()
        found = []
        for step in range(4):
            text = torch.randint(0, 100, (2, 257), generator=torch.Generator().manual_seed(step))
            loss = model(text[:, :-1], text[:, 1:]).loss
            loss.backward()
            with torch.no_grad():
                for p in model.parameters():
                    p.sub_(p.grad, alpha=0.1)
                    p.grad = None
            found.append(loss.item())
        return found

    assert losses(True) == pytest.approx(losses(False), rel=1e-4)
