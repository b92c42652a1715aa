from collections import Counter

import pytest

from parrotlet.world.building import build_world
from parrotlet.world.choices import ALIKE, Item, exercise
from parrotlet.world.questions import ARC_SUBJECTS, write_arc, write_multiple_choice
from parrotlet.world.relations import questions
from parrotlet.world.splits import stream


@pytest.fixture(scope="module")
def train(world) -> list[Item]:
    return write_multiple_choice(world, 8_000, "train")


@pytest.fixture(scope="module")
def test_set(world) -> list[Item]:
    return write_multiple_choice(world, 300, "test")


def test_the_marked_choice_is_right_and_no_other(world, train, test_set) -> None:
    right: dict[str, set[str]] = {}
    for form in ("asks", "asks_back"):
        for question in questions(world, form):
            right.setdefault(question.text, set()).add(question.answer)
    for item in [*train, *test_set, *write_arc(world, 500, "train")]:
        if item.subject != "reading":
            assert [c for c in item.choices if c in right[item.question]] == [item.right], item


def test_choices_differ_and_wrong_ones_are_surely_wrong(train) -> None:
    for item in train:
        assert len(set(item.choices)) == len(item.choices) == 4
        for group in ALIKE:
            if item.right in group:
                assert not group & (set(item.choices) - {item.right}), item


def test_the_right_choice_is_anywhere_equally_often(world, train) -> None:
    for items in (train, write_multiple_choice(world, 1_000, "test")):
        found = Counter(item.answer for item in items)
        expected = len(items) / 4
        chi_square = sum((found[place] - expected) ** 2 / expected for place in range(4))
        assert chi_square < 16.3, found  # 0.1 % of fair draws are beyond (3 degrees of freedom)


def test_questions_of_test_and_validation_are_never_trained_on(world, train, test_set) -> None:
    trained = {item.question for item in train} | {i.question for i in write_arc(world, 4_000, "train")}
    for part in ("validation", "test"):
        held_out = [*write_multiple_choice(world, 300, part), *write_arc(world, 300, part)]
        assert not trained & {item.question for item in held_out}
    unseen = {item.question for item in write_multiple_choice(world, 300, "unseen")}
    assert not unseen & (trained | {item.question for item in test_set})


def test_every_fact_is_trained_on_several_times(world, train) -> None:
    times = Counter(item.question for item in train)
    asked: Counter[object] = Counter()
    for form in ("asks", "asks_back"):
        for question in questions(world, form, "train"):
            asked[question.fact] += times[question.text]
    assert min(asked[fact] for fact in world.facts) >= 4


def test_subjects(world, train) -> None:
    subjects = Counter(item.subject for item in train)
    assert subjects["reading"] == 0.2 * len(train)
    assert set(subjects) > ARC_SUBJECTS | {"people", "places", "shops", "prices"}
    assert {item.subject for item in write_arc(world, 1_000, "train")} == ARC_SUBJECTS


def test_arc_has_three_to_five_choices(world) -> None:
    numbers = Counter(len(item.choices) for item in write_arc(world, 1_000, "train"))
    assert set(numbers) == {3, 4, 5}
    assert min(numbers.values()) > 200


def test_an_exercise_can_be_answered_by_reading(world) -> None:
    rng = stream(0, "exercise")
    assert all((item := exercise(world, rng)).right in item.question for _ in range(100))


def test_no_two_are_alike(world, train) -> None:
    assert len(set(train)) == len(train)


def test_another_seed_holds_out_other_questions() -> None:
    one, two = ({i.question for i in write_multiple_choice(build_world(s), 200, "test")} for s in (0, 1))
    assert len(one & two) < 100
