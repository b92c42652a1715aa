"""The decoder computes what the model computes, and a row's result depends on that row alone, to the bit."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from parrotlet.engine.decoder import Decoder
from parrotlet.errors import UserError
from parrotlet.model import GPT, ModelConfig
from scripted import grown

pytestmark = pytest.mark.usefixtures("way")


def a_model(dtype=torch.float32, **shape):
    values = {"depth": 2, "vocab_size": 101, "sequence_len": 100, "width": 64, "heads": 4, "kv_heads": 2} | shape
    return grown(GPT.build(ModelConfig(**values), seed=3, dtype=dtype))


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def any_model(request):
    return a_model(request.param)


def random_ids(n, seed=0):
    return torch.randint(101, (n,), generator=torch.Generator().manual_seed(seed)).tolist()


def uncached_scores(model, ids):
    with torch.no_grad():
        return torch.nn.functional.linear(model(torch.tensor([ids]))[0], model.head.weight.to(model.dtype)).float()


def decoded_scores(decoder, ids, chunks):
    """Scores after the tokens that are fed one at a time; the chunks before them are fed at once."""
    start = 0
    for length in chunks:
        decoder.prefill(0, ids[start : start + length], start)
        start += length
    return torch.cat([decoder.decode([ids[i]], [i]) for i in range(start, len(ids))])


@settings(max_examples=15, deadline=None)
@given(
    kv_heads=st.integers(1, 3),
    group=st.integers(1, 3),
    depth=st.integers(1, 3),
    head_dim=st.sampled_from([8, 16, 18]),
    theta=st.sampled_from([100.0, 10_000.0]),
    eps=st.sampled_from([1e-6, 1e-2]),
    chunks=st.lists(st.integers(1, 30), max_size=3),
    seed=st.integers(0, 2**31),
)
def test_it_computes_what_the_model_computes(kv_heads, group, depth, head_dim, theta, eps, chunks, seed):
    heads = kv_heads * group
    model = a_model(depth=depth, width=heads * head_dim, heads=heads, kv_heads=kv_heads, rope_theta=theta, norm_eps=eps)
    ids = random_ids(sum(chunks) + 5, seed)
    expected = uncached_scores(model, ids)[-5:]
    assert expected.abs().max() > 0.5, "too small to show a difference"
    assert_close(decoded_scores(Decoder(model, 1), ids, chunks), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", [{"short_conv": True}, {"ngrams": 97}, {"short_conv": True, "ngrams": 97}], ids=str)
@pytest.mark.parametrize("chunks", [[], [1], [17, 1, 9]], ids=str)
def test_with_short_convolutions_and_n_grams_too(shape, chunks):
    model, ids = a_model(**shape), random_ids(40)
    expected = uncached_scores(model, ids)[sum(chunks) :]
    assert_close(decoded_scores(Decoder(model, 1), ids, chunks), expected, rtol=0, atol=1e-4)


def test_a_score_is_never_taken_for_granted():
    """Weights so large that attention sees one slot only, and scores of a hundred: exponentials have to hold."""
    model, ids = a_model(), random_ids(60)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "attention.v" in name or "head" in name:
                weight.mul_(30)
    expected = uncached_scores(model, ids)[30:]
    assert_close(decoded_scores(Decoder(model, 1), ids, [30]), expected, rtol=1e-4, atol=1e-2)


def test_in_bfloat16_too():
    model = a_model(torch.bfloat16)
    ids = random_ids(60)
    expected = uncached_scores(model, ids)[-30:]
    got = decoded_scores(Decoder(model, 1), ids, [30])
    assert (got - expected).abs().mean() < 0.02 * expected.abs().mean()


@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.integers(2, 99), min_size=1, max_size=9),
    order=st.randoms(use_true_random=False),
    seed=st.integers(0, 2**31),
)
def test_a_row_is_the_same_to_the_bit_whatever_the_others_are(any_model, lengths, order, seed):
    """One row alone, and among others at other positions, wherever it stands."""
    prompts = [random_ids(n, seed + i) for i, n in enumerate(lengths)]
    alone = []
    for prompt in prompts:
        decoder = Decoder(any_model, 1)
        decoder.prefill(0, prompt[:-1], 0)
        alone.append(decoder.decode(prompt[-1:], [len(prompt) - 1]))
    order.shuffle(shuffled := list(range(len(prompts))))
    together = Decoder(any_model, len(prompts))
    for row, i in enumerate(shuffled):
        together.prefill(row, prompts[i][:-1], 0)
    scores = together.decode([prompts[i][-1] for i in shuffled], [lengths[i] - 1 for i in shuffled])
    for row, i in enumerate(shuffled):
        assert torch.equal(scores[row], alone[i][0])


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, 5), max_size=3), seed=st.integers(0, 2**31))
def test_a_prompt_is_the_same_to_the_bit_in_whatever_pieces_of_sixteen_or_more(any_model, cuts, seed):
    ids, starts = random_ids(97, seed), sorted({16 * cut for cut in cuts})
    whole, pieces = Decoder(any_model, 1), Decoder(any_model, 1)
    whole.prefill(0, ids[:-1], 0)
    for start, end in zip([0, *starts], [*starts, 96], strict=True):
        if start < end:
            pieces.prefill(0, ids[start:end], start)
    assert torch.equal(pieces.decode(ids[-1:], [96]), whole.decode(ids[-1:], [96]))


def test_rows_are_copied_and_swapped(any_model):
    decoder = Decoder(any_model, 3)
    a, b = random_ids(20, 1), random_ids(30, 2)
    decoder.prefill(0, a, 0)
    decoder.prefill(2, b, 0)
    alone = Decoder(any_model, 1)
    alone.prefill(0, a, 0)
    after_a = alone.decode([7], [20])
    alone.prefill(0, b, 0)
    after_b = alone.decode([8], [30])
    decoder.memory.swap(0, 2, 30)
    decoder.memory.copy(2, 1, 20)
    got = decoder.decode([8, 7, 7], [30, 20, 20])
    assert torch.equal(got, torch.cat([after_b, after_a, after_a]))


def test_it_keeps_the_weights_that_it_was_given():
    model = a_model()
    decoder, ids = Decoder(model, 1), random_ids(10)
    before = decoded_scores(decoder, ids, [])
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    assert torch.equal(decoded_scores(decoder, ids, []), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_memory_is_what_the_shape_says(dtype, way):
    """Keys and values, layers, rows, key/value heads, slots in multiples of 32 and 8, head width, bytes."""
    itemsize = dtype.itemsize if way == "native" else 4
    assert Decoder(a_model(dtype), rows=5).memory.nbytes == 2 * 2 * 5 * 2 * (128 + 8) * 16 * itemsize


def test_what_convolutions_look_back_at_is_counted_too():
    """Of the embedding and of each layer, in float32; and the tokens, for n-grams, in 8 bytes."""
    plain, more = (Decoder(a_model(**shape), rows=5).memory.nbytes for shape in ({}, {"short_conv": True, "ngrams": 7}))
    width = a_model().config.width
    assert more - plain == 5 * (128 + 8) * ((1 + 2) * width * 4 + 8)


def test_more_rows_than_there_is_memory_for_are_refused():
    with pytest.raises(UserError, match=r"no memory for .* answers at a time, of 100 tokens each .*fewer rows"):
        Decoder(a_model(), 10**17)
