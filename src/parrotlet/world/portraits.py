"""Documents that state facts: portraits of people, animals, towns and shops, and lists of who has what."""

from __future__ import annotations

import random
from collections.abc import Sequence

from .facts import Fact, Person, Place, Shop, Term, World
from .phrases import article, capitalised, counted, fill, in_words, listed, plural, prose
from .relations import clause, relations, statement, statement_zh
from .splits import shuffled

_PERSON_OPENS = (
    "This is about {p}.",
    "[Do you know|Have you met] {p}?",
    "Everybody in {p.home} knows {p}.",
    "Let me tell you about {p}.",
    "",
)
_PERSON_GOES_ON = (
    "[In winter|On Sundays|In the evening] {p.he} [sits by the stove|walks along the river|plays cards].",
    "[People|The neighbours] like {p.him}[, for {p.he} is never in a hurry| for {p.his} good stories|].",
    "If you see {p}, [say hello|ask about the {p.pet}].",
    "The {p.pet} [sleeps by the door|is as old as the house|knows everybody in {p.home}].",
    "{p.he} [has never been late in {p.his} life|laughs easily|sings while {p.he} works].",
    "[What else?|There is more to say.]",
)
_PERSON_ENTRY = "{p}, {p.job}, {p.home}. Pet: {p.pet}. Favourite food: {p.food}."


def person(world: World, rng: random.Random, chinese: bool = False) -> tuple[str, str]:
    """The portrait of somebody: title and text."""
    someone = rng.choice(world.people)
    facts = shuffled(rng, world.about[someone])
    if chinese:
        sentences = [statement_zh(fact, rng) for fact in facts]
        rest = [s.replace(someone.zh, someone.ta, 1) for s in sentences[1:]]
        return someone.zh, "".join([sentences[0], *rest])
    sentences = [prose(rng.choice(_PERSON_OPENS), rng, {"p": someone}), statement(facts[0], rng)]
    sentences += [statement(fact, rng, pronoun=rng.random() < 0.7) for fact in facts[1:]]
    for template in rng.sample(_PERSON_GOES_ON, rng.choice((0, 1, 1, 2))):
        sentences.insert(rng.randint(2, len(sentences) - 1), prose(template, rng, {"p": someone}))
    return someone.en, " ".join(filter(None, sentences))


def register(world: World, rng: random.Random) -> tuple[str, str]:
    """Some people, one a line, with everything about them."""
    lines = [fill(_PERSON_ENTRY, {"p": p}) for p in rng.sample(world.people, rng.randint(3, 6))]
    return "From the register", "\n".join(lines)


def pair(world: World, rng: random.Random) -> tuple[str, str]:
    """Two people side by side."""
    one, two = rng.sample(world.people, 2)
    sentences = [f"{one} and {two} [know each other well|are friends|meet now and then]."]
    for left, right in shuffled(rng, list(zip(world.about[one], world.about[two], strict=True))):
        if left.value == right.value:
            sentences.append("[They have something in common.|Here they are alike.|In one thing they agree.]")
            sentences += [statement(left, rng), statement(right, rng)]
        else:
            joint = rng.choice((", but ", ", and ", "; "))
            sentences.append(statement(left, rng)[:-1] + joint + clause(right, rng))
    return f"{one} and {two}", prose(" ".join(sentences), rng, {})


def animal(world: World, rng: random.Random, chinese: bool = False) -> tuple[str, str]:
    """What there is to know about a kind of animal, and how another one differs."""
    one, two = rng.sample(world.animals, 2)
    if chinese:
        told = "".join(statement_zh(fact, rng) for fact in shuffled(rng, world.about[one]))
        return one.zh, told + "".join(statement_zh(f, rng) for f in rng.sample(world.about[two], 2))
    sentences = [statement(fact, rng) for fact in shuffled(rng, world.about[one])]
    keepers = [p for p in world.people if p.pet.en == one.en]
    if keepers:
        verb = "keeps" if len(keepers) == 1 else "each keep"
        sentences.append(f"{listed([p.en for p in keepers])} {verb} {article(one.en)}.")
    sentences.append(f"And what about {article(two.en)}? {statement(rng.choice(world.about[two]), rng)}")
    return capitalised(plural(one.en)), " ".join(sentences)


