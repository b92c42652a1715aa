"""Facts in words: what is said of them and asked about them. The wordings stand in `texts/relations.txt`."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from . import library
from .facts import Fact, Person, Term, World
from .phrases import capitalised, fill
from .splits import Split, split_of

MARKS = {
    "+": "says",
    "?": "asks",
    "<": "asks_back",
    "~": "unseen",
    "中": "says_zh",
    "问": "asks_zh",
    "=": "shows",
}

Wording = Literal["asks", "asks_back", "unseen"]


@dataclass(frozen=True, kw_only=True)
class Relation:
    """Everything that can be said and asked about one kind of fact."""

    name: str
    subject: str
    """The `subject` of its multiple-choice questions."""
    says: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()
    asks_back: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    says_zh: tuple[str, ...] = ()
    asks_zh: tuple[str, ...] = ()
    shows: tuple[str, ...] = ("{v}",)
    """How a choice shows the value."""

    def shown(self, value: Term) -> str:
        """A value as a choice."""
        return fill(self.shows[0], {"v": value})


@cache
def relations() -> Mapping[str, Relation]:
    """All relations by name."""
    return {section.title[0]: _relation(section) for section in library.read("relations")}


def _relation(section: library.Section) -> Relation:
    name, subject = section.title
    wordings: dict[str, list[str]] = {}
    for line in filter(None, section.lines):
        wordings.setdefault(MARKS[line[0]], []).append(line[2:])
    return Relation(name=name, subject=subject, **{key: tuple(lines) for key, lines in wordings.items()})


@dataclass(frozen=True)
class Question:
    """A question about a fact. `back` asks for the entity whose value is given."""

    fact: Fact
    text: str
    back: bool

    @property
    def answer(self) -> str:
        """The right choice."""
        return str(self.fact.entity) if self.back else shown_value(self.fact)


@cache
def shown_value(fact: Fact) -> str:
    """The fact's value as a choice shows it."""
    return relations()[fact.relation].shown(fact.value)


def slots(fact: Fact, entity: Term | str | None = None) -> dict[str, object]:
    """What fills the wordings of a fact; `entity` may be a pronoun."""
    found = {"e": entity or fact.entity, "v": fact.value}
    return {**found, "his": fact.entity.his} if isinstance(fact.entity, Person) else found


DIRECT, DIRECT_ZH = 3, 2
"""The first wordings of every relation say nothing but the fact: they answer a question about it."""


def statement(fact: Fact, rng: random.Random, *, pronoun: bool = False, direct: bool = False) -> str:
    """The fact in one of its wordings; of a person, with a pronoun if asked; `direct`: one that answers a question."""
    if pronoun and isinstance(fact.entity, Person):
        told = [w for w in relations()[fact.relation].says if w.startswith(("{e} ", "{e:of} "))]
        return capitalised(fill(rng.choice(told), slots(fact, fact.entity.he)))
    if direct:
        return capitalised(fill(rng.choice(relations()[fact.relation].says[:DIRECT]), slots(fact)))
    return capitalised(clause(fact, rng))


def clause(fact: Fact, rng: random.Random) -> str:
    """The fact in one of its wordings, as it stands within a sentence."""
    return fill(rng.choice(relations()[fact.relation].says), slots(fact))


def statement_zh(fact: Fact, rng: random.Random, *, direct: bool = False) -> str:
    """The fact in Chinese; `direct`: in a wording that answers a question."""
    return fill(rng.choice(relations()[fact.relation].says_zh[: DIRECT_ZH if direct else None]), slots(fact))


def question_zh(fact: Fact, rng: random.Random) -> str:
    """A question about the fact in Chinese."""
    return fill(rng.choice(relations()[fact.relation].asks_zh), slots(fact))


def questions(world: World, wording: Wording, split: Split | None = None) -> Iterator[Question]:
    """Every question of a kind; with `split`, those whose pairing of form and fact is in it."""
    for fact in world.facts:
        for form in getattr(relations()[fact.relation], wording):
            asked = fact.value if wording == "asks_back" else fact.entity
            if split is None or split_of(world.seed, form, asked) == split:
                yield Question(fact, fill(form, slots(fact)), wording == "asks_back")


def asked(world: World, split: Split) -> list[Question]:
    """Every question of a split, about the value and about the entity."""
    return [*questions(world, "asks", split), *questions(world, "asks_back", split)]


def asked_openly(world: World, split: Split) -> list[Question]:
    """Those that have one answer, and whose words offer no choices."""
    times = Counter((fact.relation, fact.value) for fact in world.facts)
    return [
        question
        for question in asked(world, split)
        if " these " not in question.text
        and not (question.back and times[question.fact.relation, question.fact.value] > 1)
    ]
