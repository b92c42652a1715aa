"""The learning rate's factor and Muon's momentum, from the step alone."""

from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from parrotlet.optim import lr_multiplier, muon_momentum

SHARES = st.floats(0, 1)
TOTALS = st.integers(1, 300)


@given(total=TOTALS, past=st.integers(0, 50), warmup=SHARES, warmdown=SHARES, final=SHARES)
def test_it_stays_between_0_and_1_and_ends_at_the_final_share(total, past, warmup, warmdown, final):
    """Also past the planned end, where others run below 0."""
    schedule = {"warmup_frac": warmup, "warmdown_frac": warmdown, "final_frac": final}
    factors = [lr_multiplier(step, total, **schedule) for step in range(total + past + 1)]
    assert min(factors) >= 0
    assert max(factors) <= 1
    assert all(factor == final for factor in factors[total:])
    assert all(factor > 0 for factor in factors[:total]), "a step that moves nothing"


@given(total=TOTALS, warmup=SHARES, warmdown=SHARES, final=SHARES)
def test_it_rises_then_stays_then_falls(total, warmup, warmdown, final):
    factors = [
        lr_multiplier(step, total, warmup_frac=warmup, warmdown_frac=warmdown, final_frac=final)
        for step in range(total + 5)
    ]
    peak = factors.index(max(factors))
    assert all(a <= b for a, b in pairwise(factors[: peak + 1]))
    assert all(a >= b for a, b in pairwise(factors[peak:]))


@given(total=st.integers(1, 300), warmup=SHARES, warmdown=SHARES, final=SHARES)
def test_it_is_1_between_the_two(total, warmup, warmdown, final):
    assume(warmup + warmdown <= 1)
    for step in range(total):
        factor = lr_multiplier(step, total, warmup_frac=warmup, warmdown_frac=warmdown, final_frac=final)
        if warmup * total <= step + 1 and total - step >= warmdown * total:
            assert factor == 1
        elif final < 1 - 1e-9:
            assert factor < 1


@given(warmup=st.integers(1, 50), warmdown=st.integers(1, 50), between=st.integers(-50, 50), final=SHARES)
def test_both_ramps_are_straight_and_the_lower_one_counts(warmup, warmdown, between, final):
    """In whole steps: the first is 1/warmup of the full rate, and every step of a ramp changes it by the same."""
    total = max(warmup, warmdown, warmup + between + warmdown)
    for step in range(total + 1):
        factor = lr_multiplier(
            step, total, warmup_frac=warmup / total, warmdown_frac=warmdown / total, final_frac=final
        )
        up = (step + 1) / warmup
        down = final + (1 - final) * (total - step) / warmdown
        assert factor == pytest.approx(min(up, 1, down), abs=1e-9)


def test_without_ramps_it_is_1_to_the_end():
    assert [lr_multiplier(step, 4) for step in range(6)] == [1, 1, 1, 1, 0, 0]


def test_examples():
    base = [lr_multiplier(step, 10, warmdown_frac=0.2) for step in range(11)]
    assert base == pytest.approx([1] * 9 + [0.5, 0])
    sft = [lr_multiplier(step, 4, warmdown_frac=1.0) for step in range(5)]
    assert sft == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    warm = [lr_multiplier(step, 10, warmup_frac=0.4, warmdown_frac=0.5, final_frac=0.1) for step in range(11)]
    assert warm == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 0.82, 0.64, 0.46, 0.28, 0.1])


@pytest.mark.parametrize(
    "bad",
    [
        {"final_frac": -0.1},
        {"final_frac": 1.5},
        {"warmup_frac": -0.1},
        {"warmdown_frac": -0.1},
        {"warmup_frac": 1.1},
    ],
    ids=str,
)
def test_what_is_no_share_is_refused(bad):
    with pytest.raises((AssertionError, ValueError), match=next(iter(bad))):
        lr_multiplier(5, 10, **bad)


# Momentum


MOMENTA = st.floats(0, 1)


@given(start=MOMENTA, end=MOMENTA, warmup_steps=st.integers(0, 100))
def test_momentum_goes_straight_from_start_to_end_and_stays(start, end, warmup_steps):
    momenta = [
        muon_momentum(step, start=start, end=end, warmup_steps=warmup_steps) for step in range(warmup_steps + 20)
    ]
    assert momenta[0] == (start if warmup_steps else end)
    assert all(momentum == end for momentum in momenta[warmup_steps:])
    for step, momentum in enumerate(momenta[:warmup_steps]):
        assert momentum == pytest.approx(start + (end - start) * step / warmup_steps, abs=1e-12)


def test_momentum_of_the_defaults():
    momenta = [muon_momentum(step, start=0.85, end=0.95, warmup_steps=300) for step in (0, 150, 300, 10_000)]
    assert momenta == pytest.approx([0.85, 0.9, 0.95, 0.95])
