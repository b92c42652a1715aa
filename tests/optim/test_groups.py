"""Which optimiser moves what, how fast; the state that resumes; clipping."""

import math
from collections import Counter

import pytest
import torch
from torch.testing import assert_close

from parrotlet.errors import UserError
from parrotlet.model import GPT, ModelConfig
from parrotlet.optim import Optimizers, OptimSettings, clip_gradients

CONFIG = ModelConfig(depth=2, vocab_size=31, sequence_len=16, width=48, heads=4, kv_heads=2)
CONVOLUTIONS = ("embedding_conv.weight", "blocks.0.mlp.conv.weight", "blocks.1.mlp.conv.weight")
OUTSIDE = ("embedding.weight", "head.weight", *CONVOLUTIONS)
"""The parameters that are no matrices of a block."""


def build(settings=None, **changes):
    model = GPT.build(ModelConfig(**CONFIG.to_dict() | changes), seed=1)
    return model, Optimizers(model, settings or OptimSettings())


def give_gradients(model, seed, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        p.grad = torch.randn(p.shape, generator=generator) * scale


def weights(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def train(model, optimizers, steps, lr_mult=1.0):
    for step in steps:
        give_gradients(model, seed=step)
        optimizers.step(step, lr_mult)


# Who moves what


def test_every_parameter_is_in_exactly_one_optimiser():
    model, optimizers = build(short_conv=True, ngrams=9)
    held = Counter(id(p) for o in optimizers._all for group in o.param_groups for p in group["params"])
    assert held == Counter(id(p) for p in model.parameters())
    assert set(held.values()) == {1}


def test_matrices_are_orthogonalised_in_the_parts_that_the_settings_ask_for():
    moved = {}
    for block in (0, 12, 48):
        model, optimizers = build(OptimSettings(matrix_block=block))
        train(model, optimizers, [0])
        moved[block] = weights(model)
    matrices = [name for name in moved[0] if name not in OUTSIDE]
    assert all(torch.equal(moved[0][name], moved[48][name]) for name in moved[0])
    assert not any(torch.allclose(moved[0][name], moved[12][name], atol=1e-3) for name in matrices)


def test_blocks_have_momentum_buffers_embedding_and_head_adams_means():
    model, optimizers = build(short_conv=True)
    assert optimizers.state_dict() == {}
    train(model, optimizers, [0])
    slots = {name: {"momentum_buffer"} for name in weights(model)} | {
        name: {"step", "exp_avg", "exp_avg_sq"} for name in OUTSIDE
    }
    assert set(optimizers.state_dict()) == {f"{name}.{slot}" for name, of in slots.items() for slot in of}


def test_every_parameter_moves_and_none_without_a_gradient():
    model, optimizers = build()
    before = weights(model)
    optimizers.step(0, 1.0)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    train(model, optimizers, [0])
    assert all((p != before[name]).any() for name, p in model.named_parameters())
    optimizers.zero_grad()
    assert all(p.grad is None for p in model.parameters())


# How fast


@pytest.mark.parametrize(("width", "lr_mult"), [(48, 1.0), (48, 0.02), (192, 1.0), (768, 1.0)])
def test_only_the_rates_of_embedding_and_head_scale_with_the_width(width, lr_mult):
    """AdamW's first step moves a weight by its rate; Muon's moves a matrix by its rate, whatever the width."""
    model, optimizers = build(vocab_size=5, width=width, heads=4, kv_heads=4, depth=1)
    before = weights(model)
    give_gradients(model, seed=1)
    optimizers.step(0, lr_mult)
    moved = {name: (p.detach() - before[name]).abs() for name, p in model.named_parameters()}
    scale = (width / 768) ** -0.5 * lr_mult
    assert_close(moved["head.weight"], torch.full((5, width), 0.004 * scale), rtol=1e-3, atol=0)
    assert_close(moved["embedding.weight"], torch.full((5, width), 0.2 * scale), rtol=1e-3, atol=2e-6)
    for name in ("attention.out", "mlp.down"):
        norm = moved[f"blocks.0.{name}.weight"].norm().item()
        assert norm == pytest.approx(0.02 * lr_mult * width**0.5, rel=0.2), name
    assert moved["blocks.0.mlp.up.weight"].norm().item() == pytest.approx(0.02 * lr_mult * 2 * width**0.5, rel=0.2)


def test_a_multiplier_of_0_moves_nothing():
    model, optimizers = build()
    before = weights(model)
    train(model, optimizers, [0, 1], lr_mult=0.0)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_embedding_and_head_are_moved_as_by_torchs_adamw():
    rates = {"embedding_lr": 0.3, "head_lr": 0.05, "conv_lr": 0.01}
    settings = OptimSettings(**rates, betas=(0.7, 0.9), eps=1e-6, weight_decay=0.3)
    model, optimizers = build(settings, short_conv=True)
    twin, _ = build(short_conv=True)
    scale = (CONFIG.width / 768) ** -0.5
    reference = torch.optim.AdamW(
        [
            {"params": [twin.embedding.weight], "lr": 0.3 * scale},
            {"params": [twin.head.weight], "lr": 0.05 * scale},
            {"params": [dict(twin.named_parameters())[name] for name in CONVOLUTIONS], "lr": 0.01},
        ],
        betas=(0.7, 0.9),
        eps=1e-6,
        weight_decay=0.0,
    )
    rates = [group["lr"] for group in reference.param_groups]
    for step, lr_mult in enumerate([0.1, 1.0, 0.5, 0.25, 1.0]):
        for group, lr in zip(reference.param_groups, rates, strict=True):
            group["lr"] = lr * lr_mult
        give_gradients(model, seed=step)
        give_gradients(twin, seed=step)
        optimizers.step(step, lr_mult)
        reference.step()
        for name in OUTSIDE:
            assert_close(model.get_parameter(name), twin.get_parameter(name), rtol=1e-5, atol=1e-6)


def test_blocks_are_moved_as_by_torchs_muon_with_rising_momentum():
    settings = {"matrix_lr": 0.5, "momentum_start": 0.2, "momentum_end": 0.9, "momentum_warmup_steps": 2}
    model, optimizers = build(OptimSettings(**settings, weight_decay=0.1))
    twin, _ = build()
    reference = torch.optim.Muon(twin.blocks.parameters(), lr=0.5, weight_decay=0.1, adjust_lr_fn="original")
    for step, (lr_mult, momentum) in enumerate([(1.0, 0.2), (0.5, 0.55), (1.0, 0.9), (0.3, 0.9)]):
        reference.param_groups[0] |= {"lr": 0.5 * lr_mult, "momentum": momentum}
        give_gradients(model, seed=step)
        give_gradients(twin, seed=step)
        optimizers.step(step, lr_mult)
        reference.step()
        for name, p in model.blocks.named_parameters():
            theirs = twin.blocks.get_parameter(name)
            assert_close(p, theirs, rtol=0, atol=0.03 * 0.5 * 2, msg=f"step {step}: {name}")
            with torch.no_grad():  # both iterate in bfloat16: differences would add up
                p.copy_(theirs)


# The state


@pytest.mark.parametrize("done", [0, 1, 3])
def test_a_resumed_optimiser_goes_on_bit_by_bit(done):
    """Momentum, Adam's means and its count of steps are all in the state; the rest follows from the step."""
    model, optimizers = build()
    train(model, optimizers, range(done), lr_mult=0.5)
    resumed, resumed_optimizers = build()
    resumed.load_state_dict(model.state_dict())
    resumed_optimizers.load_state_dict({key: value.clone() for key, value in optimizers.state_dict().items()})
    for m, o in ((model, optimizers), (resumed, resumed_optimizers)):
        train(m, o, range(done, done + 3), lr_mult=0.9)
    for name, weight in weights(model).items():
        assert torch.equal(resumed.get_parameter(name), weight), name
    state = resumed_optimizers.state_dict()
    assert state.keys() == optimizers.state_dict().keys()
    for key, value in optimizers.state_dict().items():
        assert torch.equal(state[key], value), key


def test_without_its_state_an_optimiser_goes_on_differently():
    model, optimizers = build()
    train(model, optimizers, range(3))
    forgetful, forgetful_optimizers = build()
    forgetful.load_state_dict(model.state_dict())
    for m, o in ((model, optimizers), (forgetful, forgetful_optimizers)):
        train(m, o, [3])
    assert all((p != forgetful.get_parameter(name)).any() for name, p in model.named_parameters())


def test_a_loaded_state_is_a_copy():
    model, optimizers = build()
    train(model, optimizers, range(2))
    other, other_optimizers = build()
    given = optimizers.state_dict()
    before = {key: value.clone() for key, value in given.items()}
    other_optimizers.load_state_dict(given)
    train(other, other_optimizers, [2])
    for key, value in before.items():
        assert torch.equal(given[key], value), key


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"width": 64}, id="wider"),
        pytest.param({"vocab_size": 32}, id="other vocabulary"),
        pytest.param({"kv_heads": 4}, id="other heads"),
        pytest.param({"depth": 3}, id="deeper"),
        pytest.param({"depth": 1}, id="shallower"),
    ],
)
def test_the_state_of_another_model_is_refused(changes):
    other, other_optimizers = build(**changes)
    train(other, other_optimizers, [0])
    _, optimizers = build()
    with pytest.raises(UserError, match="state does not fit the model"):
        optimizers.load_state_dict(other_optimizers.state_dict())


