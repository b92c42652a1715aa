"""The word list of the spelling tasks: English words with their common endings, and made-up words."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from . import library
from .phrases import plural
from .splits import stream

SHORTEST, LONGEST, LONGEST_MADE_UP = 3, 10, 8
"""Letters in a word."""
SPELLED_IN_DOCUMENTS = 600
"""Words that the documents spell. The word list has none of them, so tasks ask words that no text spelled."""

_ONSETS = "b bl br c ch cl cr d dr f fl fr g gl gr h j k l m n p pl pr qu r s sh sl sm sn sp st str t th tr v w z"
_NUCLEI = "a a a e e e i i i o o o u u ai ea ee oa oo ou"
_CODAS = "b ck d f g k l ll lt m mp n nd ng nk nt p r rd rk rm rn s sh sk ss st t x"
_LAST = "er y en le ow ish el in on"
_RUDE = re.compile(
    r"ass|coon|cu[mn]|cock|dic?k|fa[gk]|fu|homo|ni[gk]|pis|poo|porn|pric?k|rap|sex|shit|slu|tit|turd|trurd|twa"
)


def word_list(seed: int, made_up: int = 3_500) -> tuple[list[str], list[str]]:
    """All words in random order, as (the word list, the words that documents spell); no word is in both."""
    rng = stream(seed, "words")
    words = {word for word in _english() if SHORTEST <= len(word) <= LONGEST}
    wanted = len(words) + made_up
    while len(words) < wanted:
        word = _made_up(rng)
        if SHORTEST <= len(word) <= LONGEST_MADE_UP and not _RUDE.search(word):
            words.add(word)
    shuffled = rng.sample(sorted(words), len(words))
    return shuffled[SPELLED_IN_DOCUMENTS:], shuffled[:SPELLED_IN_DOCUMENTS]


def _english() -> Iterator[str]:
    forms = {"verbs": _verb, "nouns": _noun, "gradable": _gradable, "quality": _quality}
    for section in library.read("words"):
        for stem in " ".join(section.lines).split():
            yield from forms[section.title[0]](stem)


def _verb(stem: str) -> Iterator[str]:
    base = stem.rstrip("+")
    yield from (base, plural(base), _with(stem, "ed"), _with(stem, "ing"))


def _noun(stem: str) -> Iterator[str]:
    yield stem.rstrip("-")
    if not stem.endswith("-"):
        yield plural(stem)


def _gradable(stem: str) -> Iterator[str]:
    yield from (stem.rstrip("+"), _with(stem, "er"), _with(stem, "est"))
    yield _with(stem.rstrip("+"), "ness")


def _quality(stem: str) -> Iterator[str]:
    yield from (stem, _with(stem, "ly"), _with(stem, "ness"))


def _with(stem: str, ending: str) -> str:
    """The stem with an ending, by the rules of English spelling."""
    if stem.endswith("+"):
        return stem[:-1] + stem[-2] + ending
    kept = ending == "ing" or (ending == "ness" and not re.search(r"[aeiou]", stem))  # trying, shyness
    if re.search(r"[^aeiou]y$", stem) and not kept:
        return stem[:-1] + "i" + ending
    if ending[0] in "aeiou":
        if stem.endswith("ie") and ending == "ing":
            return stem[:-2] + "ying"
        if stem.endswith("e") and not (stem.endswith("ee") and ending == "ing"):
            return stem[:-1] + ending
    if ending == "ly":
        if stem.endswith("le") and stem[-3] not in "aeiou":
            return stem[:-1] + "y"
        if stem.endswith("ll"):
            return stem + "y"
        if stem.endswith("ic") and stem != "public":
            return stem + "ally"
    return stem + ending


def _made_up(rng: random.Random) -> str:
    parts = [_syllable(rng) for _ in range(rng.choice((1, 2, 2, 2, 3)))]
    word = "".join(parts) + (rng.choice(_LAST.split()) if rng.random() < 0.3 else "")
    return re.sub(r"([a-z])\1{2,}", r"\1\1", word)


def _syllable(rng: random.Random) -> str:
    coda = rng.choice(_CODAS.split()) if rng.random() < 0.6 else ""
    return rng.choice(_ONSETS.split()) + rng.choice(_NUCLEI.split()) + coda
