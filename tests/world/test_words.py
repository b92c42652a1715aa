import re

import pytest

from parrotlet.world.words import LONGEST, LONGEST_MADE_UP, SHORTEST, _english, _with, word_list


def test_the_list_is_large_and_plain() -> None:
    words, spelled = word_list(0)
    assert 6_000 <= len(words) <= 10_000
    assert all(re.fullmatch(r"[a-z]+", word) for word in [*words, *spelled])
    assert all(SHORTEST <= len(word) <= LONGEST for word in words)
    assert all(len(word) <= LONGEST_MADE_UP for word in {*words, *spelled} - set(_english()))
    assert len(set(words)) == len(words)


def test_no_word_of_the_list_is_spelled_in_a_document() -> None:
    words, spelled = word_list(0)
    assert len(spelled) >= 500
    assert not set(words) & set(spelled)


def test_the_seed_decides() -> None:
    assert word_list(1) == word_list(1) != word_list(2)


def test_endings_follow_the_rules_of_spelling() -> None:
    cases = {
        ("bake", "ing"): "baking",
        ("stop+", "ed"): "stopped",
        ("tie", "ing"): "tying",
        ("try", "ed"): "tried",
        ("try", "ing"): "trying",
        ("shy", "ness"): "shyness",
        ("happy", "ness"): "happiness",
        ("agree", "ing"): "agreeing",
        ("gentle", "ly"): "gently",
        ("whole", "ness"): "wholeness",
        ("full", "ly"): "fully",
        ("rustic", "ly"): "rustically",
        ("icy", "er"): "icier",
    }
    assert {case: _with(*case) for case in cases} == cases


@pytest.mark.real_data
def test_english_words_are_english(real_data) -> None:
    known = set((real_data / "files" / "words_alpha.txt").read_text().split())
    unknown = {word for word in _english() if word not in known}
    assert len(unknown) < 10, unknown
