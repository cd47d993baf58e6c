"""The branch beside a model: insertion changes nothing, and one token at a time equals all at once."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nanochat.dag.arithmetic import ArithmeticTexts
from nanochat.dag.expressions import ExpressionSettings, ExpressionStream
from nanochat.dag.mixer import BranchConfig, DagBranch, value_features
from nanochat.dag.numbers import DECIMALS
from tests.dag.test_expressions import tensors
from tests.dag.test_labels import pack

PIECES = [*"0123456789.-+()* ={},", "{,}123", " .5", " / 7", "th", " -", " plus", " times", "?", " is", " 4", "(2"]
NUMERALS = [
    *" -,53",
    " two",
    " hundred",
    " and",
    " twenty",
    "six",
    "seven",
    "teen",
    "ty",
    " point",
    " million",
    "der",
    "½",
    " ten",
    ",234",
    " plus",
]


def rows_of(tokenizer, texts):
    rows = [[tokenizer.bos_id, tokenizer.special("<|user_start|>"), *tokenizer.encode(t)] for t in texts]
    lengths = torch.tensor([len(r) for r in rows])
    return torch.tensor([r + [0] * (int(lengths.max()) - len(r)) for r in rows]), lengths


def run_incrementally(branch, idx, lengths, hidden, prefill):
    """Feeds `prefill` tokens at once (ragged if rows are shorter) and the rest one by one; returns the last row's sides by token."""
    state, sides = branch.init_state(len(idx), idx.shape[1] + 4), []
    x, outs = idx[:, :prefill], []
    state.new_lengths = torch.minimum(lengths, torch.full_like(lengths, prefill))
    out, side = branch(hidden[:, :prefill], x, cache=state)
    outs.append(out), sides.append(side)
    for t in range(prefill, idx.shape[1]):
        state.new_lengths = torch.ones_like(lengths)
        out, side = branch(hidden[:, t : t + 1], idx[:, t : t + 1], cache=state)
        outs.append(out), sides.append(side)
    joined = {k: torch.cat([s[k] for s in sides], dim=1) for k in ("following", "gate", "result", "speaks", "decimals")}
    return torch.cat(outs, dim=1), joined


@settings(max_examples=60, deadline=None)
@given(
    pieces=st.lists(st.sampled_from(PIECES), min_size=4, max_size=22) | st.lists(st.sampled_from(NUMERALS), min_size=4, max_size=12),
    prefill=st.integers(1, 12),
    seed=st.integers(0, 3),
)
def test_one_token_at_a_time_equals_all_at_once(tokenizer, pieces, prefill, seed):
    branch = _branch(tokenizer, seed)
    idx, lengths = rows_of(tokenizer, ["".join(pieces)])
    prefill = min(prefill, idx.shape[1])
    hidden = torch.randn(1, idx.shape[1], 48, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        whole, side = branch(hidden, idx)
        parts, joined = run_incrementally(branch, idx, lengths, hidden, prefill)
    torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-4)
    assert torch.equal(side["speaks"], joined["speaks"]) and torch.equal(side["following"], joined["following"])
    assert torch.equal(side["result"].nan_to_num(nan=-1.0) * side["speaks"], joined["result"].nan_to_num(nan=-1.0) * joined["speaks"])
    assert torch.equal(side["decimals"][side["speaks"]], joined["decimals"][side["speaks"]])
    copied = side["following"] >= 0
    torch.testing.assert_close(side["gate"][copied], joined["gate"][copied], rtol=1e-4, atol=1e-5)


