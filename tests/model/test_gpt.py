"""The model: how it begins, who attends to whom, and its figures."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from parrotlet.model import GPT, ModelConfig
from parrotlet.model.gpt import CONV_SHARES, norm

CONFIG = ModelConfig(depth=3, vocab_size=97, sequence_len=64, width=48, heads=6, kv_heads=2)


CONVOLVED = dataclasses.replace(CONFIG, short_conv=True)


@pytest.fixture(scope="module", params=[CONFIG, CONVOLVED], ids=["plain", "short conv"])
def model(random_model, request):
    return random_model(request.param, seed=1)


def random_ids(rows, length, seed=0, vocab=CONFIG.vocab_size):
    return torch.randint(vocab, (rows, length), generator=torch.Generator().manual_seed(seed))


def logits_of(model, *args, **kwargs):
    with torch.no_grad():
        return model.logits(model(*args, **kwargs))


def gradients_of(model):
    return {name: p.grad for name, p in model.named_parameters()}


# How it begins


def test_a_model_is_built_without_memory_and_then_initialised():
    seen = []

    class Watched(GPT):
        def to_empty(self, **kwargs):
            seen.extend(p.device.type for p in self.parameters())
            return super().to_empty(**kwargs)

    built = Watched.build(CONFIG, seed=3)
    assert set(seen) == {"meta"}
    assert {p.device.type for p in built.parameters()} == {"cpu"}
    assert not list(built.buffers()), "what is no parameter would not be initialised"
    assert built.state_dict().keys() == dict(built.named_parameters()).keys()


def test_the_seed_alone_decides_the_weights():
    torch.manual_seed(1)
    first = GPT.build(CONFIG, seed=3).state_dict()
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again, other = GPT.build(CONFIG, seed=3).state_dict(), GPT.build(CONFIG, seed=4).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    for name, weight in first.items():
        assert torch.equal(weight, again[name]), name
        assert weight.any() != torch.equal(weight, other[name]), name
    assert not torch.equal(first["blocks.0.attention.q.weight"], first["blocks.1.attention.q.weight"])


def test_weights_begin_with_the_documented_deviations():
    config = ModelConfig(depth=1, vocab_size=500, sequence_len=8, width=128, heads=4, kv_heads=1)
    built = GPT.build(config, seed=0)
    expected = {
        "embedding": 1.0,
        "head": 0.001,
        "blocks.0.attention.q": 128**-0.5,
        "blocks.0.attention.k": 0.5 * 128**-0.5,  # 32 × 128
        "blocks.0.attention.v": 0.5 * 128**-0.5,
        "blocks.0.attention.out": 0.0,
        "blocks.0.mlp.up": 128**-0.5,  # 512 × 128
        "blocks.0.mlp.down": 0.0,
    }
    found = {name.removesuffix(".weight"): p.detach() for name, p in built.named_parameters()}
    assert found.keys() == expected.keys()
    for name, std in expected.items():
        assert found[name].std().item() == pytest.approx(std, rel=0.05), name
        assert abs(found[name].mean().item()) <= 4 * std / found[name].numel() ** 0.5, name


def test_a_fresh_model_is_unsure_of_every_token():
    ids = random_ids(4, 32)
    fresh = GPT.build(CONFIG, seed=3)
    losses = fresh.token_losses(ids, ids.roll(-1, 1))
    assert losses.mean().item() == pytest.approx(math.log(CONFIG.vocab_size), abs=0.01)
    assert logits_of(fresh, ids).std() > 0, "its guesses differ"


def test_a_fresh_block_is_the_identity():
    fresh = GPT.build(CONFIG, seed=3)
    ids = random_ids(2, 10)
    embedded = norm(fresh.embedding(ids), CONFIG.norm_eps)
    positions = torch.arange(10)[None]
    rope = fresh._rope(positions)
    for block in fresh.blocks:
        assert torch.equal(block(embedded, positions, rope, None), embedded)
    assert torch.equal(fresh(ids), norm(embedded, CONFIG.norm_eps))


# Numbers


def test_bfloat16_is_close_to_float32(random_model, model):
    ids = random_ids(2, 32)
    half = random_model(model.config, seed=1, dtype=torch.bfloat16)
    assert half(ids).dtype == torch.bfloat16
    exact, rounded = logits_of(model, ids), logits_of(half, ids)
    assert rounded.dtype == torch.float32
    error = (rounded - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    assert 1e-4 < error < 0.03
    assert half.token_losses(ids, ids).mean().item() == pytest.approx(
        model.token_losses(ids, ids).mean().item(), rel=0.02
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_parameters_and_gradients_are_float32_whatever_is_computed_in(random_model, dtype):
    model = random_model(CONFIG, dtype=dtype)
    ids = random_ids(2, 16)
    loss = model.loss_sum(ids, ids.roll(-1, 1))
    loss.backward()
    assert loss.dtype == torch.float32
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert {p.grad.dtype for p in model.parameters()} == {torch.float32}
    assert all(p.grad.any() for p in model.parameters())


class ProductTypes(TorchDispatchMode):
    """The types of what is multiplied, matrix by matrix, while this is entered."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.bmm, torch.ops.aten.addmm):
            self.seen |= {x.dtype for x in args if isinstance(x, torch.Tensor)}
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_matrix_product_is_in_the_compute_dtype(random_model, dtype):
    model = random_model(CONFIG, dtype=dtype)
    ids = random_ids(2, 16)
    with ProductTypes() as products:
        model.loss_sum(ids, ids).backward()
        model.logits(model(ids))
        model.token_losses(ids, ids)
    assert products.seen == {dtype}


