"""The fused loss is the plain one: values, gradients, and never the logits of all positions at once."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from parrotlet.errors import UserError
from parrotlet.model import ModelConfig, linear_cross_entropy
from parrotlet.model.loss import CHUNK, GRAIN, softcapped_logits, token_cross_entropy

CONFIG = ModelConfig(depth=1, vocab_size=61, sequence_len=32, width=16, heads=2, kv_heads=1)
SIZES = [0, 1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 3]


def plain_token_losses(hidden, weight, targets, softcap):
    """All logits at once, capped, and torch's cross-entropy."""
    logits = softcap * torch.tanh((hidden @ weight.T) / softcap)
    return F.cross_entropy(logits, targets, reduction="none")


def random_case(n, vocab, width, *, scale=3.0, seed=0, dtype=torch.float64):
    """Hidden states, head and targets; scores of about ± `scale`."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(n, width, generator=generator, dtype=torch.float64).to(dtype)
    weight = (torch.randn(vocab, width, generator=generator, dtype=torch.float64) * scale * width**-0.5).to(dtype)
    targets = torch.randint(vocab, (n,), generator=generator)
    return hidden.requires_grad_(), weight.requires_grad_(), targets


def value_and_gradients(loss, *inputs):
    return loss, *torch.autograd.grad(loss / 7, inputs)  # whatever comes from behind is passed on


@settings(max_examples=60, deadline=None)
@given(
    n=st.sampled_from(SIZES) | st.integers(0, 3 * CHUNK),
    vocab=st.integers(1, 90),
    width=st.integers(1, 20),
    softcap=st.sampled_from([1.0, 15.0, 50.0]),
    scale=st.sampled_from([0.01, 3.0, 40.0]),
    seed=st.integers(0, 2**31),
)
def test_fused_equals_plain(n, vocab, width, softcap, scale, seed):
    """In float64 to the last digits; in float32 as exactly as 1 - 2u is there (1e-7 of a logit's cap)."""
    hidden, weight, targets = random_case(n, vocab, width, scale=scale, seed=seed)
    plain = value_and_gradients(plain_token_losses(hidden, weight, targets, softcap).sum(), hidden, weight)
    fused = value_and_gradients(linear_cross_entropy(hidden, weight, targets, softcap), hidden, weight)
    for expected, found in zip(plain, fused, strict=True):
        assert found.dtype == torch.float64
        assert_close(found, expected, rtol=1e-10, atol=1e-11)

    hidden, weight, targets = random_case(n, vocab, width, scale=scale, seed=seed, dtype=torch.float32)
    exact = [x.detach().double().requires_grad_() for x in (hidden, weight)]
    plain = value_and_gradients(plain_token_losses(*exact, targets, softcap).sum(), *exact)
    fused = value_and_gradients(linear_cross_entropy(hidden, weight, targets, softcap), hidden, weight)
    tolerances = (n * 2e-6 * max(softcap, scale), 1e-5, 1e-5 * max(1, n) ** 0.5)
    for expected, found, atol in zip(plain, fused, tolerances, strict=True):
        assert found.dtype == torch.float32
        assert_close(found.double(), expected, rtol=1e-5, atol=atol * max(1, scale))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5])
def test_gradients_are_those_of_finite_differences(monkeypatch, n):
    monkeypatch.setattr("parrotlet.model.loss.CHUNK", 2)
    hidden, weight, targets = random_case(n, 7, 3)
    assert torch.autograd.gradcheck(lambda h, w: linear_cross_entropy(h, w, targets, 4.0) * 1.7, (hidden, weight))


@pytest.mark.parametrize("n", SIZES)
def test_with_and_without_gradients_the_loss_is_the_same(n):
    hidden, weight, targets = random_case(n, 61, 8, dtype=torch.float32)
    with_gradients = linear_cross_entropy(hidden, weight, targets, 15.0)
    losses = token_cross_entropy(hidden, weight, targets, 15.0)
    assert losses.shape == (n,)
    assert_close(
        losses.double(), plain_token_losses(hidden.double(), weight.double(), targets, 15.0), atol=1e-5, rtol=0
    )
    with torch.no_grad():
        assert torch.equal(linear_cross_entropy(hidden, weight, targets, 15.0), losses.sum())
    assert_close(with_gradients, losses.sum(), rtol=1e-6, atol=1e-6)


