"""The world: its people, animals, goods, shops and places, and every fact about them, drawn once by seed.

Whatever the texts say and the questions ask comes from here, so that they agree with each other.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from . import library
from .splits import stream


@dataclass(frozen=True)
class Term:
    """A thing that has a name in English and in Chinese."""

    en: str
    zh: str

    def __str__(self) -> str:
        return self.en

    @classmethod
    def parse(cls, text: str) -> Term:
        """From `english:chinese`."""
        return cls(*text.strip().split(":"))


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

    @cached_property
    def facts(self) -> tuple[Fact, ...]:
        """Everything that is true."""
        return (*self._own_facts(), *_common_facts())

    @cached_property
    def of_relation(self) -> dict[str, list[Fact]]:
        """The facts by relation."""
        grouped: dict[str, list[Fact]] = {}
        for fact in self.facts:
            grouped.setdefault(fact.relation, []).append(fact)
        return grouped

    def neighbours(self, person: Person) -> list[Person]:
        """Who else lives in the same town."""
        return [p for p in self.people if p.home == person.home and p != person]

    def sold_in(self, shop: Shop) -> list[Good]:
        """What a shop sells."""
        return [good for good in self.goods if good.shop == shop]

    def _own_facts(self) -> Iterable[Fact]:
        yield from _facts_of("person", self.people, ("home", "job", "pet", "food"))
        yield from _facts_of("place", self.places, ("setting", "fame", "fair"))
        yield from _facts_of("animal", self.animals, ("eats", "lives", "young", "legs"))
        yield from _facts_of("shop", self.shops, ("place", "keeper"))
        yield from _facts_of("good", self.goods, ("cost", "shop", "material"))


def build_world(seed: int = 0) -> World:
    """Put the world together: the same seed gives the same world."""
    rng = stream(seed, "facts")
    places = _places(rng)
    people = _people(rng, places)
    shops, goods = _shops(rng, [p for p in people if p.job == SHOPKEEPER])
    animals = tuple(_animal(line) for line in _catalogue("animals"))
    return World(seed, places, people, animals, shops, goods)


SHOPKEEPER = Term("shopkeeper", "店主")


def _catalogue(name: str) -> tuple[str, ...]:
    """The lines of one section of `texts/catalogue.txt`."""
    return next(filter(None, (s.lines for s in library.read("catalogue") if s.title[0] == name)))


def _row(line: str) -> list[Term]:
    return [Term.parse(cell) for cell in line.split(" | ")]


def _places(rng: random.Random) -> tuple[Place, ...]:
    names = [Term.parse(name) for name in _catalogue("places")]
    settings = _dealt(rng, _catalogue("settings"), len(names))
    fames = _dealt(rng, _catalogue("fames"), len(names))
    fairs = _dealt(rng, [line.split(" | ")[0] for line in _catalogue("seasons")], len(names))
    return tuple(
        Place(name.en, name.zh, *rest) for name, *rest in zip(names, settings, fames, fairs, strict=True)
    )


def _people(rng: random.Random, places: Sequence[Place]) -> tuple[Person, ...]:
    names = [(Term.parse(n), n in _catalogue("women")) for n in (*_catalogue("women"), *_catalogue("men"))]
    rng.shuffle(names)
    towns = rng.sample(places, len(places))
    # The first ones keep the shops: in different towns, for homes go round.
    keepers = [SHOPKEEPER] * sum(not line.startswith("|") for line in _catalogue("shops"))
    jobs = keepers + _dealt(rng, _catalogue("jobs"), len(names) - len(keepers))
    pets = _dealt(rng, _catalogue("pets"), len(names))
    foods = _dealt(rng, _catalogue("foods"), len(names))
    return tuple(
        Person(name.en, name.zh, woman, towns[i % len(towns)], jobs[i], pets[i], foods[i])
        for i, (name, woman) in enumerate(names)
    )


def _shops(rng: random.Random, keepers: Sequence[Person]) -> tuple[tuple[Shop, ...], tuple[Good, ...]]:
    shops: list[Shop] = []
    goods: list[Good] = []
    for line in _catalogue("shops"):
        if line.startswith("| "):
            goods.append(_good(rng, line.removeprefix("| "), shops[-1]))
        else:
            shops.append(Shop(*line.split(":"), keepers[len(shops)]))
    return tuple(shops), tuple(goods)


def _good(rng: random.Random, line: str, shop: Shop) -> Good:
    name, measure, material, prices = line.split(" | ")
    low, high = map(int, prices.split("-"))
    return Good(*name.split(":"), measure, Term.parse(material), rng.randint(low, high), shop)


def _animal(line: str) -> Animal:
    name, *rest = _row(line)
    return Animal(name.en, name.zh, *rest)


def _dealt(rng: random.Random, cards: Sequence[str], hands: int) -> list[Term]:
    """As many terms as asked, each card as often as any other (or once more), in random order."""
    terms = [Term.parse(cards[i % len(cards)]) for i in range(hands)]
    rng.shuffle(terms)
    return terms


def _facts_of(kind: str, entities: Iterable[Term], attributes: Sequence[str]) -> Iterable[Fact]:
    for entity in entities:
        for attribute in attributes:
            yield Fact(f"{kind}.{attribute}", entity, getattr(entity, attribute))


def _common_facts() -> Iterable[Fact]:
    """What is true in every world."""
    for relation in ("makes", "turns_into", "moved_by", "used_for", "opposite"):
        for left, right in map(_row, _catalogue(relation)):
            yield Fact(relation, left, right)
            if relation == "opposite":
                yield Fact(relation, right, left)
    seasons = [_row(line) for line in _catalogue("seasons")]
    for season, weather, sight in seasons:
        yield Fact("weather", season, weather)
        yield Fact("sight", season, sight)
    months = [Term.parse(name) for name in _catalogue("months")]
    days = [Term.parse(name) for name in _catalogue("days")]
    for relation, names in (("next_month", months), ("next_day", days)):
        for i, name in enumerate(names):
            yield Fact(relation, name, names[(i + 1) % len(names)])
    for i, month in enumerate(months):  # spring begins in March
        yield Fact("season_of", month, seasons[(i - 2) % 12 // 3][0])
