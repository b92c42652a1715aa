"""Our own kernels compute what torch's do, and nothing about the machine shows in it."""

import platform

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from parrotlet.cpp import build
from parrotlet.data import PADDING
from parrotlet.model import GPT, ModelConfig, kernels
from parrotlet.model.attention import TRUNK, Spans, attend, attention_mask
from parrotlet.model.gpt import CONV_REACH, ShortConv

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="no C++ compiler")

BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
"""Of the largest number."""


def random_heads(rows, length, heads, kv_heads, head_dim, dtype, seed=0):
    """Queries, keys, values and the gradient of what comes out."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(rows, length, count, head_dim) for count in (heads, kv_heads, kv_heads, heads)]
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


def random_segments(lengths, padding):
    """(1, T): segments of the lengths, then padding."""
    ids = [number for number, length in enumerate(lengths) for _ in range(length)]
    return torch.tensor([[*ids, *[PADDING] * padding]])


def result_and_gradients(compute, q, k, v, dy):
    inputs = [x.clone().requires_grad_() for x in (q, k, v)]
    y = compute(*inputs)
    return y.detach(), *torch.autograd.grad(y, inputs, dy)


def causal(q, k, v):
    return attend(q, k, v, Spans(torch.zeros(q.shape[:2], dtype=torch.long)))


def plain(segments):
    """Attention by torch, in float64."""

    def compute(q, k, v):
        seen = torch.ones(q.shape[1], q.shape[1], dtype=torch.bool).tril()
        if segments is not None:
            seen = seen & (segments[:, None, :, None] == segments[:, None, None, :])
        heads = (x.transpose(1, 2) for x in (q, k, v))
        return F.scaled_dot_product_attention(*heads, attn_mask=seen, enable_gqa=True).transpose(1, 2)

    return compute


def assert_near(found, expected, bound):
    """`found` in the dtype that was computed in, `expected` in float64."""
    for ours, theirs in zip(found, expected, strict=True):
        assert_close(ours.double(), theirs, rtol=0, atol=bound * max(1, float(theirs.abs().max())))


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.none() | st.lists(st.integers(1, 90), min_size=1, max_size=5),
    length=st.integers(1, 200),
    padding=st.integers(0, 40),
    rows=st.integers(1, 3),
    kv_heads=st.integers(1, 3),
    group=st.integers(1, 3),
    half=st.integers(1, 40),
    dtype=st.sampled_from(list(BOUNDS)),
    seed=st.integers(0, 99),
)
def test_attention_and_its_gradients_are_torchs(lengths, length, padding, rows, kv_heads, group, half, dtype, seed):
    segments = None if lengths is None else random_segments(lengths, padding).expand(rows, -1)
    length = length if segments is None else segments.shape[1]
    heads = random_heads(rows, length, kv_heads * group, kv_heads, 2 * half, dtype, seed)
    mask = attention_mask(torch.zeros(rows, length, dtype=torch.long), segments, dtype)
    assert isinstance(mask, Spans)
    found = result_and_gradients(lambda q, k, v: attend(q, k, v, mask), *heads)
    assert all(x.dtype == dtype for x in found)
    assert_near(found, result_and_gradients(plain(segments), *(x.double() for x in heads)), BOUNDS[dtype])


@settings(max_examples=60, deadline=None)
@given(
    starts=st.lists(st.lists(st.integers(0, 4), min_size=9, max_size=9), min_size=1, max_size=3),
    length=st.integers(1, 9),
    width=st.integers(1, 70),
    dtype=st.sampled_from(list(BOUNDS)),
    of_weight=st.sampled_from(list(BOUNDS)),
    seed=st.integers(0, 99),
)
def test_a_short_convolution_and_its_gradients_are_torchs(starts, length, width, dtype, of_weight, seed):
    """Texts begin anywhere in a row, and a row anywhere in a text."""
    positions = torch.tensor(starts)[:, :1].repeat(1, length)
    for t in range(1, length):
        begins = torch.tensor(starts)[:, t] == 0
        positions[:, t] = torch.where(begins, 0, positions[:, t - 1] + 1)
    generator = torch.Generator().manual_seed(seed)
    shape = (*positions.shape, width)
    x, dy = (torch.randn(shape, generator=generator).to(dtype) for _ in range(2))
    weight = torch.randn(CONV_REACH, width, generator=generator).to(of_weight)

    def computed(x, weight, dy):
        conv, x = ShortConv(width), x.clone().requires_grad_()
        conv.weight = torch.nn.Parameter(weight)
        y = conv(x, positions)
        return y.detach(), *torch.autograd.grad(y, [x, conv.weight], dy)

    found = computed(x, weight, dy)
    assert [y.dtype for y in found] == [dtype, dtype, of_weight]
    assert_near(found, computed(x.double(), weight.double(), dy.double()), max(BOUNDS[dtype], BOUNDS[of_weight]))


def test_scores_of_any_size_have_finite_gradients():
    q, k, v, dy = random_heads(1, 70, 1, 1, 8, torch.float32)
    found = result_and_gradients(causal, 1e4 * q, 1e4 * k, v, dy)
    assert all(x.isfinite().all() for x in found)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_what_is_no_number_stays_none(which):
    heads = random_heads(1, 40, 1, 1, 8, torch.float32)
    heads[which][0, 7] = torch.nan
    assert causal(*heads[:3])[0, 7].isnan().all()


@pytest.mark.parametrize("dtype", list(BOUNDS), ids=str)
def test_the_number_of_threads_changes_nothing(dtype):
    heads, before = random_heads(3, 130, 4, 2, 16, dtype), torch.get_num_threads()
    scores, targets = torch.randn(50, 70).to(dtype), torch.randint(70, (50,))
    x, shares, positions = torch.randn(3, 40, 24).to(dtype), torch.randn(3, 24), torch.arange(40)[None]
    found = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            own = scores.clone()
            losses = kernels.cross_entropy(own, targets, 15.0, gradients=True)
            given = [tensor.clone().requires_grad_() for tensor in (x, shares)]
            kernels.convolve(*given, positions).float().square().sum().backward()
            found.append([*result_and_gradients(causal, *heads), losses, own, *(tensor.grad for tensor in given)])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other, found[0], strict=True))


def test_a_row_does_not_depend_on_the_rows_beside_it():
    heads = random_heads(5, 70, 2, 1, 8, torch.float32)
    together = result_and_gradients(causal, *heads)
    alone = result_and_gradients(causal, *(x[2:3] for x in heads))
    assert all(torch.equal(a[2:3], b) for a, b in zip(together, alone, strict=True))


def test_a_trunk_that_all_see_is_left_to_torch():
    segments = torch.tensor([[TRUNK, TRUNK, 0, 0, 1]])
    mask = attention_mask(segments, segments, torch.float32)
    assert isinstance(mask, torch.Tensor)
    assert (mask[0, 0, 4] == 0).tolist() == [True, True, False, False, True]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_with_torch_alone_a_model_has_the_same_loss_and_gradients_up_to_rounding(dtype, monkeypatch):
    config = ModelConfig(depth=2, vocab_size=97, sequence_len=80, width=48, heads=6, kv_heads=2, short_conv=True)
    found = []
    for own in (True, False):
        monkeypatch.setattr(kernels, "available", lambda *_, own=own: own)
        model = GPT.build(config, seed=0, dtype=dtype)
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(1)) * p.shape[-1] ** -0.5)
        ids = torch.randint(97, (2, 80), generator=torch.Generator().manual_seed(0))
        segments = torch.arange(80).div(23, rounding_mode="floor").expand(2, -1)
        loss = model.loss_sum(ids, ids.roll(1), torch.arange(80).expand(2, -1) % 23, segments)
        loss.backward()
        found.append((loss.detach(), {name: p.grad for name, p in model.named_parameters()}))
    (ours, gradients), (theirs, expected) = found
    assert_close(ours, theirs, rtol=BOUNDS[dtype] / 10, atol=0)
    for name, gradient in expected.items():
        assert_close(gradients[name], gradient, rtol=0, atol=3 * BOUNDS[dtype] * float(gradient.abs().max()), msg=name)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names a level of x86")
@pytest.mark.parametrize("lacks", [["-march=x86-64-v3"], ["-mno-amx-bf16"]], ids=["wide registers", "tiles"])
@pytest.mark.parametrize("dtype", list(BOUNDS), ids=str)
def test_a_processor_that_lacks_something_computes_the_same_up_to_rounding(lacks, dtype, monkeypatch):
    heads = random_heads(2, 90, 4, 2, 64, dtype)
    monkeypatch.setattr(build, "FLAGS", [*build.FLAGS, *lacks])
    build.library.cache_clear()
    try:
        assert_near(
            result_and_gradients(causal, *heads),
            result_and_gradients(plain(None), *(x.double() for x in heads)),
            BOUNDS[dtype],
        )
    finally:
        build.library.cache_clear()
