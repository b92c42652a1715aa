import re
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parrotlet.tools import ToolError, calculate
from parrotlet.world.building import build_world
from parrotlet.world.problems import (
    DIVISION_BY_ZERO,
    Problem,
    _drawn,
    _fitting,
    _pairings,
    compute,
    templates,
    work_out,
    write_problems,
    written,
)
from parrotlet.world.splits import stream

ANNOTATION = re.compile(r"<<([^=]+)=([^>]+)>>")


@pytest.fixture(scope="module")
def train(world) -> list[Problem]:
    return write_problems(world, 3_000, "train")


@pytest.fixture(scope="module")
def test_set(world) -> list[Problem]:
    return write_problems(world, 300, "test")


def test_every_annotation_is_what_the_calculator_says(world, train, test_set) -> None:
    failed = 0
    for problem in [*train, *test_set, *write_problems(world, 100, "unseen")]:
        steps = ANNOTATION.findall(problem.answer)
        assert 1 <= len(steps) <= 4, problem
        for expression, result in steps:
            if result == DIVISION_BY_ZERO:
                failed += 1
                with pytest.raises(ToolError, match="division by zero"):
                    calculate(expression)
            else:
                assert calculate(expression) == result, problem
    assert 0.01 < failed / 3_400 < 0.12


def test_the_text_goes_on_with_the_result_and_ends_with_the_answer(train) -> None:
    for problem in train:
        body, final = problem.answer.split("\n#### ")
        steps = [step for step in ANNOTATION.findall(body) if step[1] != DIVISION_BY_ZERO]
        for expression, result in steps:
            assert f"<<{expression}={result}>>{result}" in body
        assert final == steps[-1][1] if steps else final in problem.question
        assert Fraction(final) >= 0


def test_numbers_of_the_first_step_come_from_the_question(train) -> None:
    for problem in train:
        first = ANNOTATION.search(problem.answer)
        assert first
        for number in re.findall(r"[\d.]+", first[1]):
            known = number in re.findall(r"\d+", problem.question) or number in ("2", "4", "60")
            assert known, problem


def test_nothing_in_test_was_paired_in_training(world, train, test_set) -> None:
    assert not {p.question for p in train} & {p.question for p in test_set}
    numbers = [{(p.form, *re.findall(r"\d+", p.question)) for p in problems} for problems in (train, test_set)]
    assert not numbers[0] & numbers[1]


def test_pairings_decide_the_split(world) -> None:
    seen: dict[str, set[tuple[object, ...]]] = {"train": set(), "test": set()}
    rng = stream(1, "pairings")
    for part, found in seen.items():
        for template in templates():
            if template.unseen:
                continue
            for _ in range(5):
                cast = _fitting(template, world, rng, part)
                if cast is not None:
                    found |= {(template.name, *pairing) for pairing in _pairings(template, cast)}
    assert seen["train"]
    assert seen["test"]
    assert not seen["train"] & seen["test"]


def test_templates_are_many_and_all_are_used(train, test_set) -> None:
    seen = {t.name for t in templates() if not t.unseen}
    assert len(seen) >= 25
    assert {p.form for p in train} == seen
    counts = Counter(p.form for p in test_set)
    assert len(counts) >= 0.9 * len(seen)
    assert max(counts.values()) <= 3 * 300 / len(seen)


def test_unseen_templates_are_not_in_training(world, train) -> None:
    forms = {p.form for p in write_problems(world, 100, "unseen")}
    assert len(forms) >= 4
    assert not forms & {p.form for p in train}


def test_prices_are_the_worlds(world, train) -> None:
    prices = {good.en: good.price for good in world.goods}
    told = [
        (good, price)
        for problem in train
        for good, price in re.findall(r"\b(\w+) costs (\d+) dollars", problem.question)
        if good in prices
    ]
    assert len(told) > 50
    assert all(prices[good] == int(price) for good, price in told)


@given(st.lists(st.tuples(st.sampled_from("+-*"), st.integers(0, 999)), max_size=4), st.integers(0, 999))
def test_compute_agrees_with_python(rest: list[tuple[str, int]], first: int) -> None:
    expression = str(first) + "".join(f"{sign}{number}" for sign, number in rest)
    assert compute(expression) == eval(expression)


def test_compute_knows_division() -> None:
    assert compute("36/60*5") == 3
    with pytest.raises(ZeroDivisionError):
        compute("6/0")


@given(st.integers(0, 10**9), st.sampled_from([1, 2, 4, 5, 8, 10, 100]))
def test_values_are_written_as_the_calculator_writes_them(number: int, divisor: int) -> None:
    assert written(Fraction(number, divisor)) == calculate(f"{number}/{divisor}")


def test_work_out_names_results() -> None:
    assert work_out("{n} x 2 = <<{n}*2 -> a>>, half is <<{a}/2 -> b>>", {"n": 3}) == (
        "3 x 2 = <<3*2=6>>6, half is <<6/2=3>>3\n#### 3"
    )


@pytest.mark.parametrize("seed", range(1, 5))
def test_other_seeds_have_test_sets_too(seed: int) -> None:
    assert len(write_problems(build_world(seed), 60, "test")) == 60


def test_results_are_not_named_like_people_or_goods() -> None:
    for template in templates():
        results = set(re.findall(r"-> (\w+)>>", "".join(template.answers)))
        assert not results & {"p", "q", "g", "h", "l", "n", "k", *(name for name, _ in template.draws)}


def test_draws_follow_their_rules(world) -> None:
    by_name = {template.name: template for template in templates()}
    for draw in range(50):
        cast = _drawn(by_name["shared equally"], world, stream(draw, "rules"))
        assert cast["n"] % cast["k"] == 0
        cast = _drawn(by_name["gave away"], world, stream(draw, "rules"))
        assert cast["n"] > cast["k"]
