"""What a batch holds of every source, in three numbers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .batch import NOT_SUPERVISED, Batch


class Counts(NamedTuple):
    """As JSON: a list of three."""

    items: int
    """Documents or conversations that begin here: what goes on from another row was counted there. (Not counted: a
    conversation whose first exchange was left out.)"""
    tokens: int
    supervised: int

    def __add__(self, other: object) -> Counts:
        """Both together."""
        assert isinstance(other, tuple)
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))


NOTHING = Counts(0, 0, 0)


def count_sources(batch: Batch) -> dict[str, Counts]:
    """Items, tokens and supervised tokens of every task, or of the documents, by name."""
    length = batch.inputs.shape[1]
    before = np.concatenate([[0], np.cumsum(batch.targets.numpy().ravel() != NOT_SUPERVISED)])
    found: dict[str, Counts] = {}
    for row, sources in enumerate(batch.sources):
        for s in sources:
            supervised = int(before[row * length + s.end] - before[row * length + s.start])
            counts = Counts(int(s.cut not in ("before", "both")), s.end - s.start, supervised)
            name = s.task or s.dataset
            found[name] = found.get(name, NOTHING) + counts
    return found
