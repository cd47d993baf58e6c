"""A branch sits where it says, sees what it must see, and has its say in loss and logits; without one nothing differs."""

import pytest
import torch
import torch.nn as nn

from nanochat.model.cache import KVCache
from nanochat.model.gpt import GPT
from nanochat.model.kinds import parameter_kinds


class Probe(nn.Module):
    """A branch that records its calls, adds `shift` to the residual stream and prefers token 7."""

    def __init__(self, layer: int, width: int, shift: float = 0.0):
        super().__init__()
        self.layer, self.shift, self.calls = layer, shift, []
        self.linear, self.table, self.scale = nn.Linear(width, width), nn.Embedding(5, width), nn.Parameter(torch.ones(()))

    def forward(self, x, idx, *, cache=None, plan=None):
        self.calls.append((x.shape, idx, cache, plan))
        return x + self.shift, {"loss": self.scale * 2.0}

    def loss(self, nll, idx, targets, side):
        return nll + 1.0

    def mix(self, logits, idx, side):
        return logits + torch.nn.functional.one_hot(torch.tensor(7), logits.shape[-1]) * 100

    def init_state(self, batch, max_len):
        return type("State", (), {"new_lengths": None})()


def test_a_branch_that_adds_nothing_leaves_the_hidden_state_alone(make_model, ids):
    model = make_model().eval()
    with torch.no_grad():
        plain = model(ids, ids, reduction="none").loss
        model.attach(Probe(0, model.config.n_embd))
        torch.testing.assert_close(model(ids, ids, reduction="none").loss, plain + 1.0)


def test_what_a_branch_adds_reaches_only_the_layers_after_it(make_model, ids):
    model = make_model(depth=2).eval()
    with torch.no_grad():
        plain = model(ids).logits
        model.attach(Probe(0, model.config.n_embd, shift=1.0))
        assert not torch.allclose(model(ids).logits[..., :7], plain[..., :7])


def test_a_branch_mixes_the_logits_only_without_targets(make_model, ids):
    model = make_model().eval()
    model.attach(Probe(1, model.config.n_embd))
    assert (model(ids).logits.argmax(-1) == 7).all()
    assert model(ids, ids).logits is None


def test_the_branchs_own_loss_counts_only_in_training(make_model, ids):
    model = make_model()
    model.attach(Probe(1, model.config.n_embd))
    training, evaluating = model.train()(ids, ids).loss, model.eval()(ids, ids).loss
    torch.testing.assert_close(training, evaluating + 2.0)


def test_a_branch_gets_tokens_plan_and_its_state_with_the_lengths(make_model, ids):
    model = make_model().eval()
    probe = Probe(1, model.config.n_embd)
    model.attach(probe)
    model(ids, plan="the plan")
    cache = KVCache(model.config, 3, 30, torch.float32, "cpu")
    cache.branch_state = probe.init_state(3, 30)
    cache.expect(torch.tensor([5, 9, 2]))
    model(ids[:, :9], cache=cache)
    seen = cache.branch_state.new_lengths.tolist()
    model(ids[:, :1], cache=cache)
    assert probe.calls[0][2:] == (None, "the plan") and torch.equal(probe.calls[0][1], ids)
    assert probe.calls[1][2] is cache.branch_state and seen == [5, 9, 2]
    assert cache.branch_state.new_lengths.tolist() == [1, 1, 1]


def test_a_branch_behind_a_layer_that_is_not_there_is_refused(make_model):
    model = make_model(depth=2)
    with pytest.raises(ValueError, match="0 .. 1"):
        model.attach(Probe(2, model.config.n_embd))


def test_every_parameter_has_one_kind_with_and_without_a_branch(make_model):
    model = make_model()
    kinds = parameter_kinds(model)
    assert kinds.keys() == dict(model.named_parameters()).keys()
    assert {name for name, kind in kinds.items() if kind == "matrix"} == {
        name for name, p in model.named_parameters() if name.startswith("blocks.") and p.dim() == 2 and "embedding" not in name
    }
    assert kinds["embedding.weight"] == "embedding" and kinds["head.weight"] == "head" and kinds["stream.skip_scale"] == "skip"
    assert {kind for name, kind in kinds.items() if "value_embedding" in name} == {"value_embedding"}
    model.attach(Probe(0, model.config.n_embd))
    more = parameter_kinds(model)
    assert {name: more[name] for name in kinds} == kinds
    assert more["branch.linear.weight"] == "matrix" and more["branch.table.weight"] == "embedding"
    assert more["branch.linear.bias"] == more["branch.scale"] == "scalar"


def test_a_branch_may_name_its_kinds_itself(make_model):
    model = make_model()
    probe = Probe(0, model.config.n_embd)
    probe.parameter_kinds = lambda: {name: "scalar" for name, _ in probe.named_parameters()}
    model.attach(probe)
    assert {kind for name, kind in parameter_kinds(model).items() if name.startswith("branch.")} == {"scalar"}


def test_a_branch_is_saved_with_the_model(make_model):
    model = make_model()
    assert isinstance(model, GPT) and not any(name.startswith("branch.") for name in model.state_dict())
    model.attach(Probe(0, model.config.n_embd))
    assert "branch.linear.weight" in model.state_dict()
