import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parrotlet.world.phrases import (
    article,
    capitalised,
    counted,
    expand,
    fill,
    in_words,
    listed,
    plural,
    possessive,
    prose,
)

SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
TENS = "ten twenty thirty forty fifty sixty seventy eighty ninety"
VALUES = {word: 10 * n for n, word in enumerate(TENS.split(), start=1)}
VALUES |= {word: n for n, word in enumerate(SMALL.split())}


def read_number(text: str) -> int:
    """The number that English words name: written independently of `in_words`."""
    total = part = 0
    for word in text.replace("-", " ").replace(" and ", " ").split():
        if word == "thousand":
            total, part = total + 1000 * part, 0
        elif word == "hundred":
            part *= 100
        else:
            part += VALUES[word]
    return total + part


@given(st.integers(0, 9_999))
def test_numbers_in_words_name_their_number(number: int) -> None:
    assert read_number(in_words(number)) == number


def test_numbers_in_words_are_written_as_people_do() -> None:
    assert in_words(47) == "forty-seven"
    assert in_words(107) == "one hundred and seven"
    assert in_words(1_340) == "one thousand three hundred and forty"


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("owl", "an owl"),
        ("kite", "a kite"),
        ("unicorn", "a unicorn"),
        ("hour", "an hour"),
        ("umbrella", "an umbrella"),
        ("used lamp", "a used lamp"),
    ],
)
def test_article(noun: str, expected: str) -> None:
    assert article(noun) == expected


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("cherry", "cherries"),
        ("day", "days"),
        ("box", "boxes"),
        ("goose", "geese"),
        ("toy shop", "toy shops"),
        ("honey cake", "honey cakes"),
        ("knife", "knives"),
        ("tomato", "tomatoes"),
    ],
)
def test_plural(noun: str, expected: str) -> None:
    assert plural(noun) == expected


def test_small_forms() -> None:
    assert counted(1, "kite") == "1 kite"
    assert counted(3, "scarf") == "3 scarves"
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert (possessive("she"), possessive("Max")) == ("her", "Max's")


def test_templates() -> None:
    rng = random.Random(0)
    assert expand("[a|[b|c]]{n:w}", rng, {"n": 2}) in {"atwo", "btwo", "ctwo"}
    assert fill("{x:A} and {x:S}", {"x": "owl"}) == "An owl and Owls"
    assert prose("he came[|] . [|] she left.", rng, {}) == "He came. She left."
    assert prose('"[Really?|Why?]," he said.', rng, {}).endswith('?" he said.')
    assert capitalised("one. two!\nthree? four") == "One. Two!\nThree? Four"


def test_a_slot_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        fill("{nobody}", {})