@pytest.mark.parametrize("key", ["blocks.7.mlp.up.weight.momentum_buffer", "head.exp_avg", "weight"])
def test_what_belongs_to_no_parameter_is_named(key):
    _, optimizers = build()
    with pytest.raises(UserError, match=rf"{key} \(192, 48\) meets no parameter"):
        optimizers.load_state_dict({key: torch.zeros(192, 48)})


def test_a_state_of_another_shape_is_named_with_both():
    _, optimizers = build()
    with pytest.raises(UserError, match=r"head\.weight\.exp_avg \(31, 64\) meets \(31, 48\)"):
        optimizers.load_state_dict({"head.weight.exp_avg": torch.zeros(31, 64)})


# Clipping


def total_norm(model):
    return math.sqrt(sum(p.grad.double().square().sum().item() for p in model.parameters()))


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_gradients_are_clipped_by_their_norm_over_all_parameters(scale):
    model, _ = build()
    give_gradients(model, seed=1, scale=scale)
    before, norm = [p.grad.clone() for p in model.parameters()], total_norm(model)
    assert clip_gradients(model, 2.0) == pytest.approx(norm, rel=1e-5)
    factor = min(1.0, 2.0 / norm)
    assert total_norm(model) == pytest.approx(norm * factor, rel=1e-5)
    for p, old in zip(model.parameters(), before, strict=True):
        assert_close(p.grad, old * factor, rtol=1e-5, atol=0)
        assert factor < 1 or torch.equal(p.grad, old)


def test_a_clip_of_0_leaves_gradients_as_they_are():
    model, _ = build()
    give_gradients(model, seed=1, scale=1e6)
    before, norm = [p.grad.clone() for p in model.parameters()], total_norm(model)
    assert clip_gradients(model, 0.0) == pytest.approx(norm, rel=1e-5)
    assert all(torch.equal(p.grad, old) for p, old in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize("max_norm", [0.0, 1.0])
def test_gradients_of_zero_stay_zero(max_norm):
    model, _ = build()
    give_gradients(model, seed=1, scale=0.0)
    assert clip_gradients(model, max_norm) == 0
    assert not any(p.grad.any() for p in model.parameters())


def test_a_negative_clip_is_refused():
    model, _ = build()
    give_gradients(model, seed=1)
    with pytest.raises((UserError, AssertionError), match=r"grad_clip|max_norm"):
        clip_gradients(model, OptimSettings(grad_clip=-1.0).grad_clip)