def test_scores_beyond_every_cap_have_a_finite_loss_and_no_gradient():
    hidden = torch.tensor([[1e4], [-1e4], [1e30]], requires_grad=True)
    weight = torch.tensor([[1.0], [-1.0]], requires_grad=True)
    loss = linear_cross_entropy(hidden, weight, torch.tensor([0, 0, 1]), 15.0)
    assert loss.item() == pytest.approx(60, rel=1e-6)
    loss.backward()
    assert not hidden.grad.any()
    assert not weight.grad.any()


@pytest.mark.parametrize("softcap", [15.0, 80.0, 100.0, 1000.0])
def test_a_cap_is_refused_or_its_loss_is_right(softcap):
    try:
        ModelConfig(**CONFIG.to_dict() | {"softcap": softcap})
    except UserError as error:
        assert "softcap" in str(error)  # noqa: PT017 - refusing is one of two right answers
        return
    hidden, weight = torch.tensor([[200.0]], requires_grad=True), torch.tensor([[1.0], [-1.0]], requires_grad=True)
    loss = linear_cross_entropy(hidden, weight, torch.tensor([1]), softcap)
    assert loss.item() == pytest.approx(2 * softcap * math.tanh(200 / softcap), rel=1e-4)
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(loss, (hidden, weight)))


@pytest.mark.parametrize("softcap", [78.0, 80.0])
def test_a_cap_that_all_of_a_large_vocabulary_reaches_is_refused_or_its_loss_is_right(softcap):
    """The sum of the exponentials is what float32 must hold."""
    try:
        ModelConfig(**CONFIG.to_dict() | {"softcap": softcap, "vocab_size": 10_000})
    except UserError:
        assert softcap == 80.0
        return
    weight = torch.ones(10_000, 1).index_fill_(0, torch.tensor([9_999]), -1)
    loss = linear_cross_entropy(torch.tensor([[1e5]]), weight, torch.tensor([9_999]), softcap)
    assert loss.item() == pytest.approx(2 * softcap + math.log(9_999), rel=1e-6)


class LargestTensor(TorchDispatchMode):
    """Elements of the largest tensor that any operation returns while this is entered."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in torch.utils._pytree.tree_leaves(out):
            if isinstance(x, torch.Tensor):
                self.elements = max(self.elements, x.numel())
        return out


def test_the_logits_of_all_positions_never_exist_at_once():
    n, vocab, width = 8 * CHUNK, 512, 8
    hidden, weight, targets = random_case(n, vocab, width, dtype=torch.float32)
    with LargestTensor() as plain:
        plain_token_losses(hidden, weight, targets, 15.0).sum().backward()
    assert plain.elements == n * vocab, "what the plain loss needs is not seen"
    with LargestTensor() as fused:
        linear_cross_entropy(hidden, weight, targets, 15.0).backward()
    assert fused.elements == CHUNK * vocab
    with LargestTensor() as measured, torch.no_grad():
        linear_cross_entropy(hidden, weight, targets, 15.0)
    assert measured.elements == CHUNK * vocab


class ProductRows(TorchDispatchMode):
    """How many rows the first factors of products had."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket is torch.ops.aten.mm:
            self.seen.add(args[0].shape[0])
        return func(*args, **(kwargs or {}))


