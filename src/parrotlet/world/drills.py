"""Choosing, practised: a short question, a short list with letters, a letter.

To find a choice in the list and to say its letter is the hardest thing that the small model of the embedded world
learns: it takes some ten thousand examples, and words that are single tokens. So these are many, and very short.
"""

from __future__ import annotations

import random

from .choices import Item, ask
from .facts import World
from .relations import asked
from .splits import stream
from .talk import Talk, conversation

FACTS_SHARE = 0.4
"""Conversations that ask for facts; the others name what stands in the list."""
_ASKED = ("Find {}.", "Choose {}.", "Where is {}?", "Which letter has {}?", "What is the letter of {}?", "Take {}.")


def write_drills(world: World, number: int) -> list[Talk]:
    """As many conversations as asked, no two alike; all for training, with training's questions alone."""
    rng = stream(world.seed, "drills")
    questions, words = asked(world, "train"), _words(world)
    written: dict[Item, None] = {}
    while len(written) < number:
        choices = rng.randint(3, 5)
        facts = rng.random() < FACTS_SHARE
        written.setdefault(ask(world, rng.choice(questions), rng, choices) if facts else _find(words, rng, choices))
    return [_drill(item) for item in written]


def _find(words: list[str], rng: random.Random, choices: int) -> Item:
    chosen, place = tuple(rng.sample(words, choices)), rng.randrange(choices)
    return Item(rng.choice(_ASKED).format(chosen[place]), "reading", chosen, place)


def _words(world: World) -> list[str]:
    """What people, towns, animals, goods, trades and foods are called in one word: the world's most frequent names."""
    named = [*world.people, *world.places, *world.animals, *world.goods]
    of_people = [term for person in world.people for term in (person.job, person.food, person.pet)]
    return sorted({term.en for term in (*named, *of_people) if " " not in term.en})


def _drill(item: Item) -> Talk:
    lines = [f"- {choice}={letter}" for choice, letter in zip(item.choices, "ABCDE", strict=False)]
    return conversation([("\n".join((item.question, *lines)), "ABCDE"[item.answer])], source="world/drill")
