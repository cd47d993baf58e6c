"""Every kernel computes attention over a window as its equation says, forward and backward; a model with windows too, also from a cache."""

import itertools

import pytest
import torch

from nanochat.common import UserError
from nanochat.model import window
from nanochat.model.cache import KVCache
from nanochat.model.gpt import GPT, GPTConfig
from nanochat.model.presets import make_config
from nanochat.model.window import KERNELS, short_window

ON_CPU = ("chunked", "masked")


@pytest.fixture
def small_tiles(monkeypatch):
    """Windows are multiples of 4: short enough for tiny contexts."""
    monkeypatch.setattr(window, "MULTIPLE", 4)


def by_the_equation(q, k, v, W, scale):
    """(B, T, heads, d), token by token and head by head."""
    y = torch.zeros_like(q)
    for b, t, h in itertools.product(*map(range, q.shape[:3])):
        near, shared = slice(max(0, t - W + 1), t + 1), h * k.shape[2] // q.shape[2]
        y[b, t, h] = ((k[b, near, shared] @ q[b, t, h]) * scale).softmax(0) @ v[b, near, shared]
    return y


def random_inputs(T, heads, kv_heads, d=6, B=2):
    g = torch.Generator().manual_seed(T)
    return [torch.randn(B, T, n, d, generator=g, dtype=torch.float64, requires_grad=True) for n in (heads, kv_heads, kv_heads)]


