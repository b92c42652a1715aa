"""Muon is torch's, several matrices at a time; what orthogonalising does to singular values."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from parrotlet.optim import Muon, muon
from parrotlet.optim.muon import COEFFICIENTS, STEPS, orthogonalize, rows_together

SHAPES = [(8, 8), (24, 6), (6, 24), (8, 8), (24, 6), (1, 5), (5, 1), (1, 1), (8, 8)]
"""Square, tall and wide matrices; some that are taken together, though they don't stand together."""


def random_parameters(shapes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def give_gradients(parameters, seed, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    for p in parameters:
        p.grad = torch.randn(p.shape, generator=generator) * scale


def assert_moved_alike(ours, theirs, before, lr):
    """The moves are the same up to bfloat16, in which both iterate."""
    for a, b, old in zip(ours, theirs, before, strict=True):
        ratio = max(1, a.shape[0] / a.shape[1]) ** 0.5
        assert (b - old).abs().max() > 0.1 * lr * ratio / max(a.shape) ** 0.5, "nothing moved"
        assert_close(a, b, rtol=1e-6, atol=0.03 * lr * ratio)


@pytest.fixture
def iterates_in(monkeypatch):
    """A processor that multiplies bfloat16, or one that does not."""

    def choose(dtype):
        monkeypatch.setattr(muon, "multiplies_bfloat16", lambda device: dtype == torch.bfloat16)

    return choose


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("momentum", [0.0, 0.85, 0.95])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_equals_torchs_muon(iterates_in, weight_decay, momentum, scale):
    iterates_in(torch.bfloat16)
    ours, theirs = random_parameters(SHAPES), random_parameters(SHAPES)
    settings = {"lr": 0.5, "momentum": momentum, "weight_decay": weight_decay}
    optimizer = Muon(ours, **settings)
    reference = torch.optim.Muon(theirs, **settings, nesterov=True, adjust_lr_fn="original")
    for step in range(6):
        before = [p.detach().clone() for p in theirs]
        for parameters, o in ((ours, optimizer), (theirs, reference)):
            give_gradients(parameters, seed=step, scale=scale)
            o.step()
        with torch.no_grad():
            assert_moved_alike(ours, theirs, before, lr=0.5)
            for a, b in zip(ours, theirs, strict=True):  # the next step begins at the same place
                a.copy_(b)
                a_buffer, b_buffer = (o.state[p]["momentum_buffer"] for o, p in ((optimizer, a), (reference, b)))
                assert_close(a_buffer, b_buffer, rtol=1e-6, atol=1e-6 * scale)


def test_rate_and_momentum_may_change_from_step_to_step(iterates_in):
    iterates_in(torch.bfloat16)
    ours, theirs = random_parameters(SHAPES), random_parameters(SHAPES)
    optimizer = Muon(ours, lr=1.0, momentum=0.5)
    reference = torch.optim.Muon(theirs, lr=1.0, momentum=0.5, weight_decay=0.0)
    for step, (lr, momentum) in enumerate([(0.1, 0.0), (0.7, 0.9), (0.3, 0.5)]):
        before = [p.detach().clone() for p in theirs]
        for parameters, o in ((ours, optimizer), (theirs, reference)):
            o.param_groups[0] |= {"lr": lr, "momentum": momentum}
            give_gradients(parameters, seed=step)
            o.step()
        with torch.no_grad():
            assert_moved_alike(ours, theirs, before, lr)
            for a, b in zip(ours, theirs, strict=True):
                a.copy_(b)


@pytest.mark.parametrize("shape", [(64, 32), (32, 64)])
def test_a_step_is_of_a_size_that_the_gradient_does_not_decide(shape):
    """About that of an orthogonal matrix, times √(rows / columns) where it is tall."""
    moves = []
    for scale in (1e-4, 1.0, 1e4):
        (p,) = random_parameters([shape])
        before = p.detach().clone()
        give_gradients([p], seed=1, scale=scale)
        Muon([p], lr=0.1, momentum=0.0).step()
        moves.append(p.detach() - before)
        ratio = max(1, shape[0] / shape[1]) ** 0.5
        assert moves[-1].norm().item() == pytest.approx(0.1 * ratio * 32**0.5, rel=0.25)
        assert_close(moves[-1], moves[0], rtol=0, atol=0.003)


def test_what_has_no_gradient_stays():
    first, second = random_parameters([(8, 8), (8, 8)])
    before = second.detach().clone()
    give_gradients([first], seed=1)
    optimizer = Muon([first, second], lr=0.1, weight_decay=0.5)
    optimizer.step()
    assert torch.equal(second, before)
    assert not optimizer.state[second]
    optimizer.zero_grad()
    moved = first.detach().clone()
    optimizer.step()
    assert torch.equal(first, moved)


def test_gradients_of_zero_move_nothing():
    parameters = random_parameters([(8, 8), (24, 6), (8, 8)])
    before = [p.detach().clone() for p in parameters]
    for p in parameters:
        p.grad = torch.zeros_like(p)
    Muon(parameters, lr=0.1).step()
    for p, old in zip(parameters, before, strict=True):
        assert torch.equal(p, old)


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), ()])
def test_only_matrices_are_taken(shape):
    with pytest.raises(AssertionError, match="Muon is for matrices"):
        Muon([nn.Parameter(torch.zeros(shape))])


