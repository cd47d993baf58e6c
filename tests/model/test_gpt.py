"""The GPT computes what its equations say, looks only back, and learns with every parameter."""

import math
import re

import pytest
import torch
import torch.nn.functional as F

from nanochat.common import UserError
from nanochat.model.cache import KVCache
from nanochat.model.gpt import GPT, GPTConfig
from nanochat.model.presets import make_config


def norm(x):
    return x / (x.pow(2).mean(-1, keepdim=True) + torch.finfo(x.dtype).eps).sqrt()


PLAIN = {"layer_scales": False, "smear": False, "backout": False, "logit_softcap": 0.0, "qk_scale": 1.0}


def reference_logits(model: GPT, row: torch.Tensor) -> torch.Tensor:
    """(T, V): the equations of gpt.py and attention.py for one row, an explicit softmax a head and no shared code."""
    c, p = model.config, dict(model.named_parameters())
    T, H, d = len(row), c.n_head, c.n_embd // c.n_head
    x = norm(p["embedding.weight"][row])
    if c.smear:
        share = p["stream.smear_scale"] * torch.sigmoid(x[:, :24] @ p["stream.smear_gate.weight"][0])
        x = x + share[:, None] * torch.cat([torch.zeros(1, x.shape[1]), x[:-1]])
    x0 = middle = x
    theta = c.rope_base ** (-torch.arange(0, d, 2) / d)
    angle = torch.arange(T)[:, None] * theta  # (T, d/2)
    turn = torch.polar(torch.ones_like(angle), angle)

    def rotated(h):  # (T, d): the halves are real and imaginary parts
        z = torch.complex(h[:, : d // 2].contiguous(), h[:, d // 2 :].contiguous()) * turn
        return torch.cat([z.real, z.imag], dim=1)

    for i in range(c.n_layer):
        w = {
            name: p[f"blocks.{i}.{name}.weight"]
            for name in ("attention.query", "attention.key", "attention.value", "attention.out", "mlp.up", "mlp.down")
        }
        if c.layer_scales:
            x = p["stream.residual_scale"][i] * x + p["stream.skip_scale"][i] * x0
        n, heads = norm(x), []
        for h in range(H):
            g = h * c.n_kv_head // H
            mine, shared = slice(h * d, (h + 1) * d), slice(g * d, (g + 1) * d)
            q, k, v = n @ w["attention.query"][mine].T, n @ w["attention.key"][shared].T, n @ w["attention.value"][shared].T
            if f"blocks.{i}.value_embedding.weight" in p:
                gate = 3 * torch.sigmoid(n[:, :12] @ p[f"blocks.{i}.attention.value_gate.weight"][g])
                v = v + gate[:, None] * p[f"blocks.{i}.value_embedding.weight"][row][:, shared]
            scores = (c.qk_scale * norm(rotated(q))) @ (c.qk_scale * norm(rotated(k))).T / math.sqrt(d)
            short = c.window_pattern[i % len(c.window_pattern)] == "S" and i < c.n_layer - 1
            outside = torch.ones(T, T, dtype=torch.bool).tril(-math.ceil(c.sequence_len / 512) * 128) & short
            scores = scores.masked_fill(~torch.ones(T, T, dtype=torch.bool).tril() | outside, -math.inf)
            heads.append(scores.softmax(-1) @ v)
        x = x + torch.cat(heads, dim=1) @ w["attention.out"].T
        x = x + (norm(x) @ w["mlp.up"].T).clamp(min=0) ** 2 @ w["mlp.down"].T
        middle = x if i == c.n_layer // 2 else middle
    if c.backout:
        x = x - p["stream.backout_scale"] * middle
    logits = (norm(x) @ p["head.weight"].T)[:, : c.vocab_size]
    return c.logit_softcap * torch.tanh(logits / c.logit_softcap) if c.logit_softcap else logits


@pytest.mark.parametrize("overrides", [{}, {"depth": 3, "n_kv_head": 1}, {"value_embeddings": False}, {"vocab_size": 500}, PLAIN])
def test_logits_are_those_of_the_equations(make_model, ids, overrides):
    model = make_model(aspect_ratio=32, **overrides)
    with torch.no_grad():
        logits = model(ids).logits
        for row, expected in zip(ids, logits, strict=True):
            torch.testing.assert_close(reference_logits(model, row), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("overrides", [{"depth": 3, "n_kv_head": 1}, {"depth": 4, "sequence_len": 600, "smear": False}])
def test_logits_with_short_windows_are_those_of_the_equations(make_model, overrides):
    model = make_model(aspect_ratio=32, **{"sequence_len": 256, "window_pattern": "SSL", **overrides})
    row = torch.randint(0, 500, (300,), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(reference_logits(model, row), model(row[None]).logits[0], rtol=1e-3, atol=1e-3)


def test_a_later_token_never_changes_an_earlier_logit(make_model, ids):
    model = make_model()
    changed = ids.clone()
    changed[:, 12:] = (changed[:, 12:] + 1) % 500
    with torch.no_grad():
        before, after = model(ids).logits, model(changed).logits
    assert torch.equal(before[:, :12], after[:, :12])
    assert not torch.allclose(before[:, 12:], after[:, 12:])


@pytest.mark.parametrize("kv_heads", [2, 1])
def test_right_padded_prompts_and_single_tokens_through_the_cache_give_the_logits_of_full_rows(make_model, ids, kv_heads):
    model, lengths = make_model(n_kv_head=kv_heads).eval(), torch.tensor([5, 9, 2])
    cache = KVCache(model.config, batch=3, max_len=24, dtype=torch.float32, device="cpu")
    with torch.no_grad():
        full = model(ids).logits
        cache.expect(lengths)
        first = model(ids[:, :9], cache=cache).logits
        for row, n in enumerate(lengths):
            torch.testing.assert_close(first[row, :n], full[row, :n], rtol=1e-4, atol=1e-4)
        for step in range(8):
            following = ids.gather(1, (lengths + step)[:, None])
            logits = model(following, cache=cache).logits[:, 0]
            torch.testing.assert_close(logits, full[torch.arange(3), lengths + step], rtol=1e-4, atol=1e-4)
    assert cache.lengths.tolist() == (lengths + 8).tolist()


def test_a_row_that_expects_nothing_stays_as_it_is(make_model, ids):
    model = make_model().eval()
    with torch.no_grad():
        full = model(ids).logits
        cache = KVCache(model.config, batch=3, max_len=21, dtype=torch.float32, device="cpu")
        model(ids[:, :4], cache=cache)
        cache.expect(torch.tensor([1, 0, 1]))
        model(torch.stack([ids[0, 4:5], torch.tensor([7]), ids[2, 4:5]]), cache=cache)
        logits = model(torch.stack([ids[0, 5:6], ids[1, 4:5], ids[2, 5:6]]), cache=cache).logits[:, 0]
    torch.testing.assert_close(logits, torch.stack([full[0, 5], full[1, 4], full[2, 5]]), rtol=1e-4, atol=1e-4)


def test_a_cache_that_is_too_short_says_so(make_model, ids):
    model = make_model()
    cache = KVCache(model.config, batch=3, max_len=10, dtype=torch.float32, device="cpu")
    with pytest.raises(ValueError, match="10 tokens a row"):
        model(ids, cache=cache)


def test_contexts_longer_than_the_trained_one_work(make_model):
    model = make_model(sequence_len=8)
    with torch.no_grad():
        assert model(torch.arange(40)[None]).logits.isfinite().all()


def test_loss_is_the_mean_cross_entropy_over_the_targets_that_count(make_model, ids):
    model = make_model()
    targets = ids.roll(-1, dims=1)
    targets[:, ::3] = -1
    with torch.no_grad():
        logits = model(ids).logits
        expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)
        torch.testing.assert_close(model(ids, targets).loss, expected)
        each = model(ids, targets, reduction="none").loss
    assert each.shape == ids.shape and (each[:, ::3] == 0).all()
    torch.testing.assert_close(each.sum() / (targets >= 0).sum(), expected)


def test_a_batch_without_a_target_has_loss_zero_and_finite_gradients(make_model, ids):
    model = make_model()
    loss = model(ids, torch.full_like(ids, -1)).loss
    loss.backward()
    assert loss.item() == 0 and all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_and_loss_are_float32_at_any_compute_precision(make_model, ids, dtype):
    model = make_model()
    with torch.no_grad():
        exact = model(ids).logits
        model.compute_dtype = dtype
        logits, loss = model(ids).logits, model(ids, ids, reduction="none").loss
    assert logits.dtype == loss.dtype == torch.float32
    assert logits.abs().max() <= model.config.logit_softcap
    assert (logits - exact).abs().max() < 0.5
    # capped in float32: in bfloat16 values up to 15 would lie on a coarse grid
    assert dtype == torch.float32 or not torch.equal(logits, logits.bfloat16().float())


def test_every_parameter_of_a_fresh_model_learns_within_two_steps():
    torch.manual_seed(0)
    model = GPT(make_config("tiny"))
    ids = torch.randint(0, 512, (4, 32))
    touched = set()
    for _ in range(3):  # what stands behind a zero gets its gradient once that has moved
        model(ids, ids.roll(-1, 1)).loss.backward()
        touched |= {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        with torch.no_grad():
            for p in model.parameters():
                p.sub_(0.1 * p.grad)
                p.grad = None
    assert touched == {name for name, _ in model.named_parameters()}


def test_initial_values_have_the_documented_statistics():
    torch.manual_seed(0)
    model = GPT(make_config(6, aspect_ratio=64, head_dim=64, vocab_size=1000, sequence_len=32))
    width, p = 384, dict(model.named_parameters())
    assert all(x.isfinite().all() for x in p.values())
    expected = {"^embedding": 0.8, "^head": 0.001, "mlp.up": 0.4 / math.sqrt(width), "mlp.down": 0.0, "attention.out": 0.0,
                "query": width**-0.5, "key": width**-0.5, "attention.value\\.": width**-0.5, "value_embedding": width**-0.5}  # fmt: skip
    for part, std in expected.items():
        found = [x for name, x in p.items() if re.search(part, name)]
        assert found and all(abs(x.std().item() - std) <= 0.03 * std for x in found), part
    torch.testing.assert_close(p["stream.residual_scale"][[0, -1]], torch.tensor([1.15, 1.05]))
    torch.testing.assert_close(p["stream.skip_scale"][[0, -1]], torch.tensor([0.20, 0.05]))
    assert p["blocks.5.attention.value_gate.weight"].min() >= 0 and p["blocks.5.attention.value_gate.weight"].max() <= 0.02


def test_a_fresh_model_predicts_all_tokens_alike():
    torch.manual_seed(0)
    model = GPT(make_config("tiny"))
    ids = torch.randint(0, 512, (4, 32))
    assert abs(model(ids, ids.roll(-1, 1)).loss.item() - math.log(512)) < 0.01


def test_value_embeddings_are_in_every_second_layer_and_in_the_last():
    model = GPT(make_config("tiny", depth=5))
    assert [block.value_embedding is not None for block in model.blocks] == [True, False, True, False, True]


def test_only_the_tokenizers_tokens_have_logits():
    model = GPT(make_config("tiny", vocab_size=500))
    assert model.embedding.weight.shape[0] == 512
    assert model(torch.zeros(1, 4, dtype=torch.long)).logits.shape == (1, 4, 500)


def test_parameters_by_kind_add_up_and_flops_follow_from_them():
    model = GPT(make_config("tiny", vocab_size=500))
    counts, c = model.num_params(), model.config
    assert counts["total"] == sum(p.numel() for p in model.parameters())
    assert counts["matrix"] == 2 * 12 * c.n_embd**2 + 12 * c.n_head
    assert counts["embedding"] == counts["head"] == counts["value_embedding"] == 512 * c.n_embd
    assert model.flops_per_token() == 6 * (counts["matrix"] + counts["head"]) + 12 * c.n_layer * c.n_embd * c.sequence_len


def test_configuration_survives_a_round_trip_and_refuses_what_it_does_not_know():
    config = make_config("embedded", vocab_size=777)
    assert GPTConfig.from_dict(config.to_dict()) == config
    with pytest.raises(UserError, match="n_layers"):
        GPTConfig.from_dict({**config.to_dict(), "n_layers": 3})


@pytest.mark.parametrize(
    "wrong", [{"n_embd": 100, "n_head": 3}, {"n_head": 4, "n_kv_head": 3}, {"n_layer": 0}, {"n_embd": 12, "n_head": 4}]
)
def test_sizes_that_cannot_be_are_refused(wrong):
    with pytest.raises(UserError):
        GPTConfig(**{"n_embd": 64, "n_head": 4, "n_kv_head": 4, **wrong})


@pytest.mark.parametrize("wrong", [{"logit_softcap": -5.0}, {"logit_softcap": 90.0}, {"qk_scale": 0.0}, {"qk_scale": -1.2}])
def test_scales_that_give_no_numbers_are_refused_by_name(wrong):
    with pytest.raises(UserError, match=f"{next(iter(wrong))} must be .*, not {next(iter(wrong.values())):g}"):
        GPTConfig(**wrong)


def test_an_unknown_reduction_is_refused(make_model, ids):
    with pytest.raises(ValueError, match="sum"):
        make_model()(ids, ids, reduction="sum")