@pytest.mark.parametrize("kernel", ON_CPU)
@pytest.mark.parametrize(("T", "W"), [(1, 4), (4, 4), (5, 4), (19, 4), (24, 8), (23, 8), (17, 3), (9, 1), (30, 12)])
@pytest.mark.parametrize(("heads", "kv_heads"), [(2, 2), (4, 2), (3, 1)])
def test_a_kernel_gives_what_the_equation_gives_and_its_gradients(kernel, T, W, heads, kv_heads):
    inputs = random_inputs(T, heads, kv_heads)
    seen = KERNELS[kernel].prepare(2, T, W, torch.device("cpu"))
    found, expected = KERNELS[kernel](*inputs, seen, 0.4), by_the_equation(*inputs, W, 0.4)
    torch.testing.assert_close(found, expected)
    grad = torch.randn_like(found)
    for a, b in zip(torch.autograd.grad(found, inputs, grad), torch.autograd.grad(expected, inputs, grad), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(("heads", "kv_heads"), [(2, 2), (4, 2)])
def test_flash_attention_is_asked_for_the_same_window(monkeypatch, heads, kv_heads):
    varlen = pytest.importorskip("torch.nn.attention.varlen")

    def attend_rows(q, k, v, ends_q, ends_k, most_q, most_k, *, scale, window_size, enable_gqa):
        assert ends_q is ends_k and most_q == most_k == 13 and ends_q.dtype == torch.int32 and enable_gqa == (heads != kv_heads)
        assert window_size[1] == 0  # nothing after a token, `window_size[0]` before it, and the token itself
        rows = [slice(a, b) for a, b in itertools.pairwise(ends_q.tolist())]
        return torch.cat([by_the_equation(q[None, r], k[None, r], v[None, r], window_size[0] + 1, scale)[0] for r in rows])

    monkeypatch.setattr(varlen, "varlen_attn", attend_rows)
    inputs, flash = random_inputs(13, heads, kv_heads), KERNELS["flash"]
    found = flash(*inputs, flash.prepare(2, 13, 4, torch.device("cpu")), 0.4)
    torch.testing.assert_close(found, by_the_equation(*inputs, 4, 0.4))


def test_full_attention_sees_everything_before():
    inputs = random_inputs(11, 4, 2)
    torch.testing.assert_close(KERNELS["full"](*inputs, None, 0.4), by_the_equation(*inputs, 11, 0.4))


@pytest.mark.parametrize(("length", "expected"), [(2048, 512), (1024, 256), (2050, 640), (512, 128), (256, 128), (130, 128), (128, None)])
def test_a_short_window_is_a_quarter_of_the_context_in_whole_tiles(length, expected):
    assert short_window(length) == expected


def test_the_pattern_repeats_and_the_last_layer_sees_all():
    config = make_config("tiny", depth=9, sequence_len=2048, window_pattern="SSSL")
    assert [config.window(i) for i in range(9)] == [512, 512, 512, None, 512, 512, 512, None, None]
    assert GPTConfig(window_pattern="S", n_layer=1).window(0) is None and GPTConfig().window(0) is None


@pytest.mark.parametrize("wrong", ["", "SXL", "sssl"])
def test_a_pattern_of_other_letters_is_refused(wrong):
    with pytest.raises(UserError, match="S \\(short\\) and L"):
        GPTConfig(window_pattern=wrong)


def test_a_model_saved_before_there_were_windows_sees_all():
    values = make_config("tiny").to_dict()
    del values["window_pattern"]
    assert all(GPTConfig.from_dict(values).window(i) is None for i in range(2))


def test_operations_count_what_is_seen():
    full, windowed = (GPT(make_config("tiny", depth=4, sequence_len=2048, window_pattern=p)) for p in ("L", "SSSL"))
    width = full.config.n_embd
    assert full.flops_per_token() - windowed.flops_per_token() == 12 * width * 3 * (2048 - 512)


def test_in_a_short_layer_a_token_is_not_changed_by_what_it_does_not_see(small_tiles):
    torch.manual_seed(0)
    attention = GPT(make_config("tiny", sequence_len=16, window_pattern="S")).blocks[0].attention
    torch.nn.init.normal_(attention.out.weight)
    x, rotary = torch.randn(1, 16, 32), (torch.ones(1, 16, 1, 16), torch.zeros(1, 16, 1, 16))
    assert attention.window == 4 and attention.value_gate is None
    changed = x.clone()
    changed[:, 5] += 1
    with torch.no_grad():
        before, after = (attention(value, None, rotary, attention.prepare(1, 16, x.device)) for value in (x, changed))
    differs = (before != after).any(-1)[0]
    assert differs.nonzero().flatten().tolist() == [5, 6, 7, 8]


@pytest.mark.parametrize("overrides", [{"depth": 3}, {"depth": 4, "n_kv_head": 1}, {"depth": 2, "smear": False, "layer_scales": False}])
@pytest.mark.parametrize("pattern", ["SSSL", "S", "LS"])
def test_right_padded_prompts_and_single_tokens_through_the_cache_give_the_logits_of_full_rows(
    make_model, ids, small_tiles, overrides, pattern
):
    model, lengths = make_model(sequence_len=20, window_pattern=pattern, aspect_ratio=16, **overrides).eval(), torch.tensor([5, 9, 2])
    assert "S" not in pattern[: model.config.n_layer - 1] or any(b.attention.window == 8 for b in model.blocks)
    cache = KVCache(model.config, batch=3, max_len=24, dtype=torch.float32, device="cpu")
    with torch.no_grad():
        full = model(ids).logits
        cache.expect(lengths)
        first = model(ids[:, :9], cache=cache).logits
        for row, n in enumerate(lengths):
            torch.testing.assert_close(first[row, :n], full[row, :n], rtol=1e-4, atol=1e-4)
        for step in range(11):
            active = torch.tensor([True, step < 3, True])  # one row stops: the others go beyond what it sees
            at = (lengths + torch.where(active, step, 3)).clamp(max=19)
            cache.expect(active.long())
            logits = model(ids.gather(1, at[:, None]), cache=cache).logits[:, 0]
            torch.testing.assert_close(logits[active], full[torch.arange(3), at][active], rtol=1e-4, atol=1e-4)


def test_a_layer_with_a_window_reads_only_the_part_of_the_cache_that_is_seen(make_model, ids, small_tiles):
    model = make_model(sequence_len=16, window_pattern="SL").eval()
    cache = KVCache(model.config, batch=3, max_len=24, dtype=torch.float32, device="cpu")
    with torch.no_grad():
        model(ids[:, :15], cache=cache)
    cache.begin(1)
    assert cache.mask(1, 4).shape == (3, 1, 1, 4) and cache.mask(1).shape == (3, 1, 1, 16)
    assert cache.mask(1, 4).all() and cache.mask(1).all()


def test_full_attention_in_the_place_of_windows_is_a_model_without_them(make_model, ids, small_tiles):
    model, plain = make_model(sequence_len=16, window_pattern="S"), make_model(sequence_len=16)
    with torch.no_grad():
        assert not torch.allclose(model(ids).logits, plain(ids).logits)
        model.use_attention("full")
        assert torch.equal(model(ids).logits, plain(ids).logits)
    assert model.config == plain.config


@pytest.mark.parametrize("kernel", ["flex", "flash"])
def test_a_kernel_that_is_compiled_for_each_length_serves_training_only(make_model, small_tiles, kernel):
    model = make_model(sequence_len=16, window_pattern="S")
    model.use_attention(kernel)
    first, last = model.blocks[0].attention, model.blocks[1].attention
    assert first.kernel is KERNELS[kernel] and last.kernel is KERNELS["full"]
    assert first.elsewhere is KERNELS["chunked" if kernel == "flex" else "flash"]
