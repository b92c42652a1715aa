"""The same conversation in two stages."""

from __future__ import annotations

import functools
import re
from bisect import bisect_right
from collections import Counter

from ..chat import Conversation
from ..data import Batch, PlanOrder
from ..errors import UserError
from ..stages import Stage
from .material import Material
from .segments import Segment, segments_of_row


class Finder:
    """Finds where a conversation stands in the rows of a stage, by the file and row that it comes from."""

    def __init__(self, material: Material, stage: Stage) -> None:
        order = material.order(stage)
        if not isinstance(order, PlanOrder):
            raise UserError(f"{stage.name} reads {stage.reads}: there is no conversation to look for")
        self.material, self.stage, self.order = material, stage, order

    @functools.cached_property
    def first(self) -> dict[str, tuple[int, int]]:
        """The first row of the stage that every conversation stands in, and which of its pieces stands there."""
        found: dict[str, tuple[int, int]] = {}
        items = self.order.pieces.item.tolist()
        for row, pieces in enumerate(self.order.plan.rows):
            for piece in pieces:
                found.setdefault(self.order.mixture.where(items[piece]), (row, piece))
        return found

    def place(self, name: str) -> tuple[int, int]:
        """The step that first holds the conversation `TASK[INDEX]`, and its row there; `UserError` if none does."""
        tasks = self.order.mixture.tasks
        match = re.fullmatch(r"(.+)\[(0|[1-9]\d*)\]", name)
        for task in tasks:
            if match and task.name == match[1] and int(match[2]) < len(task):
                where = task.where(int(match[2]))
                if where in self.first:
                    return self._place(self.first[where][0])
        there = ", ".join(f"{task.name}[0 … {len(task) - 1}]" for task in tasks)
        raise UserError(f"--item {name}: {self.stage.name} does not hold it; there are {there}")

    def _place(self, row: int) -> tuple[int, int]:
        step = bisect_right(self.order.plan.step_starts, row) - 1
        return step, row - self.order.plan.step_starts[step]

    def find(self, where: str) -> tuple[int, Segment] | None:
        """The step that first holds the conversation, and its segment there, read from the real row."""
        if where not in self.first:
            return None
        row, piece = self.first[where]
        step, number = self._place(row)
        batch = Batch.from_rows([self.order.row(row)], self.order.attends)
        segments = segments_of_row(self.material, self.stage, batch, 0, number)
        return step, segments[self.order.plan.rows[row].index(piece)]


LOOKED_AT = 200
"""How many conversations of each task are looked at for one with a tool call, the shortest first."""


def shared_conversation(a: Finder, b: Finder) -> tuple[Segment, Segment] | None:
    """A conversation that both stages hold: the shortest with a tool call, else the shortest."""
    lengths, mixture = b.order.pieces.length, b.order.mixture
    shared = sorted(a.first.keys() & b.first.keys(), key=lambda where: (lengths[b.first[where][1]], where))
    seen: Counter[int] = Counter()
    for where in shared:
        item = int(b.order.pieces.item[b.first[where][1]])
        task, _ = mixture.locate(item)
        seen[task] += 1
        if seen[task] <= LOOKED_AT and _calls_a_tool(mixture[item]):
            best = where
            break
    else:
        best = shared[0] if shared else None
    if best is None:
        return None
    ours, theirs = a.find(best), b.find(best)
    assert ours
    assert theirs
    return ours[1], theirs[1]


def _calls_a_tool(conversation: Conversation) -> bool:
    return any(part.type == "python" for message in conversation.messages for part in message.parts)
