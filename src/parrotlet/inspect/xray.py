"""X-ray: the rows of a batch, token by token, as the training loop gets them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ..data import NOT_SUPERVISED, NOTHING, PADDING, Batch, Counts, count_sources
from ..errors import UserError
from ..stages import Stage
from .material import Material


@dataclass(frozen=True)
class XRay:
    """The batch of a step, and where it comes from."""

    material: Material
    stage: Stage
    step: int
    batch: Batch
    rows: range
    """The rows that are shown: all, or those of one rank, or one."""

    @property
    def summary(self) -> Summary:
        """What the rows hold."""
        return summarise(self)

    def row(self, row: int) -> dict[str, Any]:
        """A row as JSON: its tokens, with the prediction made at each position, and its sources."""
        sources = self.batch.sources[row]
        return {
            "stage": self.stage.name,
            "step": self.step,
            "row": row,
            "tokens": [self._token(row, i) for i in range(self.batch.inputs.shape[1])],
            "sources": [{**dataclasses.asdict(s), "where": self.material.where(self.stage, s)} for s in sources],
        }

    def _token(self, row: int, i: int) -> dict[str, Any]:
        token = int(self.batch.inputs[row, i])
        return {
            "id": token,
            "text": self.material.tokenizer.token_text(token),
            "target": predicted(self.batch, row, i),
            "supervised": bool(self.batch.targets[row, i] != NOT_SUPERVISED),
            "segment": int(self.batch.segments[row, i]),
            "position": int(self.batch.positions[row, i]),
        }


def take_xray(
    material: Material, stage: Stage, step: int = 0, row: int | None = None, rank: int = 0, world_size: int = 1
) -> XRay:
    """X-ray a step: all of its rows, those of rank `rank` of `world_size` (≡ rank, modulo), or one.

    Raises `UserError` if there is no such step, row or rank.
    """
    if step < 0:
        raise UserError(f"--step {step}: steps are counted from 0")
    if not 0 <= rank < world_size:
        raise UserError(f"--rank {rank}: with --world-size {world_size} the ranks are 0 to {world_size - 1}")
    batch = material.batch(stage, step)
    rows = range(rank, len(batch), world_size)
    if row is not None and row not in rows:
        there = f"the rows {rows[0]} to {rows[-1]}" if rows else "no rows"
        of_rank = f" for rank {rank} of {world_size}" if world_size > 1 else ""
        raise UserError(f"--row {row}: step {step} of {stage.name} has {there}{of_rank}")
    return XRay(material, stage, step, batch, rows if row is None else range(row, row + 1))


def predicted(batch: Batch, row: int, i: int) -> int | None:
    """The id that position i predicts: its target, or, unsupervised, the next token of its segment."""
    target = int(batch.targets[row, i])
    if target != NOT_SUPERVISED:
        return target
    segment = int(batch.segments[row, i])
    last = i + 1 == batch.inputs.shape[1]
    if segment == PADDING or last or int(batch.segments[row, i + 1]) != segment:
        return None
    return int(batch.inputs[row, i + 1])


@dataclass(frozen=True)
class Summary:
    """The rows of an x-ray in numbers."""

    rows: int
    length: int
    """Positions of a row."""
    by_source: dict[str, Counts]
    """Items, tokens, supervised tokens of every task, or of the documents."""
    cut: int
    """Segments whose item goes on before or after them."""
    dropped: dict[str, dict[str, int]]
    """Of the whole stage, by task: conversations split, exchanges left out."""

    @property
    def total(self) -> Counts:
        """All sources together."""
        return sum(self.by_source.values(), NOTHING)

    @property
    def positions(self) -> int:
        """Rows times length."""
        return self.rows * self.length

    @property
    def padding(self) -> int:
        """Positions without a token of any source."""
        return self.positions - self.total.tokens


def summarise(xray: XRay) -> Summary:
    """Count the shown rows."""
    shown = xray.batch.rows(slice(xray.rows.start, xray.rows.stop, xray.rows.step))
    return Summary(
        rows=len(shown),
        length=shown.inputs.shape[1],
        by_source=count_sources(shown),
        cut=sum(source.cut is not None for row in shown.sources for source in row),
        dropped=xray.material.order(xray.stage).cut,
    )
