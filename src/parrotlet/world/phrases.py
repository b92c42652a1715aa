"""The little template language that the world's texts are written in, and the grammar that it leans on.

`[a|b|c]` picks one (nested as deep as you like, an empty choice is allowed), `{p.home}` fills in an
attribute, and a filter behind a colon changes its form: `{g:a}` with "a" or "an", `{g:s}` in the plural,
`{n:w}` a number in words, `{x:C}` with a capital, `{p:of}` as a possessive.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{([\w.]+)(?::(\w+))?\}")
_SENTENCE_START = re.compile(r"(?:^|(?<=\n)|(?<=[.!?] ))([a-z])")

_IRREGULAR = {
    "scarf": "scarves",
    "loaf": "loaves",
    "knife": "knives",
    "shelf": "shelves",
    "potato": "potatoes",
    "tomato": "tomatoes",
    "wolf": "wolves",
    "tooth": "teeth",
    "woman": "women",
    "deer": "deer",
    "leaf": "leaves",
    "half": "halves",
    "calf": "calves",
    "child": "children",
    "sheep": "sheep",
    "goose": "geese",
    "mouse": "mice",
    "trout": "trout",
    "fish": "fish",
}
_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen - twenty thirty forty fifty sixty seventy eighty ninety"
)
_ONES, _TENS = (part.split() for part in _SMALL.split(" - "))


def expand(template: str, rng: random.Random, slots: Mapping[str, Any]) -> str:
    """Write out a template: choices are drawn, slots are filled from `slots`."""
    return fill(choose(template, rng), slots)


def choose(template: str, rng: random.Random) -> str:
    """Draw the choices of a template; its slots stay."""
    while "[" in template:
        template = _CHOICE.sub(lambda match: rng.choice(match[1].split("|")), template)
    return template


def fill(template: str, slots: Mapping[str, Any]) -> str:
    """Fill the slots of a template without choices."""

    def value(match: re.Match[str]) -> str:
        name, *path = match[1].split(".")
        found = slots[name]
        for attribute in path:
            found = getattr(found, attribute)
        return FILTERS[match[2]](found) if match[2] else str(found)

    return _SLOT.sub(value, template)


def prose(template: str, rng: random.Random, slots: Mapping[str, Any]) -> str:
    """Like `expand`, with every sentence beginning with a capital and no blanks left by empty choices."""
    text = re.sub(r" +([,.!?;:]|$|(?=\n))", r"\1", expand(template, rng, slots))
    text = re.sub(r'([?!])[,.]"', r'\1"', text)  # a question keeps its mark where a sentence would go on
    return capitalised(re.sub(r"(?m)^ +| +(?= )", "", text))


def capitalised(text: str) -> str:
    """Every sentence with a capital at its start."""
    return _SENTENCE_START.sub(lambda match: match[1].upper(), text)


def article(noun: str) -> str:
    """The noun with its indefinite article: an owl, a unicorn, an hour."""
    vowel = noun[0].lower() in "aeiou" and not re.match(r"uni|use|eu|one\b", noun)
    return f"{'an' if vowel or noun.startswith(('hour', 'honest')) else 'a'} {noun}"


def plural(noun: str) -> str:
    """The plural of a noun; of a phrase, that of its last word."""
    head, _, last = noun.rpartition(" ")
    return f"{head} {_plural_word(last)}" if head else _plural_word(last)


def _plural_word(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if re.search(r"(s|x|z|ch|sh)$", word):
        return word + "es"
    if re.search(r"[^aeiou]y$", word):
        return word[:-1] + "ies"
    return word + "s"


def counted(number: int, noun: str) -> str:
    """A number of things: 1 kite, 3 kites."""
    return f"{number} {noun if number == 1 else plural(noun)}"


def in_words(number: int) -> str:
    """A whole number from 0 to 9,999 in words."""
    assert 0 <= number < 10_000
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens - 2] + (f"-{_ONES[ones]}" if ones else "")
    size, name = (100, "hundred") if number < 1000 else (1000, "thousand")
    upper, rest = divmod(number, size)
    joint = " and " if rest < 100 else " "
    return f"{in_words(upper)} {name}" + (f"{joint}{in_words(rest)}" if rest else "")


def listed(items: Sequence[str], joint: str = "and") -> str:
    """Items as one phrase: a, b and c."""
    *most, last = items
    return f"{', '.join(most)} {joint} {last}" if most else last


def possessive(name: str) -> str:
    """Mia's; pronouns have their own."""
    return {"he": "his", "she": "her", "they": "their"}.get(name, f"{name}'s")


def _first_capital(text: object) -> str:
    shown = str(text)
    return shown[:1].upper() + shown[1:]


FILTERS: dict[str, Callable[[Any], str]] = {
    "a": lambda noun: article(str(noun)),
    "A": lambda noun: _first_capital(article(str(noun))),
    "s": lambda noun: plural(str(noun)),
    "S": lambda noun: _first_capital(plural(str(noun))),
    "w": lambda number: in_words(int(number)),
    "W": lambda number: _first_capital(in_words(int(number))),
    "C": _first_capital,
    "of": lambda name: possessive(str(name)),
}
