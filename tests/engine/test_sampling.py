"""How tokens are drawn."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parrotlet.engine import Sampling
from parrotlet.engine.sampling import PENALTIES, TEMPERATURES, Sampler, draw, next_tokens
from parrotlet.errors import UserError

MANY = [(i + 0.5) / 4000 for i in range(4000)]
"""Random numbers that are spread evenly: what is drawn with them shows the probabilities."""


def shares(logits, **settings):
    """How often each token is drawn."""
    drawn = draw(torch.tensor(logits).expand(len(MANY), -1), Sampling(**settings), MANY)
    return torch.bincount(torch.tensor(drawn), minlength=len(logits)) / len(MANY)


def kept(logits, **settings):
    return set(shares(logits, **settings).nonzero()[:, 0].tolist())


@pytest.mark.parametrize("temperature", [1.0, 0.5, 3.0])
@pytest.mark.parametrize("truncation", [{}, {"top_k": 5}, {"top_p": 1.0}, {"top_k": 5, "top_p": 1.0}, {"min_p": 1e-9}])
def test_tokens_are_drawn_by_their_probabilities(temperature, truncation):
    logits = [1.0, 0.0, 2.0, -1.0, 0.5]
    expected = (torch.tensor(logits) / temperature).softmax(0)
    assert torch.allclose(shares(logits, temperature=temperature, **truncation), expected, atol=1e-3)


def test_truncations_keep_what_they_say():
    logits = [3.0, 1.0, 2.0, 0.0, -1.0]
    p = torch.tensor(logits).softmax(0)
    assert kept(logits, top_k=2) == {0, 2}
    assert kept(logits, top_p=float(p[0]) - 0.01) == {0}
    assert kept(logits, top_p=float(p[0]) + 0.01) == {0, 2}
    assert kept(logits, min_p=float(p[1] / p[0]) - 0.01) == {0, 1, 2}
    assert kept(logits, min_p=float(p[1] / p[0]) + 0.01) == {0, 2}
    among_three = torch.tensor([3.0, 2.0, 1.0]).softmax(0)
    assert kept(logits, top_k=3, top_p=float(among_three[:2].sum()) - 0.01) == {0, 2}
    assert kept(logits, top_k=3, top_p=float(among_three[:2].sum()) + 0.01) == {0, 1, 2}


@pytest.mark.parametrize("top_p", [0.1, 0.6, 0.95])
def test_top_p_of_many_even_tokens_sorts_as_many_as_it_needs(top_p):
    """Half of 4,096 tokens hold half of the probability: more than are sorted at first."""
    logits = torch.linspace(0, 0.001, 4096)
    sampling = Sampling(top_p=top_p)
    drawn = torch.tensor(draw(logits.expand(200, -1), sampling, MANY[::20]))
    assert drawn.min() == pytest.approx(4096 * (1 - top_p), abs=30)
    assert drawn.max() > 4096 - 30


@settings(max_examples=100, deadline=None)
@given(
    logits=st.lists(st.floats(-30, 30, width=32) | st.just(float("-inf")), min_size=2, max_size=50),
    u=st.sampled_from([0.0, 1e-12, 0.5, 1 - 2**-53]) | st.floats(0, 1, exclude_max=True),
    truncation=st.sampled_from([{}, {"top_k": 3}, {"top_p": 0.9}, {"min_p": 0.1}]),
)
def test_a_forbidden_token_is_never_drawn(logits, u, truncation):
    """Nor one beyond the vocabulary, at either end of the random numbers."""
    logits[len(logits) // 2] = 1.0
    token = draw(torch.tensor([logits]), Sampling(**truncation), [u])[0]
    assert logits[token] > float("-inf")


def test_the_repetition_penalty_is_that_of_its_paper():
    """Positive logits divided, negative multiplied, of tokens seen in prompt or answer."""
    sampler = Sampler(Sampling(temperature=0, repetition_penalty=2.0, max_tokens=5), prompt=[0, 3])
    scores, allowed, cap = torch.tensor([[4.0, 3.0, 1.9, -1.0]]), torch.zeros(1, 1), 1e3
    assert next_tokens(scores.clone(), cap, allowed, [sampler])[0] == [1]  # 2, 3, 1.9, -2
    sampler.add([1])
    assert next_tokens(scores.clone(), cap, allowed, [sampler])[0] == [0]  # 2, 1.5, 1.9, -2


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
@pytest.mark.parametrize("sampling", [{"temperature": 0}, {}, {"top_k": 2}, {"top_p": 0.5}, {"min_p": 0.1}])
def test_scores_that_are_no_numbers_are_refused(sampling, wrong):
    scores = torch.tensor([[1.0, 2.0, 3.0], [1.0, wrong, 0.0]])
    samplers = [Sampler(Sampling(**sampling), prompt=[]) for _ in scores]
    if wrong == torch.inf and sampling != {"temperature": 0}:  # capped
        assert len(next_tokens(scores, 15.0, torch.zeros(2, 1), samplers)[0]) == 2
        return
    with pytest.raises(UserError, match="no numbers"):
        next_tokens(scores, 15.0, torch.zeros(2, 1), samplers)


def test_each_seed_draws_by_itself():
    drawn = {seed: Sampler(Sampling(seed=seed), prompt=[]).next_random() for seed in (-(2**63), -2, -1, 0, 1, 2, 2**63)}
    assert len(set(drawn.values())) == len(drawn)
    assert drawn[2] == random.Random(2).random(), "what a seed drew before stays"


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_at_the_bounds_a_token_is_drawn(temperature, penalty):
    sampler = Sampler(Sampling(temperature=temperature, repetition_penalty=penalty), prompt=[0, 1])
    forbidden = torch.tensor([[0.0, -torch.inf]])
    assert next_tokens(torch.tensor([[20.0, -20.0, 19.0, 30.0]]), 15.0, forbidden, [sampler])[0][0] < 3


@pytest.mark.parametrize("beside", [{"temperature": 0}, {"temperature": 1}, {"temperature": 0, "logprobs": 1}])
def test_the_likeliest_token_does_not_depend_on_what_others_ask_for(beside):
    """Scores that the cap makes equal: the first of them would be taken after it."""
    scores = torch.tensor([[30.0, 30.000004], [1.0, 2.0]])
    samplers = [Sampler(Sampling(**settings), prompt=[]) for settings in ({"temperature": 0}, beside)]
    assert next_tokens(scores, 15.0, torch.zeros(2, 1), samplers)[0][0] == 1


@pytest.mark.parametrize(
    "bad",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"temperature": 1e-40},
        {"temperature": 1e39},
        {"repetition_penalty": 1e-45},
        {"top_k": 0},
        {"top_p": 0},
        {"top_p": 1.5},
        {"min_p": -0.1},
        {"repetition_penalty": 0},
        {"stop": ("",)},
        {"max_tokens": 0},
    ],
)
def test_sampling_that_means_nothing_is_refused(bad):
    with pytest.raises(UserError, match=next(iter(bad))):
        Sampling(**bad)
