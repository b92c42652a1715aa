from collections import Counter

from parrotlet.world.relations import questions, relations, shown_value
from parrotlet.world.splits import SHARES, split_of


def test_every_kind_of_fact_has_its_wordings(world) -> None:
    assert set(relations()) == set(world.of_relation)
    for relation in relations().values():
        assert len(relation.says) >= 4, relation.name
        assert len(relation.asks) >= 4, relation.name
        assert relation.unseen, relation.name
        assert relation.says_zh, relation.name
        assert relation.asks_zh, relation.name
        forms = [*relation.asks, *relation.asks_back, *relation.unseen]
        assert len(set(forms)) == len(forms)


def test_statements_name_the_entity_and_the_value(world, statements) -> None:
    for fact in world.facts:
        for text in statements(fact):
            value = fact.value.en.removeprefix("a ").removeprefix("an ").casefold()
            assert value in text.casefold(), text
            assert text[0].isupper()
            assert text.endswith(".")


def test_a_question_has_one_answer(world) -> None:
    answers: dict[str, set[str]] = {}
    for question in questions(world, "asks"):
        answers.setdefault(question.text, set()).add(shown_value(question.fact))
    ambiguous = {text: found for text, found in answers.items() if len(found) > 1}
    assert not ambiguous


def test_the_splits_are_a_partition(world) -> None:
    whole = Counter(q.text for q in questions(world, "asks"))
    parts = [Counter(q.text for q in questions(world, "asks", part)) for part in ("train", "validation", "test")]
    assert whole == sum(parts, Counter())
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]


def test_every_fact_is_asked_in_training(world) -> None:
    asked = {q.fact for form in ("asks", "asks_back") for q in questions(world, form, "train")}
    assert asked == set(world.facts)


def test_split_shares_are_near_what_they_should_be() -> None:
    found = Counter(split_of(0, "some form", i) for i in range(20_000))
    for split, share in SHARES.items():
        assert abs(found[split] / 20_000 - share) < 0.01


def test_a_pairing_stays_in_its_split_and_the_seed_matters() -> None:
    assert split_of(0, "form", "Ada") == split_of(0, "form", "Ada")
    assert len({split_of(seed, "form", "Ada") for seed in range(100)}) == 3
