"""`Batch`: what the training loop consumes, and the very object that the inspectors show.

Letters: B rows, T positions in a row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

Supervision = Literal["all", "assistant"]
Cut = Literal["before", "after", "both"]
Attends = Literal["row", "segment"]
"""What a position attends to: everything before it in its row, or only what is before it in its segment."""

NOT_SUPERVISED = -1
"""The target at a position whose prediction is not trained."""
PADDING = -1
"""The segment of padding."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the tokens of one segment of a row come from."""

    segment: int
    dataset: str
    """The dataset or file."""
    index: int
    """Number of the document in its source, or of the item in its task."""
    task: str | None
    """Name of the task; None for documents."""
    start: int
    """First position of the segment in the row."""
    end: int
    """One past its last position."""
    cut: Cut | None = None
    """Whether the item goes on before this segment, after it, or both; None: it is here whole."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a batch: four arrays of T int64, and a source for every segment."""

    inputs: np.ndarray
    targets: np.ndarray
    positions: np.ndarray
    segments: np.ndarray
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Batch:
    """Rows, stacked.

    `inputs`, `targets`, `positions`, `segments`: (B, T) int64. A target of -1 is not supervised; `positions`
    count from 0 in every segment of conversations and over the whole row for documents; a segment of -1 is
    padding. `sources`: for every row, one `Source` a segment. `attends`: the same for all rows.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    positions: torch.Tensor
    segments: torch.Tensor
    sources: tuple[tuple[Source, ...], ...]
    attends: Attends

    @classmethod
    def from_rows(cls, rows: Sequence[Row], attends: Attends) -> Batch:
        """Stack rows of equal length."""
        stacked = (
            torch.from_numpy(np.stack([getattr(row, name) for row in rows]))
            for name in ("inputs", "targets", "positions", "segments")
        )
        return cls(*stacked, sources=tuple(row.sources for row in rows), attends=attends)

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def tokens(self) -> int:
        """Positions that are not padding."""
        return int((self.segments != PADDING).sum())

    @property
    def supervised(self) -> int:
        """Positions whose prediction is trained."""
        return int((self.targets != NOT_SUPERVISED).sum())

    @property
    def attention_segments(self) -> torch.Tensor | None:
        """The segments that attention stays within; None: it goes over the whole row."""
        return self.segments if self.attends == "segment" else None

    @property
    def hash(self) -> str:
        """16 hex digits that change when any id, target, position or segment does."""
        digest = hashlib.sha256()
        for tensor in (self.inputs, self.targets, self.positions, self.segments):
            digest.update(np.array(tensor.shape).tobytes() + tensor.cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def micro_batches(self, rows: int) -> Iterator[Batch]:
        """Slices of at most `rows` rows, in order."""
        for i in range(0, len(self), rows):
            yield self.rows(slice(i, i + rows))

    def rows(self, part: slice) -> Batch:
        """Some of the rows."""
        return self._with(lambda tensor: tensor[part], self.sources[part])

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        return self._with(lambda tensor: tensor.to(device), self.sources)

    def _with(self, change: Callable[[torch.Tensor], torch.Tensor], sources: tuple[tuple[Source, ...], ...]) -> Batch:
        tensors = map(change, (self.inputs, self.targets, self.positions, self.segments))
        return Batch(*tensors, sources=sources, attends=self.attends)


def next_token_targets(ids: Sequence[int], mask: Sequence[int], supervision: Supervision) -> list[int]:
    """Targets for one conversation: position i predicts token i + 1; the last predicts nothing.

    Under `assistant`, position i is supervised if and only if the mask of token i + 1 is 1.
    """
    keep_all = supervision == "all"
    following = zip(ids[1:], mask[1:], strict=True)
    return [token if keep_all or m else NOT_SUPERVISED for token, m in following] + [NOT_SUPERVISED]


def cut(before: bool, after: bool) -> Cut | None:
    """The `cut` of a segment whose item goes on `before` it, `after` it, both or neither."""
    return "both" if before and after else "before" if before else "after" if after else None
