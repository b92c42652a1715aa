"""The order of mid-training and SFT: a row plan, computed once from the lengths of the conversations.

Conversations stay whole and apart. Those longer than a row are split between turns; how many exchanges had to be
left out, because one alone was too long, is counted a task.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..chat import Rendering, split_to_fit
from ..errors import UserError
from ..files import written_aside
from ..tasks import TaskMixture
from ..tokenizer import Tokenizer
from .batch import NOT_SUPERVISED, PADDING, Attends, Batch, Row, Source, Supervision, cut, next_token_targets
from .order import Cuts, State
from .planned import Planned

PIECES_VERSION = 2
"""Raise it whenever the same conversations would be measured otherwise."""
OPEN_ROWS = 512
"""How many rows are kept open while packing: more fill better and mix less."""


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """What is packed: item `item[p]` of the mixture, its part `part[p]`, `length[p]` tokens."""

    item: np.ndarray
    part: np.ndarray
    length: np.ndarray
    answered: np.ndarray
    """(P,) how many of its tokens the assistant is expected to produce."""
    split: np.ndarray
    """(N,) number of parts that each item of the mixture became; 0: nothing of it fits."""
    left_out: np.ndarray
    """(N,) exchanges of each item that were left out, too long for a row by themselves."""

    def save(self, path: Path) -> None:
        """Write to `path`, whole or not at all."""
        with written_aside(path) as aside, aside.open("wb") as file:
            np.savez(file, **vars(self))

    @classmethod
    def load(cls, path: Path) -> Pieces:
        """Read what `save` wrote."""
        with np.load(path) as arrays:
            return cls(**arrays)


def measure_pieces(
    mixture: TaskMixture,
    tokenizer: Tokenizer,
    max_tokens: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Pieces:
    """Render every conversation of the mixture to learn the lengths of its parts."""
    found: list[tuple[int, int, int, int]] = []
    split = np.zeros(len(mixture), dtype=np.int64)
    left_out = np.zeros(len(mixture), dtype=np.int64)
    for i in range(len(mixture)):
        parts, left_out[i] = split_to_fit(mixture[i], tokenizer, max_tokens)
        split[i] = len(parts)
        found += ((i, p, len(part.rendering), sum(part.rendering.mask)) for p, part in enumerate(parts))
        on_progress(i + 1, len(mixture))
    if not found:
        raise UserError(
            f"none of the {len(mixture)} conversations fits into a row of {max_tokens} tokens; raise model.sequence_len"
        )
    item, part, length, answered = np.array(found, dtype=np.int64).T
    return Pieces(item=item, part=part, length=length, answered=answered, split=split, left_out=left_out)


@dataclass(frozen=True)
class RowPlan:
    """Which pieces stand in which row, and which rows make a step."""

    rows: list[list[int]]
    """The pieces of each row, in order."""
    step_starts: list[int]
    """First row of each step, and the number of rows at the end."""
    epoch_starts: list[int]
    """First row of each epoch."""
    rows_per_step: int | None = None
    """None: a step is so many conversations, in as few rows as they need."""

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return len(self.step_starts) - 1


@dataclass
class _Packer:
    """Best fit: a piece goes into the open row that it leaves the least room in."""

    length: int
    rows: list[list[int]] = field(default_factory=list)
    _open: list[tuple[int, int]] = field(default_factory=list)  # (room left, row), sorted

    def add(self, piece: int, size: int, open_rows: int) -> None:
        i = bisect.bisect_left(self._open, (size, -1))
        if i < len(self._open):
            room, row = self._open.pop(i)
            self.rows[row].append(piece)
        else:
            room, row = self.length, len(self.rows)
            self.rows.append([piece])
        bisect.insort(self._open, (room - size, row))
        if len(self._open) > open_rows:
            self._open.pop(0)


def plan_rows(
    lengths: np.ndarray,
    phases: np.ndarray | None = None,
    *,
    row_length: int,
    rows_per_step: int | None = None,
    conversations_per_step: int | None = None,
    epochs: int = 1,
    seed: int,
) -> RowPlan:
    """Pack pieces of these lengths into rows of `row_length`, and rows into steps, by one of two policies.

    In every epoch the pieces of the lowest of the `phases` come first, and so on; all by default are of one.

    `rows_per_step`: a step is so many rows; each epoch's pieces are packed in shuffled order, then the rows are
    shuffled. `conversations_per_step`: a step is so many pieces in shuffled order, packed into as few rows as
    they need. The last step of the last epoch holds what remains.
    """
    rows: list[list[int]] = []
    step_starts, epoch_starts = [0], []
    for epoch in range(epochs):
        epoch_starts.append(len(rows))
        rng = np.random.default_rng([seed, epoch])
        shuffled = rng.permutation(len(lengths))
        by_phase = _by_phase(shuffled, phases)
        if conversations_per_step is None:
            for pieces in by_phase:
                packed = _pack(pieces.tolist(), lengths, row_length, OPEN_ROWS)
                rows += [packed[i] for i in rng.permutation(len(packed))]
            continue
        pieces = np.concatenate(by_phase).tolist()
        for i in range(0, len(pieces), conversations_per_step):
            longest_first = sorted(pieces[i : i + conversations_per_step], key=lambda p: -lengths[p])
            rows += _pack(longest_first, lengths, row_length, conversations_per_step)
            step_starts.append(len(rows))
    if rows_per_step is not None:
        step_starts = [*range(0, len(rows), rows_per_step), len(rows)]
    return RowPlan(rows, step_starts, epoch_starts, rows_per_step)


def _by_phase(shuffled: np.ndarray, phases: np.ndarray | None) -> list[np.ndarray]:
    if phases is None:
        return [shuffled]
    return [shuffled[phases[shuffled] == phase] for phase in np.unique(phases)]


def _pack(pieces: Sequence[int], lengths: np.ndarray, row_length: int, open_rows: int) -> list[list[int]]:
    packer = _Packer(row_length)
    for piece in pieces:
        packer.add(piece, int(lengths[piece]), open_rows)
    return packer.rows


class PlanOrder:
    """The batches of a row plan."""

    def __init__(
        self,
        mixture: TaskMixture,
        tokenizer: Tokenizer,
        pieces: Pieces,
        plan: RowPlan,
        *,
        length: int,
        supervision: Supervision,
        attends: Attends = "segment",
    ) -> None:
        self.mixture, self.tokenizer, self.pieces, self.plan = mixture, tokenizer, pieces, plan
        self.length = length
        self.supervision: Supervision = supervision
        self.attends: Attends = attends
        self.steps: int | None = plan.steps

    @property
    def cut(self) -> dict[str, Cuts]:
        """What did not fit into a row, by task."""
        found: dict[str, Cuts] = {}
        for item, (parts, left_out) in enumerate(zip(self.pieces.split, self.pieces.left_out, strict=True)):
            if parts > 1 or left_out:
                task = self.mixture.tasks[self.mixture.locate(item)[0]].name
                cuts = found.setdefault(task, {"conversations_split": 0, "exchanges_left_out": 0})
                cuts["conversations_split"] += int(parts > 1)
                cuts["exchanges_left_out"] += int(left_out)
        return found

    def start(self) -> State:
        """Before the first step."""
        return {"step": 0, "row": 0}

    def epochs(self, state: State) -> dict[str, int]:
        """How many times all conversations have been gone through."""
        first_row = self.plan.step_starts[min(state["step"], self.plan.steps)]
        return {"the conversations": bisect.bisect_right(self.plan.epoch_starts, first_row) - 1}

    def planned(self, steps: int) -> list[Planned]:
        """What each task gives to the whole plan, counted."""
        pieces, epochs = self.pieces, len(self.plan.epoch_starts)
        task = self.mixture.of_task
        of_piece = task[pieces.item]
        targets = pieces.answered if self.supervision == "assistant" else pieces.length - 1
        sums = [
            np.bincount(of_piece, weights, len(self.mixture.tasks)) * epochs for weights in (pieces.length, targets)
        ]
        conversations = np.bincount(task[pieces.split > 0], minlength=len(self.mixture.tasks)) * epochs
        return [
            Planned(each.name, int(conversations[t]), int(sums[0][t]), int(sums[1][t]), each.repeat * epochs)
            for t, each in enumerate(self.mixture.tasks)
        ]

    @property
    def filling(self) -> str:
        """The share of the positions that hold a token."""
        rows, epochs = len(self.plan.rows), len(self.plan.epoch_starts)
        used = int(self.pieces.length.sum()) * epochs / (rows * self.length)
        why = "; the last row of a step is left as it is" if self.plan.rows_per_step is None else ""
        return f"{rows:,} rows of {self.length}: {100 * used:.1f} % of the positions used{why}"

    def batches(self, state: State) -> Iterator[tuple[Batch, State]]:
        """The batches from step `state["step"]` to the end of the plan."""
        for step in range(state["step"], self.plan.steps):
            first, end = self.plan.step_starts[step : step + 2]
            batch = Batch.from_rows([self.row(r) for r in range(first, end)], self.attends)
            yield batch, {"step": step + 1, "row": end}

    def row(self, row: int) -> Row:
        """Row number `row` of the plan: its pieces, one segment each, then padding."""
        inputs = np.full(self.length, self.tokenizer.assistant_end, dtype=np.int64)
        targets = np.full(self.length, NOT_SUPERVISED, dtype=np.int64)
        positions = np.zeros(self.length, dtype=np.int64)
        segments = np.full(self.length, PADDING, dtype=np.int64)
        sources: list[Source] = []
        start = 0
        for segment, piece in enumerate(self.plan.rows[row]):
            rendering, source = self._piece(piece, segment, start)
            span = slice(start, source.end)
            inputs[span] = rendering.ids
            targets[span] = next_token_targets(rendering.ids, rendering.mask, self.supervision)
            positions[span] = np.arange(len(rendering))
            segments[span] = segment
            sources.append(source)
            start = source.end
        return Row(inputs, targets, positions, segments, tuple(sources))

    def _piece(self, piece: int, segment: int, start: int) -> tuple[Rendering, Source]:
        item = int(self.pieces.item[piece])
        parts, _ = split_to_fit(self.mixture[item], self.tokenizer, self.length)
        part = parts[self.pieces.part[piece]]
        number, index = self.mixture.locate(item)
        task = self.mixture.tasks[number]
        end = start + len(part.rendering)
        source = Source(segment, task.dataset, index, task.name, start, end, cut(part.before, part.after))
        return part.rendering, source