def town(world: World, rng: random.Random, chinese: bool = False) -> tuple[str, str]:
    """A town, who lives there, and what shop it has."""
    place = rng.choice(world.places)
    people = [p for p in world.people if p.home == place]
    shops = [shop for shop in world.shops if shop.place == place]
    facts = [fact for thing in (place, *shops) for fact in world.about[thing]]
    told = ("home",) if chinese else ("home", "job")  # in Chinese nothing else says who lives there
    facts = shuffled(rng, facts + [_fact(world, rng.choice(told), p) for p in people])
    if chinese:
        return place.zh, "".join(statement_zh(fact, rng) for fact in facts)
    sentences = [statement(fact, rng) for fact in facts]
    sentences.insert(rng.randint(1, len(sentences)), _inhabitants(place, people, rng))
    return place.en, " ".join(sentences)


def shop(world: World, rng: random.Random, chinese: bool = False) -> tuple[str, str]:
    """A shop, its keeper and its prices."""
    place = rng.choice(world.shops)
    goods = shuffled(rng, world.sold_in(place))
    facts = world.about[place] + [_fact(world, "cost", good) for good in goods]
    if chinese:
        return place.zh, "".join(statement_zh(fact, rng) for fact in facts)
    facts += [_fact(world, rng.choice(("material", "shop")), good) for good in goods]
    if rng.random() < 0.5:
        return f"Prices of the {place}", _price_list(place, world, rng)
    return f"The {place}", " ".join(statement(fact, rng) for fact in shuffled(rng, facts))


def same_relation(world: World, rng: random.Random, chinese: bool = False) -> tuple[str, str]:
    """Facts of one kind, one after the other; most often of a kind that no portrait tells."""
    names = list(relations())
    weights = [max(10, len(world.of_relation[name])) * (0.2 if "." in name else 1) for name in names]
    name = rng.choices(names, weights)[0]
    facts = world.of_relation[name]
    chosen = rng.sample(facts, min(len(facts), rng.randint(4, 8)))
    if chinese:
        return "小知识", "".join(statement_zh(fact, rng) for fact in chosen)
    joint = rng.choice((" ", "\n"))
    return f"About {relations()[name].subject}", joint.join(statement(fact, rng) for fact in chosen)


def groups(world: World, rng: random.Random) -> tuple[str, str]:
    """Who shares a home, a trade, a pet or a taste: the facts read backwards."""
    attribute, form = rng.choice(
        (
            ("home", "In {v} live {who}."),
            ("job", "{who} work as {v:s}."),
            ("pet", "{who} each have {v:a}."),
            ("food", "{who} like {v} best."),
        )
    )
    values = {str(getattr(p, attribute)): getattr(p, attribute) for p in world.people}
    lines: list[str] = []
    for value in rng.sample(sorted(values), 4):
        who = [p.en for p in world.people if str(getattr(p, attribute)) == value]
        if len(who) > 1:
            lines.append(prose(form, rng, {"v": values[value], "who": listed(shuffled(rng, who))}))
    return "Who and what", " ".join(lines)


def _fact(world: World, attribute: str, entity: Term) -> Fact:
    return next(f for f in world.about[entity] if f.relation.endswith(f".{attribute}"))


def _inhabitants(place: Place, people: Sequence[Person], rng: random.Random) -> str:
    names = listed(shuffled(rng, [p.en for p in people]))
    form = rng.choice(
        (
            f"{names} live in {place}.",
            f"{in_words(len(people))} people live here: {names}.",
            f"if you come to {place}, you may meet {names}.",
        )
    )
    return capitalised(form)


def _price_list(place: Shop, world: World, rng: random.Random) -> str:
    goods = shuffled(rng, world.sold_in(place))
    head = f"The {place}, {place.place}. Keeper: {place.keeper}."
    lines = [f"{capitalised(good.en)}: {good.cost}" for good in goods]
    several = rng.randint(2, 9)
    good = goods[0]
    tail = f"{counted(several, good.en)} are {several} x {good.price} = {several * good.price} dollars."
    return "\n".join([head, *lines, tail])
