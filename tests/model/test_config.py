"""The depth dial, and figures that don't fit together."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parrotlet.errors import UserError
from parrotlet.model import ModelConfig

GOOD = {"depth": 2, "vocab_size": 100, "sequence_len": 32, "width": 48, "heads": 6, "kv_heads": 2}


def test_depth_20_is_the_561_million_model():
    config = ModelConfig.from_depth(20, vocab_size=65_536, sequence_len=2048)
    assert (config.width, config.heads, config.kv_heads, config.head_dim) == (1280, 10, 10, 128)
    embedding_and_head, block = 2 * 65_536 * 1280, 12 * 1280**2
    assert config.num_parameters == embedding_and_head + 20 * block
    assert round(config.num_parameters / 1e6) == 561


@given(depth=st.integers(1, 100))
def test_every_depth_has_the_fewest_heads_of_at_most_128(depth):
    config = ModelConfig.from_depth(depth, vocab_size=100, sequence_len=32)
    assert (config.depth, config.width, config.kv_heads) == (depth, 64 * depth, config.heads)
    assert config.heads * config.head_dim == config.width
    assert config.head_dim % 2 == 0
    fit = [dim for dim in range(2, 129, 2) if config.width % dim == 0]
    assert config.head_dim == max(fit)


def test_overrides_win_and_the_rest_follows_from_them():
    config = ModelConfig.from_depth(3, vocab_size=100, sequence_len=32, width=512, kv_heads=2, softcap=20.0)
    assert (config.depth, config.width, config.heads, config.kv_heads, config.softcap) == (3, 512, 4, 2, 20.0)
    assert (config.head_dim, config.kv_width, config.mlp_width) == (128, 256, 2048)
    assert ModelConfig.from_depth(3, vocab_size=100, sequence_len=32, heads=6).kv_heads == 6


def test_a_config_comes_back_from_its_plain_values():
    config = ModelConfig(**GOOD, rope_theta=500.0, softcap=12.0, norm_eps=1e-5)
    assert ModelConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("field", ["depth", "vocab_size", "sequence_len", "width", "heads", "kv_heads"])
@pytest.mark.parametrize("value", [0, -1])
def test_sizes_that_are_not_positive_are_refused_by_name(field, value):
    with pytest.raises(UserError, match=rf"model\.{field} is {value}"):
        ModelConfig(**GOOD | {field: value})


@pytest.mark.parametrize("field", ["rope_theta", "softcap", "norm_eps"])
@pytest.mark.parametrize("value", [0.0, -1.0])
def test_constants_that_are_not_positive_are_refused_by_name(field, value):
    with pytest.raises(UserError, match=rf"model\.{field} is {value}"):
        ModelConfig(**GOOD, **{field: value})


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"width": 50}, r"model\.width = 50 .* model\.heads = 6"),
        ({"heads": 16}, r"model\.width = 48 .* model\.heads = 16"),  # heads 3 wide
        ({"heads": 96, "kv_heads": 1}, r"model\.width = 48 .* model\.heads = 96"),
        ({"kv_heads": 4}, r"model\.kv_heads = 4 must divide model\.heads = 6"),
        ({"kv_heads": 12}, r"model\.kv_heads = 12 must divide model\.heads = 6"),
    ],
)
def test_figures_that_do_not_fit_together_are_refused_by_name(bad, named):
    with pytest.raises(UserError, match=named):
        ModelConfig(**GOOD | bad)


@pytest.mark.parametrize(
    ("dial", "named"),
    [
        ({"depth": 0}, r"model\.depth is 0"),
        ({"depth": -3}, r"model\.depth is -3"),
        ({"depth": 2, "width": 65}, r"model\.width = 65"),
        ({"depth": 2, "heads": 0}, r"model\.heads is 0"),
        ({"depth": 2, "heads": 5}, r"model\.width = 128 .* model\.heads = 5"),
        ({"depth": 2, "hedas": 2}, r"model\.hedas"),
    ],
)
def test_a_dial_turned_too_far_is_refused_by_name(dial, named):
    with pytest.raises(UserError, match=named):
        ModelConfig.from_depth(**{"vocab_size": 100, "sequence_len": 32} | dial)


def test_values_of_another_version_are_refused_by_name():
    with pytest.raises(UserError, match=r"model\.value_embeddings"):
        ModelConfig.from_dict(GOOD | {"value_embeddings": True})


@pytest.mark.parametrize("field", ["rope_theta", "softcap", "norm_eps"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_constants_that_are_not_finite_are_refused_by_name(field, value):
    with pytest.raises(UserError, match=rf"model\.{field}"):
        ModelConfig(**GOOD, **{field: value})
