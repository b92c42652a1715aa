"""Who and what a text is about: drawn when the text first names it, and never at odds with the facts."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from .facts import Animal, Good, Person, Place, World

NOTES = (5, 10, 20, 50, 100, 200, 500, 1000)
"""Bank notes, in dollars, that people pay with."""


class Cast(dict[str, Any]):
    """Slots for a template, by name.

    `p` `q` `r` people (q lives in another town than p), `f` somebody of p's town; `g` `h` goods, sold by
    somebody else; `a` `b` animals; `l` `m` places; `n` `k` numbers from 2 to 9; `total` is n times the price
    of g, `note` what it is paid with, and `change` what comes back.
    """

    def __init__(self, world: World, rng: random.Random, **given: Any) -> None:
        super().__init__(given)
        self.world, self.rng = world, rng

    def __missing__(self, name: str) -> Any:
        value = self[name] = _DRAW[name](self)
        return value

    def person(self) -> Person:
        """Somebody who is not in the text yet and keeps none of its shops."""
        taken = [v for v in self.values() if isinstance(v, Person)]
        taken += [v.shop.keeper for v in self.values() if isinstance(v, Good)]
        return self.rng.choice([p for p in self.world.people if p not in taken])

    def stranger(self) -> Person:
        """Somebody from another town than `p`."""
        home = self["p"].home
        return next(q for q in iter(self.person, None) if q.home != home)

    def neighbour(self) -> Person:
        """Somebody else from the town of `p`."""
        return self.rng.choice(self.world.neighbours(self["p"]))

    def good(self) -> Good:
        """Something to buy that is not in the text yet, from somebody who isn't either."""
        taken = [v for v in self.values() if isinstance(v, Good | Person)]
        return self.rng.choice([g for g in self.world.goods if g not in taken and g.shop.keeper not in taken])

    def animal(self) -> Animal:
        """An animal that eats something else, and somewhere else, than those in the text."""
        there = [v for v in self.values() if isinstance(v, Animal)]
        taken = {term for v in there for term in (v.eats, v.lives)}
        return self.rng.choice([x for x in self.world.animals if not taken & {x.eats, x.lives}])

    def town(self) -> Place:
        """A town that is not in the text yet, and where nobody in it lives."""
        homes = [v.home for v in self.values() if isinstance(v, Person)]
        return self.rng.choice([x for x in self.world.places if x not in (*homes, *self.values())])


_DRAW: dict[str, Callable[[Cast], Any]] = {
    **dict.fromkeys("pr", Cast.person),
    "q": Cast.stranger,
    "f": Cast.neighbour,
    **dict.fromkeys("gh", Cast.good),
    **dict.fromkeys("ab", Cast.animal),
    **dict.fromkeys("lm", Cast.town),
    **dict.fromkeys("nk", lambda cast: cast.rng.randint(2, 9)),
    "total": lambda cast: cast["n"] * cast["g"].price,
    "note": lambda cast: next(note for note in NOTES if note > cast["total"]),
    "change": lambda cast: cast["note"] - cast["total"],
}
