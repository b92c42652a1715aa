"""The world: its people, animals, goods, shops and places, and every fact about them.

Whatever the texts say and the questions ask comes from here, so that they agree with each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

K = TypeVar("K")


@dataclass(frozen=True)
class Term:
    """A thing that has a name in English and in Chinese."""

    en: str
    zh: str

    def __str__(self) -> str:
        return self.en

    @staticmethod
    def parse(text: str) -> Term:
        """From `english:chinese`."""
        en, zh = text.strip().split(":")
        return Term(en, zh)


@dataclass(frozen=True)
class Place(Term):
    """A town: how it lies, what it is famous for, and when its fair is held."""

    setting: Term
    fame: Term
    fair: Term


@dataclass(frozen=True)
class Person(Term):
    """Somebody who lives in the world."""

    woman: bool
    home: Place
    job: Term
    pet: Term
    food: Term

    @property
    def he(self) -> str:
        """The pronoun as the subject of a sentence."""
        return "she" if self.woman else "he"

    @property
    def him(self) -> str:
        """The pronoun as an object."""
        return "her" if self.woman else "him"

    @property
    def his(self) -> str:
        """The possessive."""
        return "her" if self.woman else "his"

    @property
    def ta(self) -> str:
        """The pronoun in Chinese."""
        return "她" if self.woman else "他"


@dataclass(frozen=True)
class Animal(Term):
    """A kind of animal."""

    eats: Term
    lives: Term
    young: Term
    legs: Term


@dataclass(frozen=True)
class Shop(Term):
    """A shop and its keeper; it stands in the town where the keeper lives."""

    keeper: Person

    @property
    def place(self) -> Place:
        """The town."""
        return self.keeper.home


@dataclass(frozen=True)
class Good(Term):
    """Something that a shop sells."""

    measure: str
    """The Chinese measure word."""
    material: Term
    price: int
    """In dollars."""
    shop: Shop

    @property
    def cost(self) -> Term:
        """The price with its currency."""
        return Term(f"{self.price} dollars", f"{self.price}元")


@dataclass(frozen=True)
class Fact:
    """One fact: what a relation says of an entity. The wordings stand in `texts/relations.txt`."""

    relation: str
    entity: Term
    value: Term


@dataclass(frozen=True)
class World:
    """Everything that there is."""

    seed: int
    places: tuple[Place, ...]
    people: tuple[Person, ...]
    animals: tuple[Animal, ...]
    shops: tuple[Shop, ...]
    goods: tuple[Good, ...]
    facts: tuple[Fact, ...]
    """Everything that is true."""

    @cached_property
    def of_relation(self) -> dict[str, list[Fact]]:
        """The facts by relation."""
        return _grouped(self.facts, lambda fact: fact.relation)

    @cached_property
    def about(self) -> dict[Term, list[Fact]]:
        """The facts by entity."""
        return _grouped(self.facts, lambda fact: fact.entity)

    @cached_property
    def names(self) -> list[str]:
        """What the facts are about, and their values, in English."""
        return sorted({str(term) for fact in self.facts for term in (fact.entity, fact.value)})

    @cached_property
    def names_zh(self) -> list[str]:
        """The same in Chinese."""
        return sorted({term.zh for fact in self.facts for term in (fact.entity, fact.value)})

    def neighbours(self, person: Person) -> list[Person]:
        """Who else lives in the same town."""
        return [p for p in self.people if p.home == person.home and p != person]

    def sold_in(self, shop: Shop) -> list[Good]:
        """What a shop sells."""
        return [good for good in self.goods if good.shop == shop]


def _grouped(facts: Iterable[Fact], key: Callable[[Fact], K]) -> dict[K, list[Fact]]:
    grouped: dict[K, list[Fact]] = {}
    for fact in facts:
        grouped.setdefault(key(fact), []).append(fact)
    return grouped
