"""Words that the spelling tasks are made from, and choices that are the same on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from ..errors import UserError
from .base import Split

BUCKETS = 20
"""Of every 20 words, on average, one is for test, one for validation and 18 are for training."""


def words_of_split(words: Sequence[str], split: Split) -> list[str]:
    """The words of one split, each once, in small letters and in an order that only they decide.

    The hash of a word says which split it is in: no split ever holds a word of another, whatever lists they
    come from. Raises `UserError` if a word has other characters than letters in it, or the split gets none.
    """
    chosen: dict[bytes, str] = {}
    for number, word in enumerate(words, start=1):
        if not word.isalpha():
            raise UserError(
                f"word {number} of the list is {word!r}; the words to spell must be of letters only, "
                "without blanks, hyphens or apostrophes: take the others out of the list"
            )
        small = word.lower()
        key = hashlib.sha256(small.encode()).digest()
        if _split_of(key) == split:
            chosen[key] = small
    if not chosen:
        raise UserError(f"the list has {len(words)} words, none of them for {split}; give one of some hundred words")
    return [chosen[key] for key in sorted(chosen)]


class Draw:
    """Choices that follow from a key alone: the same in every process and on every machine."""

    def __init__(self, *key: object) -> None:
        self._bytes = hashlib.shake_256("\0".join(map(str, key)).encode()).digest(128)
        self._used = 0

    def below(self, n: int) -> int:
        """A number from 0 to n - 1."""
        assert self._used < len(self._bytes), "a key is good for 16 choices"
        piece = self._bytes[self._used : self._used + 8]
        self._used += 8
        return int.from_bytes(piece, "big") * n >> 64

    def one_of(self, values: Sequence[str]) -> str:
        """One of some values."""
        return values[self.below(len(values))]


def _split_of(key: bytes) -> Split:
    # From the end: the words of a split are sorted by the beginning of their keys.
    match int.from_bytes(key[-8:], "big") % BUCKETS:
        case 0:
            return "test"
        case 1:
            return "validation"
    return "train"
