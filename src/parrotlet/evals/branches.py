"""Texts that begin alike, as the choices of a question do, in one row: their beginning is computed once.

trunk  | branch 0 | branch 1 | …        a branch sees the trunk and itself, and its positions go on from the trunk's
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor

from ..model.attention import TRUNK
from ..model.gpt import CONV_REACH


@dataclass(frozen=True, slots=True)
class Row:
    """A text as tokens."""

    ids: list[int]
    start: int
    """Where what is scored begins; at least 1."""
    cut: bool = False
    """Whether the text was longer than the model can read, and lost its beginning."""

    @property
    def key(self) -> tuple[tuple[int, ...], int]:
        """The same for rows that are the same."""
        return tuple(self.ids), self.start

    @property
    def scored(self) -> list[int]:
        """What is scored."""
        return self.ids[self.start :]


class Tree:
    """Some texts, laid out as one row; without the last token of each, from which nothing is predicted."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.shared = min(common_start([row.ids for row in rows]), *(row.start for row in rows))
        self._places = [(0, t) for t in range(self.shared)]
        self._places += [(k, t) for k, row in enumerate(rows) for t in range(self.shared, len(row.ids) - 1)]
        self._columns = {place: i for i, place in enumerate(self._places)}

    def __len__(self) -> int:
        return len(self._places)

    @property
    def ids(self) -> list[int]:
        """The tokens."""
        return [self.rows[k].ids[t] for k, t in self._places]

    @property
    def before(self) -> list[list[int]]:
        """Columns of the tokens that come one, two, … before each in its text; any before the first."""
        return [[self._column(k, max(t - back, 0)) for back in range(1, CONV_REACH + 1)] for k, t in self._places]

    @property
    def positions(self) -> list[int]:
        """Of each token in its text."""
        return [t for _, t in self._places]

    @property
    def segments(self) -> list[int]:
        """The trunk, or the number of the branch."""
        return [TRUNK if t < self.shared else k for k, t in self._places]

    @property
    def asked(self) -> list[int]:
        """Columns from which what is scored is predicted, text by text."""
        return [self._column(k, t) for k, row in enumerate(self.rows) for t in range(row.start - 1, len(row.ids) - 1)]

    def _column(self, k: int, t: int) -> int:
        """Where token t of text k lies."""
        return self._columns[(k if t >= self.shared else 0, t)]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Trees, one a row, filled up on the right."""

    inputs: Tensor
    """(B, T), as are the next two."""
    positions: Tensor
    segments: Tensor | None
    """None where no row has branches."""
    before: Tensor | None
    """(B, T, R), the same."""
    rows: Tensor
    """(N,): the rows of what is asked for, and its columns."""
    columns: Tensor

    @classmethod
    def of(cls, trees: Sequence[Tree]) -> Batch:
        """Lay out `trees`."""
        branches = any(len(tree.rows) > 1 for tree in trees)
        asked = [tree.asked for tree in trees]
        return cls(
            inputs=_filled([tree.ids for tree in trees], 0),
            positions=_filled([tree.positions for tree in trees], 0),
            segments=_filled([tree.segments for tree in trees], -1) if branches else None,
            before=_filled([tree.before for tree in trees], [0] * CONV_REACH) if branches else None,
            rows=torch.tensor([number for number, columns in enumerate(asked) for _ in columns]),
            columns=torch.tensor([column for columns in asked for column in columns]),
        )


def common_start(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens all rows begin with."""
    return sum(1 for _ in takewhile(lambda ids: len(set(ids)) == 1, zip(*rows, strict=False)))


def _filled(rows: Sequence[list[Any]], value: Any) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows])
