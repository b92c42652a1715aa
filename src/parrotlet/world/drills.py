"""Multiple choice in small steps: to say a fact in a word, to find a choice's letter, then to choose by a fact.

A small model does not learn the three at once, however many examples it sees of the whole; one after the other it does.
So these are many, and very short; and what is looked for in a list is a single token.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from .choices import Item, ask
from .facts import World
from .phrases import capitalised
from .relations import asked, asked_openly
from .splits import shuffled, stream
from .talk import Talk, conversation

_FORMS = ("Find {}.", "Choose {}.", "Where is {}?", "Which letter has {}?", "What is the letter of {}?", "Take {}.")


def write_questions(world: World) -> list[Talk]:
    """Every question that training may ask and that has one answer, answered without a sentence."""
    rng = stream(world.seed, "questions")
    questions = asked_openly(world, "train")
    times = Counter(question.text for question in questions)
    told = [(q.text, f"{capitalised(q.answer)}.") for q in questions if times[q.text] == 1]
    return [conversation([turn], source="world/question") for turn in shuffled(rng, told)]


def write_finding(world: World, number: int) -> list[Talk]:
    """Lists of names of the world, one of which is to be found; no two alike.

    The first third are lists of two, with which it is learned soonest, the others of three to five.
    """
    rng, words = stream(world.seed, "finding"), _words(world)
    pairs = _drills(number // 3, lambda: _find(words, rng, 2))
    return pairs + _drills(number - len(pairs), lambda: _find(words, rng, rng.randint(3, 5)))


def write_choosing(world: World, number: int) -> list[Talk]:
    """Questions about facts with three to five choices; no two alike; training's questions alone."""
    rng, questions = stream(world.seed, "choosing"), asked(world, "train")
    return _drills(number, lambda: ask(world, rng.choice(questions), rng, rng.randint(3, 5)))


def _drills(number: int, draw: Callable[[], Item]) -> list[Talk]:
    written: dict[Item, None] = {}
    while len(written) < number:
        written.setdefault(draw())
    return [_drill(item) for item in written]


def _find(words: list[str], rng: random.Random, choices: int) -> Item:
    chosen, place = tuple(rng.sample(words, choices)), rng.randrange(choices)
    return Item(rng.choice(_FORMS).format(chosen[place]), "reading", chosen, place)


def _words(world: World) -> list[str]:
    """What people, towns, animals, goods, trades and foods are called in one word: the world's most frequent names."""
    named = [*world.people, *world.places, *world.animals, *world.goods]
    of_people = [term for person in world.people for term in (person.job, person.food, person.pet)]
    return sorted({term.en for term in (*named, *of_people) if " " not in term.en})


def _drill(item: Item) -> Talk:
    lines = [f"- {choice}={letter}" for choice, letter in zip(item.choices, "ABCDE", strict=False)]
    return conversation([("\n".join((item.question, *lines)), "ABCDE"[item.answer])], source="world/drill")