def test_ragged_prefill_equals_each_row_alone(tokenizer):
    branch = _branch(tokenizer, 1)
    texts = ["What is 12 + 3 * 4?", "7", "(2.5 - 1) * 8 ="]
    idx, lengths = rows_of(tokenizer, texts)
    more = torch.tensor([[5], [6], [7]])
    hidden = torch.randn(3, idx.shape[1] + 1, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        state = branch.init_state(3, 64)
        state.new_lengths = lengths
        branch(hidden[:, :-1], idx, cache=state)
        state.new_lengths = torch.ones_like(lengths)
        together, side = branch(hidden[:, -1:], more, cache=state)
        for i, n in enumerate(lengths.tolist()):
            alone = branch.init_state(1, 64)
            alone.new_lengths = lengths[i : i + 1]
            branch(hidden[i : i + 1, :n], idx[i : i + 1, :n], cache=alone)
            alone.new_lengths = torch.ones(1, dtype=torch.long)
            out, one = branch(hidden[i : i + 1, -1:], more[i : i + 1], cache=alone)
            torch.testing.assert_close(together[i : i + 1], out, rtol=1e-4, atol=1e-4)
            assert torch.equal(side["following"][i], one["following"][0])


def test_insertion_changes_neither_the_model_nor_the_plans(tokenizer, make_predictor):
    predictor = make_predictor()
    branch = DagBranch(BranchConfig(predictor.tower.config, input_width=48, layer=0), tokenizer)
    branch.tower.load_state_dict(predictor.tower.state_dict(), strict=False)
    branch.eval()
    idx, _, lengths = tensors(ExpressionStream(tokenizer, ExpressionSettings(), seed=1).batch(8))
    x, logits = torch.randn(8, idx.shape[1], 48), torch.randn(8, idx.shape[1], tokenizer.vocab_size)
    with torch.no_grad():
        out, side = branch(x, idx)
        assert torch.equal(out, x)
        assert torch.equal(branch.mix(logits, idx, side), logits)
        choice = predictor.tower.rounding(side["output"].hidden).argmax(-1).gather(1, side["output"].of_token.clamp(min=0))
        there = side["output"].of_token >= 0
        assert torch.equal(side["decimals"][there], torch.tensor(DECIMALS)[choice][there])
        alone, inside = predictor(idx), side["output"]
    assert torch.equal(alone.plan.operation, inside.plan.operation) and torch.equal(alone.plan.operand1_logits, inside.plan.operand1_logits)
    assert torch.equal(alone.plan.result.nan_to_num(), inside.plan.result.nan_to_num())


def test_an_open_gate_prints_the_result_token_by_token(tokenizer):
    """Greedy decoding of the mixture with the gate open says exactly the planned number, whatever the model's own logits."""
    from nanochat.dag.numbers import format_value

    branch = _branch(tokenizer, 2)
    with torch.no_grad():
        branch.gate.weight.zero_()
        branch.gate.bias.fill_(8.0)
    idx, _ = rows_of(tokenizer, ["What is 12 + 30?"])
    end = torch.tensor([[tokenizer.special("<|user_end|>"), tokenizer.special("<|assistant_start|>")]])
    idx = torch.cat([idx, end], dim=1)
    generator, said, result = torch.Generator().manual_seed(0), [], None
    for _ in range(12):
        hidden = torch.randn(1, 64, 48, generator=torch.Generator().manual_seed(0))[:, : idx.shape[1]]
        with torch.no_grad():
            _, side = branch(hidden, idx)
            result = result if result is not None else side["result"][0, -1].item()
            if side["following"][0, -1] < 0:
                break
            logits = branch.mix(torch.randn(1, idx.shape[1], tokenizer.vocab_size, generator=generator), idx, side)
        token = int(logits[0, -1].argmax())
        said.append(token)
        idx = torch.cat([idx, torch.tensor([[token]])], dim=1)
    assert tokenizer.decode(said) == format_value(result)


@pytest.mark.parametrize("mix", ["gate", "norm_scale"])
def test_training_reaches_every_parameter(tokenizer, mix):
    branch = _branch(tokenizer, 3, mix=mix).train()
    documents, idx = pack(list(ArithmeticTexts(tokenizer, ExpressionSettings(), 16, seed=1)))
    x, side = branch(torch.randn(1, idx.shape[1], 48), idx, plan=branch.labels(documents, idx))
    targets = torch.randint(0, tokenizer.vocab_size, idx.shape)
    nll = branch.loss(torch.rand(idx.shape) + 1, idx, targets, side)
    (x.square().mean() + nll.mean() + side["loss"]).backward()
    assert [n for n, p in branch.named_parameters() if p.grad is None or p.grad.abs().sum() == 0] == []


def test_features_tell_digits_apart_and_are_zero_without_a_value():
    features = value_features(torch.tensor([12.0, 13.0, torch.nan], dtype=torch.float64))
    assert features.shape == (3, 29) and not torch.allclose(features[0], features[1]) and features[2].abs().sum() == 0


def _branch(tokenizer, seed, **options):
    from nanochat.dag.predictor import TowerConfig

    torch.manual_seed(seed)
    tower = TowerConfig(tokenizer.vocab_size, tokenizer.bos_id, width=32, layers=2)
    branch = DagBranch(BranchConfig(tower, input_width=48, layer=0, **options), tokenizer)
    with torch.no_grad():
        for p in branch.parameters():
            p.add_(torch.randn_like(p) * 0.2)
        branch.gate.bias.fill_(1.0)
    return branch.eval()
