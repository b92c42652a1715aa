"""The same conversation in two stages."""

from __future__ import annotations

import functools
from bisect import bisect_right

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
            raise UserError(f"{stage.name} reads {stage.reads}: it shares no conversation with another stage")
        self.material, self.stage, self.order = material, stage, order

    @functools.cached_property
    def pieces(self) -> dict[str, int]:
        """The first piece of every conversation."""
        found: dict[str, int] = {}
        for piece, item in enumerate(self.order.pieces.item.tolist()):
            found.setdefault(self.order.mixture.where(item), piece)
        return found

    @functools.cached_property
    def row_of_piece(self) -> dict[int, int]:
        """The first row that every piece stands in."""
        found: dict[int, int] = {}
        for row, pieces in enumerate(self.order.plan.rows):
            for piece in pieces:
                found.setdefault(piece, row)
        return found

    def find(self, where: str) -> tuple[int, Segment] | None:
        """The step that holds the conversation, and its segment there, read from the real row."""
        piece = self.pieces.get(where)
        if piece is None:
            return None
        row = self.row_of_piece[piece]
        step = bisect_right(self.order.plan.step_starts, row) - 1
        batch = Batch.from_rows([self.order.row(row)], self.order.attends)
        number = row - self.order.plan.step_starts[step]
        segments = segments_of_row(self.material, self.stage, batch, 0, number)
        return step, segments[self.order.plan.rows[row].index(piece)]


LOOKED_AT = 5000
"""How many conversations are looked at for one with a tool call."""


def shared_conversation(a: Finder, b: Finder) -> tuple[Segment, Segment] | None:
    """A conversation that both stages hold: the shortest with a tool call, else the shortest."""
    lengths = b.order.pieces.length
    shared = sorted(a.pieces.keys() & b.pieces.keys(), key=lambda where: (lengths[b.pieces[where]], where))
    best = next((where for where in shared[:LOOKED_AT] if _calls_a_tool(b, where)), shared[0] if shared else None)
    if best is None:
        return None
    ours, theirs = a.find(best), b.find(best)
    assert ours
    assert theirs
    return ours[1], theirs[1]


def _calls_a_tool(finder: Finder, where: str) -> bool:
    conversation = finder.order.mixture[int(finder.order.pieces.item[finder.pieces[where]])]
    return any(part.type == "python" for message in conversation.messages for part in message.parts)
