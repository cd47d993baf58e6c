"""Depth is one dial: width and heads follow, names are understood, wrong ones are met with their neighbours."""

import pytest

from nanochat.common import UserError
from nanochat.model.gpt import GPT
from nanochat.model.presets import PRESETS, make_config


@pytest.mark.parametrize("depth, width, heads", [(4, 256, 2), (12, 768, 6), (20, 1280, 10), (22, 1408, 11), (26, 1664, 13)])
def test_width_and_heads_follow_depth(depth, width, heads):
    config = make_config(depth)
    assert (config.n_layer, config.n_embd, config.n_head, config.n_kv_head, config.head_dim) == (depth, width, heads, heads, 128)
    assert make_config(f"d{depth}") == make_config(str(depth)) == config


def test_width_is_rounded_up_to_whole_heads():
    assert make_config(3, aspect_ratio=50, head_dim=64).n_embd == 192


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_makes_a_model(name):
    assert GPT(make_config(name)).num_params()["total"] > 0


def test_the_embedded_model_has_about_two_million_parameters():
    config = make_config("embedded")
    assert (config.n_layer, config.n_embd, config.head_dim, config.sequence_len) == (4, 128, 32, 256)
    assert 1.5e6 < GPT(config).num_params()["total"] < 2.5e6


@pytest.mark.parametrize("name, words", [("embeded", "embedded"), ("gpt9000x", "no model"), (0, "at least 1")])
def test_what_is_no_model_is_refused(name, words):
    with pytest.raises(UserError, match=words):
        make_config(name)


def test_an_unknown_setting_is_refused():
    with pytest.raises(UserError, match="widht"):
        make_config(4, widht=3)
