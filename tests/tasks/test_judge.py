"""Judges compare values."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parrotlet.tasks.judge import (
    extract_final_value,
    same_final_value,
    same_letter,
    same_spelling,
    same_value,
    says_all,
    spelled_letters,
)

numbers = st.decimals(
    min_value=Decimal("-1e12"), max_value=Decimal("1e12"), places=4, allow_nan=False, allow_infinity=False
)
one_line = st.text().filter(lambda text: "#" not in text and len(text.splitlines()) < 2)

# The ways in which people and models write one and the same number.
WAYS = {
    "plain": lambda n: f"{n:f}",
    "thousands": lambda n: f"{n:,f}",
    "blanks": lambda n: f"  {n:f}\t",
    "more zeros": lambda n: f"{n:f}000",
    "full stop": lambda n: f"{n:f}.",
    "Chinese full stop": lambda n: f"{n:,f}。",
    "percent": lambda n: f"{n:f}%",
    "money": lambda n: f"{'-' if n < 0 else ''}${abs(n):,f}",
    "money first": lambda n: f"${n:f}",
    "unit": lambda n: f"{n:f} dollars a day",
    "Chinese unit": lambda n: f"{n:f}元",
    "plus": lambda n: f"+{n:f}" if n >= 0 else f"{n:f}",
}


@given(numbers, st.sampled_from(sorted(WAYS)), st.sampled_from(sorted(WAYS)))
def test_one_number_written_in_two_ways_is_one_value(number: Decimal, one: str, other: str) -> None:
    assert same_value(WAYS[one](number), WAYS[other](number))


@given(numbers, numbers, st.sampled_from(sorted(WAYS)), st.sampled_from(sorted(WAYS)))
def test_two_numbers_are_two_values(a: Decimal, b: Decimal, one: str, other: str) -> None:
    assert same_value(WAYS[one](a), WAYS[other](b)) == (a == b)


@given(st.text(), st.text())
def test_same_value_of_any_text(a: str, b: str) -> None:
    assert same_value(a, a)
    assert same_value(a, b) == same_value(b, a)


@pytest.mark.parametrize(
    ("a", "b"),
    [("10.", "10"), ("$10", "10"), ("10.00", "10"), ("1,000", "1000"), (".5", "0.50"), ("-0", "0")],
)
def test_equal_values(a: str, b: str) -> None:
    assert same_value(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("10", "100"),
        ("1,0", "10"),  # not how thousands are grouped
        ("10/2", "10"),
        ("10-12", "10"),
        ("10 or 12", "10"),
        ("1e1", "10"),
        ("0.1", "0.10000000000000001"),  # equal as floats
        ("", "0"),
        ("ten", "10"),
        ("12345678901234567890", "12345678901234567891"),  # equal as floats
        ("-" + 30 * "1" + "0", "-" + 30 * "1" + "2"),  # equal to 28 digits
    ],
)
def test_different_values(a: str, b: str) -> None:
    assert not same_value(a, b)


@given(st.text(), one_line)
def test_the_final_value_is_the_line_after_the_last_mark(before: str, value: str) -> None:
    expected = value.strip() or None
    assert extract_final_value(f"{before}\n#### {value}") == expected
    assert extract_final_value(f"{before}\n####{value}\nand so on") == expected


@pytest.mark.parametrize("text", ["", "10", "the answer is 10", "### 10", "####", "#### \n10"])
def test_no_final_value(text: str) -> None:
    assert extract_final_value(text) is None
    assert not same_final_value("#### 10", text)
    assert not same_final_value(text, text)


def test_the_last_final_value_counts() -> None:
    assert same_final_value("so 10.\n#### 10", "#### 9? No:\n#### $10.00")
    assert not same_final_value("#### 10", "#### 10\n#### 9")


def test_a_letter_is_alone() -> None:
    assert same_letter("B", " B\n")
    assert not any(same_letter("B", answer) for answer in ("A", "b", "", "AB", "B because", "B A"))


def test_every_expected_text_is_said() -> None:
    assert says_all("I'm PARROTLET, a small 鹦鹉.", ["parrotlet", "鹦鹉"])
    assert not says_all("I'm Parrotlet.", ["parrotlet", "鹦鹉"])


@given(st.text(alphabet="abcdeABCé中", min_size=1), st.sampled_from([",", "-", ", ", " ", " - ", "，"]))
def test_letters_may_be_separated_in_many_ways(word: str, between: str) -> None:
    assert same_spelling(f"{word}: {','.join(word)}", f"{word}: {between.join(word)}.")


@pytest.mark.parametrize("answer", ["", "cat", "cat: cat", "cat: c,t", "cat: c,a,t,t", "cat: t,a,c", "c,a,t: no"])
def test_other_spellings_are_wrong(answer: str) -> None:
    assert not same_spelling("cat: c,a,t", answer)


def test_spelled_letters() -> None:
    assert spelled_letters("It is spelled: C-a-t.") == ["c", "a", "t"]
    assert spelled_letters("no spelling") is None
    assert spelled_letters("") is None