# Orthogonalising


def random_orthogonal(n, rows, columns, generator):
    """(n, rows, columns) with orthonormal columns."""
    return torch.linalg.qr(torch.randn(n, rows, columns, generator=generator)).Q


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 3),
    rank=st.integers(1, 32),
    longer=st.integers(0, 40),
    tall=st.booleans(),
    scale=st.sampled_from([1e-4, 1.0, 1e4]),
    seed=st.integers(0, 2**31),
)
def test_singular_values_move_to_1_and_vectors_stay(n, rank, longer, tall, scale, seed):
    """Of any matrix whose smallest singular value is at least 1/20 of the largest, square or not."""
    generator = torch.Generator().manual_seed(seed)
    u, v = random_orthogonal(n, rank, rank, generator), random_orthogonal(n, rank + longer, rank, generator)
    values = torch.empty(n, rank).uniform_(0.05, 1.0, generator=generator)
    x = u @ torch.diag_embed(values) @ v.mT * scale
    y = orthogonalize(x.mT if tall else x)
    assert y.dtype == torch.bfloat16
    y = y.float().mT if tall else y.float()
    assert y.shape == x.shape
    found = torch.linalg.svdvals(y)
    assert found.min() > 0.6
    assert found.max() < 1.3
    seen_by_the_vectors = u.mT @ y @ v
    diagonal = seen_by_the_vectors.diagonal(dim1=1, dim2=2)
    assert (seen_by_the_vectors - torch.diag_embed(diagonal)).abs().max() < 0.1
    assert diagonal.min() > 0.6


