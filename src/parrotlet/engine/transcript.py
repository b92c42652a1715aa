"""What an answer says, piece by piece, while its tokens come: text, calls, results."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Literal

from ..chat import Part
from ..tokenizer import Tokenizer

PieceKind = Literal["text", "call", "result"]
Piece = tuple[PieceKind, str]


class Transcript:
    """Text is told in whole characters, and never a part of a stop string; calls and results are told whole."""

    def __init__(self, tokenizer: Tokenizer, stop: tuple[str, ...]) -> None:
        self.stopped = False
        """Whether a stop string came; nothing after it is told."""
        self._tokenizer, self._stop = tokenizer, stop
        self._parts: list[Part] = []
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._text = ""
        """Told since the last call."""
        self._held = ""
        """Not told yet: a stop string may begin here."""
        self._call: list[int] | None = None

    @property
    def in_call(self) -> bool:
        """Whether a call is open."""
        return self._call is not None

    @property
    def call(self) -> str:
        """The expression of the open call so far."""
        return self._tokenizer.decode(self._call or [])

    @property
    def parts(self) -> tuple[Part, ...]:
        """As a message's content. A call that has no result is left out, for a conversation can't go on after it."""
        return (*self._parts, *([Part("text", self._text)] if self._text else []))

    def add(self, token: int) -> Iterator[Piece]:
        """A token that the model wrote."""
        if token == self._tokenizer.python_start:
            yield from self.close()
            self._call = []
        elif self._call is None:
            yield from self._write(self._decoder.decode(self._tokenizer.token_bytes(token)))
        elif token == self._tokenizer.python_end:
            yield "call", self.call
        else:
            self._call.append(token)

    def add_result(self, tokens: list[int]) -> Iterator[Piece]:
        """The tokens of the result of the call that has just ended."""
        result = self._tokenizer.decode(tokens)
        self._parts = [*self.parts, Part("python", self.call), Part("python_output", result)]
        self._text, self._call = "", None
        yield "result", result

    def close(self) -> Iterator[Piece]:
        """No more text comes, for now or at all: tell what was held back."""
        if self.stopped:
            return
        yield from self._write(self._decoder.decode(b"", final=True))
        self._decoder.reset()
        yield from self._tell(len(self._held))

    def _write(self, text: str) -> Iterator[Piece]:
        self._held += text
        found = [at for stop in self._stop if (at := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            self._held = self._held[: min(found)]
        yield from self._tell(len(self._held) - (0 if found else self._may_stop()))

    def _tell(self, length: int) -> Iterator[Piece]:
        told, self._held = self._held[:length], self._held[length:]
        self._text += told
        if told:
            yield "text", told

    def _may_stop(self) -> int:
        """Length of the longest end of the held text that a stop string begins with."""
        lengths = range(min(len(self._held), max(map(len, self._stop), default=0)), 0, -1)
        return next((n for n in lengths if any(stop.startswith(self._held[-n:]) for stop in self._stop)), 0)
