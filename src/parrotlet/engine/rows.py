"""Which answer has which row of the decoder's memory, and what is reused of what a row holds."""

from __future__ import annotations

from dataclasses import dataclass, field

from .decoder import Decoder
from .turn import Turn

CHUNK = 256
"""Prompts are fed in pieces that end at multiples of this."""


@dataclass
class Row:
    """A row of the memory."""

    turn: Turn | None = None
    left: list[int] = field(default_factory=list)
    """Without a turn: tokens of the last one's prompt whose keys and values are still here."""
    freed: int = 0
    """When it was freed: the longest ago is taken first."""

    @property
    def known(self) -> list[int]:
        """Tokens whose keys and values are here and may be reused: those of prompts, fed as a fresh prompt would be."""
        return self.left if self.turn is None else self.turn.prompt[: min(self.turn.fed, len(self.turn.prompt) - 1)]

    @property
    def used(self) -> int:
        """Slots, from the first on, that hold something."""
        return len(self.left) if self.turn is None else self.turn.fed


class Rows:
    """The rows of a decoder. The first `decoding` of them are those that a step computes: a turn that has to wait moves
    behind them, and its place is taken by the last one."""

    def __init__(self, decoder: Decoder, count: int) -> None:
        self._decoder = decoder
        self._rows = [Row() for _ in range(count)]
        self._decoding = 0
        self._clock = 0

    @property
    def turns(self) -> list[Turn]:
        """All turns that have a row, in the order of rows."""
        return [row.turn for row in self._rows if row.turn is not None]

    @property
    def decoding(self) -> list[Turn]:
        """The turns of the first rows."""
        return [row.turn for row in self._rows[: self._decoding] if row.turn is not None]

    @property
    def free(self) -> bool:
        """Whether there is a row for another turn."""
        return any(row.turn is None for row in self._rows)

    def give(self, turn: Turn) -> None:
        """Give a turn a row, with as much of its prompt as is in memory."""
        reusable = [_reusable(row.known, turn.prompt, self._decoder.grain) for row in self._rows]
        best = max(range(len(self._rows)), key=lambda i: (reusable[i], self._rows[i].turn is None))
        free = [i for i, row in enumerate(self._rows) if row.turn is None]
        chosen = best if best in free and reusable[best] else min(free, key=lambda i: self._rows[i].freed)
        if chosen != best and reusable[best]:
            self._decoder.memory.copy(best, chosen, reusable[best])
        turn.fed = turn.reused = reusable[best]
        self._rows[chosen].turn = turn

    def take_back(self, turn: Turn) -> None:
        """Free a turn's row."""
        self._set_aside(turn)
        row = self._rows[self._index(turn)]
        self._clock += 1
        row.left, row.turn, row.freed = row.known, None, self._clock

    def feed(self, turn: Turn) -> int:
        """Feed a piece of what comes before the turn's last token; returns its length."""
        start, last = turn.fed, len(turn) - 1
        end = min((start // CHUNK + 1) * CHUNK, last)
        end = last if last - end < self._decoder.grain else end
        self._decoder.prefill(self._index(turn), turn.tokens(start, end), start)
        turn.fed = end
        return end - start

    def arrange(self) -> None:
        """Bring the turns that are ready to the first rows, and those that aren't behind them."""
        for turn in self.decoding:
            if not turn.ready:
                self._set_aside(turn)
        for i in range(self._decoding, len(self._rows)):
            turn = self._rows[i].turn
            if turn is not None and turn.ready:
                self._swap(i, self._decoding)
                self._decoding += 1

    def _set_aside(self, turn: Turn) -> None:
        if self._index(turn) < self._decoding:
            self._decoding -= 1
            self._swap(self._index(turn), self._decoding)

    def _swap(self, a: int, b: int) -> None:
        if a != b:
            rows = self._rows
            self._decoder.memory.swap(a, b, max(rows[a].used, rows[b].used))
            rows[a], rows[b] = rows[b], rows[a]

    def _index(self, turn: Turn) -> int:
        return next(i for i, row in enumerate(self._rows) if row.turn is turn)


def _reusable(known: list[int], prompt: list[int], grain: int) -> int:
    """Tokens that both begin with, in whole grains, such that there is nothing left to feed or a grain at least."""
    last = len(prompt) - 1
    most = min(len(known), last)
    alike = known[:most] == prompt[:most]  # nearly always, or they part early
    common = most if alike else next(i for i in range(most) if known[i] != prompt[i])
    common -= common % grain
    return max(0, common - grain) if 0 < last - common < grain else common