@pytest.mark.parametrize("shape", [(1, 64, 256), (1, 256, 64), (3, 48, 16), (2, 5, 40)])
def test_singular_values_of_random_matrices_move_to_1(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    assert torch.linalg.svdvals(x).std() > 0.5
    found = torch.linalg.svdvals(orthogonalize(x).float())
    assert found.min() > 0.6
    assert found.max() < 1.3


def test_together_is_alone_and_transposed_is_transposed():
    scales = torch.tensor([1.0, 1e-3, 50.0, 0.1])[:, None, None]
    x = torch.randn(4, 12, 20, generator=torch.Generator().manual_seed(1)) * scales
    together = orthogonalize(x)
    for i in range(4):
        assert_close(orthogonalize(x[i : i + 1])[0], together[i], rtol=0, atol=0.02)
    assert_close(orthogonalize(x.mT), together.mT, rtol=0, atol=0.02)


@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 3, 8), (2, 8, 3)])
def test_a_zero_matrix_stays_zero_beside_others(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    x[0] = 0
    y = orthogonalize(x)
    assert not y[0].any()
    assert y.isfinite().all()
    assert y[1:].abs().sum(dim=(1, 2)).gt(0.5).all()


@pytest.mark.parametrize("smallest", [1.0, 1e-4])
@pytest.mark.parametrize("shape", [(64, 32), (32, 64), (32, 40), (16, 256)])
def test_where_bfloat16_is_slow_only_what_goes_in_and_out_is_rounded(iterates_in, shape, smallest):
    """Of random matrices, and of such that hardly move in some directions."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(3, *shape, generator=generator)
    few = min(shape)
    turned = random_orthogonal(3, few, few, generator) * torch.logspace(0, math.log10(smallest), few)
    matrix = (turned @ matrix if few == shape[0] else matrix @ turned).bfloat16()
    exact = matrix.double()
    exact /= exact.norm(dim=(1, 2), keepdim=True)
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        gram = exact @ exact.mT
        exact = a * exact + (b * gram + c * gram @ gram) @ exact
    off = {}
    for dtype in (torch.float32, torch.bfloat16):
        iterates_in(dtype)
        found = orthogonalize(matrix.float())
        assert found.dtype == torch.bfloat16
        off[dtype] = (found.double() - exact).abs().max() / exact.abs().max()
    assert off[torch.float32] < 2**-8 < off[torch.bfloat16]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("columns", [16, 24, 25, 64])
def test_multiplications_are_the_fewer_ones_where_float32_allows_it(iterates_in, dtype, columns):
    iterates_in(dtype)
    rows = 16
    with FlopCounterMode(display=False) as counter:
        orthogonalize(torch.randn(1, rows, columns))
    matrix = 5 * (2 * rows**2 * columns + rows**3)
    factor = 2 * rows**2 * columns + 17 * rows**3
    expected = min(matrix, factor) if dtype == torch.float32 else matrix
    assert counter.get_total_flops() == 2 * expected


# In blocks


@pytest.mark.parametrize(
    ("rows", "block", "together"), [(256, 64, 64), (160, 128, 80), (36, 6, 6), (7, 4, 1), (64, 64, 64), (64, 100, 64)]
)
def test_blocks_are_equal_and_at_most_as_large_as_asked(rows, block, together):
    assert rows_together(rows, block) == together
    assert rows_together(rows, 0) == rows


@pytest.mark.parametrize("shape", [(3, 12, 12), (2, 12, 40), (2, 40, 12)])
def test_a_block_of_the_shorter_side_is_orthogonalised_by_itself(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    tall = shape[1] > shape[2]
    wide = x.mT if tall else x
    y = orthogonalize(x, block=4)
    y = y.mT if tall else y
    for first in (0, 4, 8):
        alone = orthogonalize(wide[:, first : first + 4])
        assert_close(y[:, first : first + 4], alone, rtol=0, atol=0.02)
    whole = orthogonalize(wide)
    assert (y.float() - whole.float()).abs().max() > 0.1
    assert y.float().norm().item() == pytest.approx(whole.float().norm().item(), rel=0.15)  # as large a move


def test_a_block_that_holds_all_rows_changes_nothing():
    x = torch.randn(2, 12, 40, generator=torch.Generator().manual_seed(1))
    assert torch.equal(orthogonalize(x, block=12), orthogonalize(x))
    assert torch.equal(orthogonalize(x, block=100), orthogonalize(x))


def test_muon_moves_by_blocks_where_it_is_told_to():
    (a,), (b,) = random_parameters([(24, 6)]), random_parameters([(24, 6)])
    before = a.detach().clone()
    give_gradients([a, b], seed=1)
    b.grad = a.grad.clone()
    Muon([a], lr=0.1, momentum=0.0, block=3).step()
    Muon([b], lr=0.1, momentum=0.0).step()
    expected = orthogonalize(a.grad[None], block=3)[0].float() * 0.1 * 2
    assert_close(before - a, expected, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(a, b, atol=1e-2)