def test_the_scores_of_every_chunk_stand_in_one_place():
    """Large tensors that come and go leave gaps in memory, into which others don't fit."""
    hidden, weight, targets = random_case(4 * CHUNK, 7, 3, dtype=torch.float32)
    places = set()

    class Products(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if func.overloadpacket is torch.ops.aten.mm and out.shape == (CHUNK, 7):
                places.add(out.data_ptr())
            return out

    with Products():
        linear_cross_entropy(hidden, weight, targets, 15.0)
    assert len(places) == 1


def test_products_see_few_numbers_of_positions():
    """Every new one costs compiling and memory on a CPU."""
    with ProductRows() as rows:
        for n in range(1, 2 * GRAIN + 1):
            hidden, weight, targets = random_case(n, 7, 3, dtype=torch.float32)
            linear_cross_entropy(hidden, weight, targets, 15.0).backward()
            token_cross_entropy(hidden.detach(), weight.detach(), targets, 15.0)
    assert rows.seen == {7, GRAIN, 2 * GRAIN}, "the vocabulary, and two numbers of positions"


def test_the_models_losses_never_hold_the_logits_of_all_positions(random_model):
    config = ModelConfig(depth=1, vocab_size=1024, sequence_len=64, width=16, heads=2, kv_heads=1)
    model = random_model(config)
    ids = torch.randint(1024, (8 * CHUNK // 64, 64), generator=torch.Generator().manual_seed(1))
    assert ids.numel() == 8 * CHUNK
    with LargestTensor() as training:
        model.loss_sum(ids, ids).backward()
    with LargestTensor() as measuring:
        model.token_losses(ids, ids)
    assert training.elements == measuring.elements == CHUNK * 1024


@pytest.mark.parametrize("n", [1, CHUNK + 1])
def test_bfloat16_hidden_states_have_a_float32_loss(n):
    """Scores are rounded to bfloat16, as the head's matrix product gives them; the rest of the loss is not."""
    hidden, weight, targets = random_case(n, 61, 16, dtype=torch.float32)
    hidden = hidden.detach().bfloat16().requires_grad_()
    loss = linear_cross_entropy(hidden, weight, targets, 15.0)
    assert loss.dtype == torch.float32
    scores = hidden @ weight.to(torch.bfloat16).T
    logits = 15.0 * torch.tanh(scores.float() / 15.0)
    plain = F.cross_entropy(logits, targets, reduction="sum")
    assert_close(loss, plain, rtol=1e-5, atol=1e-5)
    assert_close(softcapped_logits(hidden, weight, 15.0), logits, rtol=1e-5, atol=1e-5)
    found = torch.autograd.grad(loss, (hidden, weight))
    expected = torch.autograd.grad(plain, (hidden, weight))
    assert [gradient.dtype for gradient in found] == [torch.bfloat16, torch.float32]
    for a, b in zip(found, expected, strict=True):
        assert (a.float() - b.float()).norm() < 0.01 * b.float().norm()


def packed_batch(vocab, *, rows=3, length=20, seed=4):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(vocab, (rows, length), generator=generator)
    segments = torch.arange(length).div(7, rounding_mode="floor").expand(rows, length).contiguous()
    return ids, torch.randint(vocab, (rows, length), generator=generator), torch.arange(length) % 7 + 0 * ids, segments


@pytest.mark.parametrize("left_out", [-1, -100])
def test_negative_targets_are_left_out(random_model, left_out):
    model = random_model(CONFIG)
    ids, targets, positions, segments = packed_batch(CONFIG.vocab_size)
    with torch.no_grad():
        logits = model.logits(model(ids, positions, segments))
    every = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)
    masked = torch.rand(targets.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    targets[masked] = left_out
    losses = model.token_losses(ids, targets, positions, segments)
    assert losses.dtype == torch.float32
    assert not losses[masked].any()
    assert_close(losses[~masked], every[~masked], rtol=1e-5, atol=1e-5)
    loss = model.loss_sum(ids, targets, positions, segments)
    assert loss.requires_grad
    assert_close(loss, losses.sum(), rtol=1e-6, atol=1e-5)


def test_what_stands_in_a_row_without_targets_does_not_matter(random_model):
    ids, targets, positions, segments = packed_batch(CONFIG.vocab_size)
    targets[1] = -1
    gradients = []
    for row in (ids[1], ids[1].flip(0)):
        model = random_model(CONFIG)
        ids[1] = row
        model.loss_sum(ids, targets, positions, segments).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert gradients[0].any()
    assert_close(gradients[0], gradients[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nothing_supervised_is_a_loss_of_0_with_gradients_of_0(random_model, dtype):
    model = random_model(CONFIG, dtype=dtype)
    ids, targets, positions, segments = packed_batch(CONFIG.vocab_size)
    loss = model.loss_sum(ids, torch.full_like(targets, -1), positions, segments)
    assert loss.item() == 0
    loss.backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        assert torch.equal(p.grad, torch.zeros_like(p)), name
    assert not model.token_losses(ids, torch.full_like(targets, -1)).any()
