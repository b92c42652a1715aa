"""Judges: whether an answer is right. They compare values, not strings, and use no floating-point numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

FINAL = "####"
"""What stands before the final value of an answer."""

_NUMBER = re.compile(
    r"(?:[$€£¥￥]\s*)?(?P<sign>[-+−]?)\s*(?:[$€£¥￥]\s*)?"
    r"(?P<digits>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+|(?=\.[0-9]))(?P<fraction>\.[0-9]*)?"
    r"\s*%?[.。]?(?:[\s\u4e00-\u9fff][^0-9]*)?"
)
"""A number; around it at most a sign for money or percent, a full stop, and words without digits after it."""
_BETWEEN_LETTERS = re.compile(r"[\s,，、-]+")
_BEFORE_SPELLING = re.compile(r".*[:：]", re.DOTALL)


def extract_final_value(text: str) -> str | None:
    """What stands on the line after the last `####`, without blanks around; None if nothing does."""
    _, mark, rest = text.rpartition(FINAL)
    line = rest.split("\n", 1)[0].strip()
    return line if mark and line else None


def same_value(a: str, b: str) -> bool:
    """Whether two texts give the same number, as `10.`, `$10`, `10.00` and `10%` do; else, the same text."""
    x, y = _number(a), _number(b)
    if x is None or y is None:
        return a.strip().casefold() == b.strip().casefold()
    return x == y


def same_final_value(reference: str, answer: str) -> bool:
    """Whether an answer gives a final value, and it is the reference's."""
    expected, found = extract_final_value(reference), extract_final_value(answer)
    return expected is not None and found is not None and same_value(expected, found)


def same_letter(reference: str, answer: str) -> bool:
    """Whether an answer is the reference's letter, and nothing else."""
    return reference.strip() == answer.strip()


def says_all(answer: str, expected: Iterable[str]) -> bool:
    """Whether each expected text is in the answer, in small letters or capitals."""
    return all(text.casefold() in answer.casefold() for text in expected)


def spelled_letters(text: str) -> list[str] | None:
    """The letters that a spelling names: c, a, t for `cat: c,a,t` and for `c-a-t`; None if there are none."""
    letters = _BETWEEN_LETTERS.split(_BEFORE_SPELLING.sub("", text).strip().rstrip(".。").casefold())
    return letters if all(len(letter) == 1 for letter in letters) else None


def same_spelling(reference: str, answer: str) -> bool:
    """Whether an answer spells what the reference spells."""
    expected = spelled_letters(reference)
    return expected is not None and spelled_letters(answer) == expected


def _number(text: str) -> Decimal | None:
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        return None
    sign, digits, fraction = match.group("sign", "digits", "fraction")
    minus = "-" if sign in ("-", "−") else ""  # in the text: arithmetic would round to 28 digits
    return Decimal(minus + (digits.replace(",", "") or "0") + (fraction or ""))