def test_only_distances_between_positions_matter(model):
    ids = random_ids(2, 20)
    here = logits_of(model, ids, torch.arange(20)[None])
    assert_close(logits_of(model, ids), here, rtol=0, atol=0)
    assert_close(logits_of(model, ids, torch.arange(20)[None] + 37), here, rtol=0, atol=1e-3)
    assert (logits_of(model, ids, torch.arange(20)[None] * 2) - here).abs().max() > 0.1


def test_a_row_does_not_depend_on_the_rows_beside_it(model):
    ids = random_ids(3, 20)
    together = logits_of(model, ids)
    for row in range(3):
        assert_close(logits_of(model, ids[row : row + 1])[0], together[row], rtol=0, atol=1e-5)


def shares_added(x, positions, weight):
    """The short convolution, position by position."""
    out = x.clone()
    for row in range(x.shape[0]):
        for t in range(x.shape[1]):
            for back in range(1, min(3, int(positions[row, t])) + 1):
                out[row, t] += weight[back - 1] * x[row, t - back]
    return out


POSITIONS = torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3, 4], [0, 0, 1, 0, 1, 2, 3, 4, 5]])


def test_a_short_convolution_adds_shares_of_the_three_embeddings_before(random_model):
    """Blocks whose outputs are 0 leave what goes in: the norm of the convolved embeddings, twice."""
    model = random_model(CONVOLVED)
    for block in model.blocks:
        torch.nn.init.zeros_(block.attention.out.weight)
        torch.nn.init.zeros_(block.mlp.down.weight)
    ids = random_ids(2, 9)
    expected = shares_added(model.embedding.weight[ids], POSITIONS, model.embedding_conv.weight)
    with torch.no_grad():
        assert_close(model(ids, POSITIONS), norm(norm(expected, CONVOLVED.norm_eps), CONVOLVED.norm_eps))


