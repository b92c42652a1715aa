"""Multiple-choice items: a question, its choices in random order, and which of them is right."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from .facts import World
from .relations import Question, relations, shown_value

ALIKE = (
    {"grass", "hay", "leaves", "water plants", "carrots", "potatoes", "corn", "seeds"},
    {"mice", "meat", "fish", "flies"},
    {"berries", "nuts", "seeds", "carrots"},
    {"in a meadow", "in a stable", "in a farmyard", "in a house"},
    {"in a forest", "in a cave", "in a burrow", "in the mountains", "in the jungle"},
    {"a cub", "a pup", "a puppy", "a kid", "a bunny"},
    {"a chick", "a hatchling", "an owlet"},
    {"wood", "oak", "pine", "bamboo", "willow", "clay", "glass", "iron", "tin", "brass", "silver"},
    {"wool", "silk", "leather", "straw", "paper"},
    {"straw", "willow"},
    {"leather", "wood"},
    {"leather", "tin"},
    {"glass", "paper"},
    {"wood", "paper"},
    {"berries", "fish", "meat", "mice"},
    {"berries", "leaves"},
    {"leaves", "nuts"},
    {"corn", "flies"},
    {"in a farmyard", "in a meadow", "in the mountains"},
    {"in a farmyard", "in a pond"},
    {"in a meadow", "in a burrow"},
    {"in a meadow", "in a hive"},
    {"a kitten", "a bunny"},
    {"a kitten", "a cub"},
    {"a kitten", "a pup"},
    {"cutting wood", "slicing bread"},
    {"saw", "knife"},
    {"milk", "wool"},
    {"cow", "sheep"},
    {"big", "tall"},
    {"small", "short"},
    {"the wind", "running water", "steam"},
    {"a motor", "a spring", "a horse"},
)
"""Choices that a sensible person could defend for each other: never offered together."""
_ALIKE = {word: set().union(*(group for group in ALIKE if word in group)) for word in set().union(*ALIKE)}
_WHERE = ("place.setting", "animal.lives")
"""Relations whose values are no things: nobody says `Find in a web.`"""


@dataclass(frozen=True)
class Item:
    """A question with its choices; `answer` is the place of the right one."""

    question: str
    subject: str
    choices: tuple[str, ...]
    answer: int

    @property
    def right(self) -> str:
        """The right choice."""
        return self.choices[self.answer]


def ask(world: World, question: Question, rng: random.Random, number: int = 4) -> Item:
    """A question about a fact with `number` choices; the wrong ones are of its kind, and surely wrong."""
    facts = world.of_relation[question.fact.relation]
    if question.back:
        true = {str(f.entity) for f in facts if alike(str(f.value), str(question.fact.value))}
        pool = {str(f.entity) for f in facts} - true - {shown_value(question.fact)}
    else:
        pool = {shown_value(f) for f in facts} - {question.answer, str(question.fact.entity)}
    subject = relations()[question.fact.relation].subject
    return _item(question.text, subject, question.answer, sorted(pool), rng, number)


def exercise(world: World, rng: random.Random, number: int = 4) -> Item:
    """A question that can be answered by reading alone: it practises finding the letter of a choice."""
    pool = alternatives(world, rng)
    right = rng.choice(pool)
    form = rng.choice(("Which choice says {}?", "Find {}.", "Which letter stands for {}?", "Choose {}."))
    wrong = [word for word in pool if word != right]
    return _item(form.format(right), "reading", right, wrong, rng, number)


def alternatives(world: World, rng: random.Random) -> list[str]:
    """Things of one kind that could stand beside each other as choices."""
    facts = world.of_relation[rng.choice([name for name in relations() if name not in _WHERE])]
    if rng.random() < 0.5:
        return sorted({shown_value(fact) for fact in facts})
    return sorted({str(fact.entity) for fact in facts})


def _item(text: str, subject: str, right: str, pool: Sequence[str], rng: random.Random, number: int) -> Item:
    fitting = [choice for choice in pool if not alike(choice, right)]
    wrong = rng.sample(fitting, min(len(fitting), number - 1))
    place = rng.randrange(len(wrong) + 1)
    return Item(text, subject, (*wrong[:place], right, *wrong[place:]), place)


def alike(one: str, other: str) -> bool:
    """Whether two choices are the same, or could be defended for each other."""
    return one == other or other in _ALIKE.get(one, ())
