"""Multiple-choice questions about the world's facts, in the shapes of MMLU and ARC."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from typing import Literal

from .choices import Item, ask, exercise
from .facts import World
from .relations import Question, asked, questions, relations
from .splits import Split, shuffled, stream

Part = Split | Literal["unseen"]
"""`unseen`: in wordings that training has for no fact at all."""

EXERCISE_SHARE = 0.2
"""Training questions that only practise finding the letter of a choice."""
ARC_SUBJECTS = frozenset({"animals", "how things are made", "how things work", "words", "calendar", "seasons"})
"""What is asked in the shape of ARC: what holds in every world."""


def write_multiple_choice(world: World, number: int, part: Part) -> list[Item]:
    """As many questions as asked, no two alike, in random order.

    Validation and test ask pairings of wording and fact that train never asks. The right choice is anywhere
    with equal chance.
    """
    rng = stream(world.seed, "multiple-choice", part)
    exercises = round(number * EXERCISE_SHARE) if part == "train" else 0
    items = _distinct((ask(world, q, rng) for q in _rounds(_asked(world, part), rng)), number - exercises)
    items += _distinct((exercise(world, rng) for _ in itertools.count()), exercises)
    return shuffled(rng, items)


def write_arc(world: World, number: int, part: Split) -> list[Item]:
    """Questions with 3 to 5 choices about what holds in every world."""
    rng = stream(world.seed, "arc", part)
    asked = [q for q in _asked(world, part) if relations()[q.fact.relation].subject in ARC_SUBJECTS]
    return _distinct((ask(world, q, rng, rng.randint(3, 5)) for q in _rounds(asked, rng)), number)


def _asked(world: World, part: Part) -> list[Question]:
    if part == "unseen":
        return list(questions(world, "unseen"))
    return asked(world, part)


def _rounds(asked: Sequence[Question], rng: random.Random) -> Iterator[Question]:
    """Every question once before any comes again, for ever."""
    while True:
        yield from shuffled(rng, asked)


def _distinct(items: Iterator[Item], number: int) -> list[Item]:
    found: dict[Item, None] = {}
    while len(found) < number:
        found.setdefault(next(items))
    return list(found)