def test_a_short_convolution_stands_before_every_mlp(random_model):
    mlp = random_model(CONVOLVED).blocks[1].mlp
    x = torch.randn(2, 9, CONVOLVED.width, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = mlp.down(torch.relu(mlp.up(shares_added(x, POSITIONS, mlp.conv.weight))).square())
        assert_close(mlp(x, POSITIONS), expected)


def test_short_convolutions_change_no_other_weight_of_a_new_model():
    plain, convolved = (dict(GPT.build(config, seed=3).named_parameters()) for config in (CONFIG, CONVOLVED))
    new = {"embedding_conv.weight", *(f"blocks.{i}.mlp.conv.weight" for i in range(CONFIG.depth))}
    assert set(convolved) - set(plain) == new
    assert all(torch.equal(plain[name], convolved[name]) for name in plain)
    for name in new:
        shares = next(shares for end, shares in CONV_SHARES.items() if name.endswith(end))
        assert [row.unique().tolist() for row in convolved[name]] == [[pytest.approx(share)] for share in shares]


# N-grams


def test_the_embeddings_of_a_bigram_and_a_trigram_are_added_to_that_of_their_last_token(random_model):
    """Where they would begin before the text, none is; by a hash that is written out here."""
    config = dataclasses.replace(CONFIG, ngrams=53)
    model = random_model(config)
    for block in model.blocks:
        torch.nn.init.zeros_(block.attention.out.weight)
        torch.nn.init.zeros_(block.mlp.down.weight)
    ids = random_ids(2, 9)
    expected = model.embedding.weight[ids].detach().clone()
    for row, t in torch.cartesian_prod(torch.arange(2), torch.arange(9)).tolist():
        if POSITIONS[row, t] >= 1:
            before, token = ids[row, t - 1 : t + 1].tolist()
            pair = token * 7_919 + (before + 1) * 1_000_003
            expected[row, t] += model.ngram.weight[pair % 53].detach()
        if POSITIONS[row, t] >= 2:
            triple = pair + (int(ids[row, t - 2]) + 1) * 15_485_863
            expected[row, t] += model.ngram.weight[triple % 53].detach()
    with torch.no_grad():
        assert_close(model(ids, POSITIONS), norm(norm(expected, config.norm_eps), config.norm_eps))


def test_a_new_model_knows_no_ngrams():
    new = GPT.build(dataclasses.replace(CONFIG, ngrams=53), seed=3)
    assert new.ngram.weight.shape == (53, CONFIG.width)
    assert not new.ngram.weight.any()


# Segments


def packed(lengths, padding):
    """Segments and positions of one row: 0, 1, … and -1 for padding; positions begin at 0 in each."""
    numbered = [*enumerate(lengths), *([(-1, padding)] if padding else [])]
    segments = [number for number, length in numbered for _ in range(length)]
    positions = [i for _, length in numbered for i in range(length)]
    return torch.tensor([segments]), torch.tensor([positions])


LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(
    lengths=LENGTHS, padding=st.integers(0, 5), dtype=st.sampled_from([torch.float32, torch.bfloat16]), data=st.data()
)
def test_a_changed_segment_changes_no_other_and_nothing_before(model, random_model, lengths, padding, dtype, data):
    """Whatever is written into a segment from some position on: all other logits are the same to the last bit."""
    model = model if dtype == torch.float32 else random_model(model.config, seed=1, dtype=dtype)
    segments, positions = packed(lengths, padding)
    length = segments.shape[1]
    start = data.draw(st.integers(0, length - 1))
    victim = (segments == segments[0, start]) & (torch.arange(length) >= start)
    ids = random_ids(1, length, seed=data.draw(st.integers(0, 2**31)))
    offsets = random_ids(1, length, seed=5, vocab=CONFIG.vocab_size - 1) + 1
    changed = torch.where(victim, (ids + offsets) % CONFIG.vocab_size, ids)
    before, after = logits_of(model, ids, positions, segments), logits_of(model, changed, positions, segments)
    assert torch.equal(before[~victim], after[~victim])
    assert (before[victim] != after[victim]).any(dim=-1).all()


@pytest.mark.parametrize(("position", "end"), [(0, 5), (7, 13), (12, 13), (18, 20)])
def test_a_changed_token_reaches_the_end_of_its_segment(model, position, end):
    """Padding, the last three positions here, is a segment like any other: no position attends to nothing."""
    segments, positions = packed([5, 8, 4], 3)
    ids = random_ids(1, 20)
    changed = ids.clone()
    changed[0, position] = (ids[0, position] + 1) % CONFIG.vocab_size
    moved = (logits_of(model, ids, positions, segments) != logits_of(model, changed, positions, segments)).any(-1)
    assert moved[0].nonzero().flatten().tolist() == list(range(position, end))


@settings(max_examples=30, deadline=None)
@given(lengths=LENGTHS, padding=st.integers(0, 5), seed=st.integers(0, 2**31))
def test_packed_is_alone(model, lengths, padding, seed):
    segments, positions = packed(lengths, padding)
    ids = random_ids(1, segments.shape[1], seed)
    together = logits_of(model, ids, positions, segments)
    for number in range(len(lengths)):
        alone = logits_of(model, ids[segments == number][None])
        assert_close(together[segments == number][None], alone, rtol=0, atol=2e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_of_padding_add_nothing(random_model, dtype):
    ids, targets = random_ids(4, 16), random_ids(4, 16, seed=1)
    segments, positions = (x.expand(4, -1).clone() for x in packed([7, 5], 4))
    segments[2:], targets[segments == -1], targets[2:] = -1, -1, -1
    losses, gradients = [], []
    for rows in (slice(0, 4), slice(0, 2)):
        model = random_model(CONFIG, dtype=dtype)
        hidden = model(ids[rows], positions[rows], segments[rows])
        assert hidden.isfinite().all()
        loss = model.loss_sum(ids[rows], targets[rows], positions[rows], segments[rows])
        loss.backward()
        losses.append(loss)
        gradients.append(gradients_of(model))
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    assert_close(losses[0], losses[1], rtol=tolerance, atol=0)
    for name, gradient in gradients[1].items():
        assert gradient.any()
        assert_close(gradients[0][name], gradient, rtol=0, atol=tolerance * float(gradient.abs().max()), msg=name)


# Its figures


@settings(max_examples=30, deadline=None)
@given(
    depth=st.integers(1, 3),
    vocab=st.integers(1, 99),
    kv_heads=st.integers(1, 3),
    group=st.integers(1, 3),
    half=st.integers(1, 4),
    conv=st.booleans(),
    ngrams=st.integers(0, 9),
)
def test_num_parameters_is_the_real_count(depth, vocab, kv_heads, group, half, conv, ngrams):
    heads = kv_heads * group
    config = ModelConfig(
        depth=depth,
        vocab_size=vocab,
        sequence_len=8,
        width=2 * half * heads,
        heads=heads,
        kv_heads=kv_heads,
        short_conv=conv,
        ngrams=ngrams,
    )
    with torch.device("meta"):
        model = GPT(config)
    assert config.num_parameters == sum(p.numel() for p in model.parameters())


def test_flops_per_token_are_those_that_a_training_step_takes(random_model, monkeypatch):
    """Every matrix product of a forward and a backward pass counted by torch, attention in plain products."""
    monkeypatch.setattr("parrotlet.model.kernels.available", lambda *_: False)
    model = random_model(CONFIG)
    ids = random_ids(2, CONFIG.sequence_len)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model.loss_sum(ids, ids.roll(-1, 1)).backward()
    assert CONFIG.flops_per_token == counter.get_total_flops() / ids.numel()
