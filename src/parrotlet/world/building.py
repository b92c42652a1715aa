"""Puts a world together: what `texts/catalogue.txt` names is dealt out by seed."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

from . import library
from .facts import Animal, Fact, Good, Person, Place, Shop, Term, World
from .splits import shuffled, stream

SHOPKEEPER = Term("shopkeeper", "店主")


def build_world(seed: int = 0) -> World:
    """Put the world together: the same seed gives the same world."""
    rng = stream(seed, "facts")
    places = _places(rng)
    people = _people(rng, places)
    shops, goods = _shops(rng, [p for p in people if p.job == SHOPKEEPER])
    animals = tuple(_animal(line) for line in _catalogue("animals"))
    world = World(seed, places, people, animals, shops, goods, facts=())
    return replace(world, facts=(*_own_facts(world), *_common_facts()))


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
        Place(name.en, name.zh, setting, fame, fair)
        for name, setting, fame, fair in zip(names, settings, fames, fairs, strict=True)
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
            name = Term.parse(line)
            shops.append(Shop(name.en, name.zh, keepers[len(shops)]))
    return tuple(shops), tuple(goods)


def _good(rng: random.Random, line: str, shop: Shop) -> Good:
    cell, measure, material, prices = line.split(" | ")
    name = Term.parse(cell)
    low, high = map(int, prices.split("-"))
    return Good(name.en, name.zh, measure, Term.parse(material), rng.randint(low, high), shop)


def _animal(line: str) -> Animal:
    name, eats, lives, young, legs = _row(line)
    return Animal(name.en, name.zh, eats, lives, young, legs)


def _dealt(rng: random.Random, cards: Sequence[str], hands: int) -> list[Term]:
    """As many terms as asked, each card as often as any other (or once more), in random order."""
    return shuffled(rng, [Term.parse(cards[i % len(cards)]) for i in range(hands)])


def _own_facts(world: World) -> Iterable[Fact]:
    """What is true in this world only, and of its animals."""
    yield from _facts_of("person", world.people, ("home", "job", "pet", "food"))
    yield from _facts_of("place", world.places, ("setting", "fame", "fair"))
    yield from _facts_of("animal", world.animals, ("eats", "lives", "young", "legs"))
    yield from _facts_of("shop", world.shops, ("place", "keeper"))
    yield from _facts_of("good", world.goods, ("cost", "shop", "material"))


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
