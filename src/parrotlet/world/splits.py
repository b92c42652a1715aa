"""Which split a question belongs to: a fixed function of what it asks, so that none is in two of them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import Literal, TypeVar

T = TypeVar("T")

Split = Literal["train", "validation", "test"]

SHARES: dict[Split, float] = {"test": 0.1, "validation": 0.05}
"""What the held-out splits get of all pairings; the rest is for training."""


def split_of(*pairing: object) -> Split:
    """The split of a pairing (form × who × numbers × words), whatever was drawn before, in every process."""
    digest = hashlib.blake2b("\x1f".join(map(str, pairing)).encode(), digest_size=8).digest()
    place = int.from_bytes(digest, "big") / 2**64
    for split, share in SHARES.items():
        if place < share:
            return split
        place -= share
    return "train"


def stream(seed: int, *names: object) -> random.Random:
    """A stream of random numbers of its own for every use, so that more of one thing changes no other."""
    return random.Random("/".join(map(str, ("world", seed, *names))))


def shuffled(rng: random.Random, items: Sequence[T]) -> list[T]:
    """The items in random order."""
    return rng.sample(items, len(items))
