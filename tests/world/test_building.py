import pytest

from parrotlet.world.building import build_world
from parrotlet.world.cast import Cast
from parrotlet.world.splits import stream


@pytest.mark.parametrize("seed", range(12))
def test_every_seed_gives_a_sound_world(seed: int) -> None:
    world = build_world(seed)
    assert all(world.neighbours(person) for person in world.people)
    assert len({shop.place for shop in world.shops}) == len(world.shops)
    assert all(shop.keeper.job.en == "shopkeeper" for shop in world.shops)
    assert sum(p.job.en == "shopkeeper" for p in world.people) == len(world.shops)
    assert all(len(world.sold_in(shop)) == 3 for shop in world.shops)
    assert all(2 <= good.price <= 62 for good in world.goods)


def test_facts_are_what_the_entities_say(world) -> None:
    for fact in world.facts:
        attribute = fact.relation.partition(".")[2]
        if attribute:
            assert getattr(fact.entity, attribute) == fact.value, fact
    assert len({(f.relation, f.entity) for f in world.facts}) == len(world.facts), "one value each"


def test_the_same_seed_gives_the_same_world_and_another_one_another() -> None:
    assert build_world(3) == build_world(3)
    assert build_world(3).people != build_world(4).people


def test_the_calendar(world) -> None:
    month = {f.entity.en: f.value.en for f in world.of_relation["next_month"]}
    day = {f.entity.en: f.value.en for f in world.of_relation["next_day"]}
    season = {f.entity.en: f.value.en for f in world.of_relation["season_of"]}
    assert (month["January"], month["December"], day["Sunday"]) == ("February", "January", "Monday")
    assert [season[m] for m in ("February", "March", "June", "November", "December")] == [
        "winter",
        "spring",
        "summer",
        "autumn",
        "winter",
    ]


@pytest.mark.parametrize("draw", range(60))
def test_a_cast_is_never_at_odds_with_the_facts(world, draw: int) -> None:
    rng = stream(draw, "cast")
    cast = Cast(world, rng)
    for role in rng.sample("pqrghablmnk", 11):
        _ = cast[role]
    keepers = {cast["g"].shop.keeper, cast["h"].shop.keeper}
    assert len({cast["p"], cast["q"], cast["r"]}) == 3
    assert not {cast["p"], cast["q"], cast["r"]} & keepers
    assert cast["p"].home != cast["q"].home
    assert cast["g"] != cast["h"]
    assert cast["a"] != cast["b"]
    assert cast["total"] + cast["change"] == cast["note"] >= cast["n"] * cast["g"].price


def test_a_neighbour_lives_next_door(world) -> None:
    for draw in range(40):
        cast = Cast(world, stream(draw, "neighbour"))
        assert cast["f"].home == cast["p"].home
        assert cast["f"] != cast["p"]


def test_names_are_told_apart(world) -> None:
    for kind in (world.people, world.places, world.animals, world.goods, world.shops):
        for language in ("en", "zh"):
            names = [getattr(thing, language) for thing in kind]
            assert len(set(names)) == len(names)
