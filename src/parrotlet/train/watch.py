"""Watches over the ranks of a training: when one is gone or stands still, all end, with one message that names it."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter

import torch.distributed as dist

from .. import ranks
from ..errors import UserError

BEAT_SECONDS = 0.5
SILENT_SECONDS = 5.0
"""A rank that has not beaten for so long is gone, or stopped from outside."""
STAND_STILL_SECONDS = 600.0
"""How long a rank may be at one thing."""
PATIENCE = 6
"""How many times as long it may measure or save."""
ENDED_FROM_OUTSIDE = (
    "If it left no message of its own it was ended from outside: out of memory, or its machine failed. The last "
    "checkpoint is intact; the same command goes on from it"
)


class Watch:
    """A thread on every rank, which tells the others where this one is and looks where they are.

    With one rank it does nothing.
    """

    def __init__(self, stage: str, limit: float = STAND_STILL_SECONDS) -> None:
        self.stage, self.limit = stage, limit
        self._until = float("inf")
        self._where, self._beats = f"{stage}: starting", 0
        self._told = False  # whether a rank has said why the job ends
        self._closed = threading.Event()

    def at(self, step: int, doing: str, patience: int = 1) -> None:
        """Say what this rank does now; it may take `patience` times as long as the limit."""
        self._where = f"{self.stage} step {step}, {doing}"
        self._until = time.monotonic() + self.limit * patience

    def close(self) -> None:
        """Look at the others no more: all is saved."""
        self._closed.set()

    def __enter__(self) -> Watch:
        if ranks.world_size() > 1:
            self._beat()  # at once: a rank that goes before its next beat has been seen, too
            threading.Thread(target=self._run, name="watch", daemon=True).start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._until = float("inf")
        if isinstance(error, RuntimeError) and ranks.world_size() > 1:  # what torch raises when a peer is gone
            try:
                gone = self.silent_ranks()
            except dist.DistError:
                raise UserError(self._alone()) from error
            finally:
                self._closed.set()
            if gone:
                raise UserError(self._gone(gone)) from error
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.wait(BEAT_SECONDS):
            try:
                self._beat()
            except dist.DistError:  # nobody will end this process, so it does so itself
                if not self._told:
                    ranks.tell_failure(f"error: {self._alone()}")
                os._exit(2)
            if time.monotonic() > self._until:
                self._end_standstill()

    def _beat(self) -> None:
        self._beats += 1
        ranks.post("beat", f"{self._beats} {self._where}")
        self._told = ranks.failure_is_told()

    def _end_standstill(self) -> None:
        """End the process: the main thread is inside something that may never return."""
        self._until = float("inf")
        threading.Thread(target=self._run, daemon=True).start()  # the others look at our beats, too
        time.sleep(2 * BEAT_SECONDS)
        silent = self.silent_ranks()
        message = self._gone(silent) if silent else _standing(_places(), self.limit)
        ranks.tell_failure(f"error: {message}")
        os._exit(2)

    def silent_ranks(self) -> dict[int, str]:
        """The ranks that have not beaten for `SILENT_SECONDS`, and where each was last."""
        before = ranks.posted("beat")
        time.sleep(SILENT_SECONDS)
        return {rank: _place(beat) for rank, beat in ranks.posted("beat").items() if beat == before.get(rank)}

    def _gone(self, silent: dict[int, str]) -> str:
        which = "; ".join(f"rank {rank} is gone or stopped (last seen at {place})" for rank, place in silent.items())
        return f"{which}; rank {ranks.rank()} waits at {self._where}. {ENDED_FROM_OUTSIDE}"

    def _alone(self) -> str:
        return f"rank 0 or its launcher is gone; rank {ranks.rank()} waits at {self._where}. {ENDED_FROM_OUTSIDE}"


def _places() -> dict[int, str]:
    return {rank: _place(beat) for rank, beat in ranks.posted("beat").items()}


def _place(beat: str) -> str:
    return beat.partition(" ")[2]


def _standing(places: dict[int, str], limit: float) -> str:
    """The ranks that are elsewhere than most."""
    most = Counter(places.values()).most_common(1)[0][0]
    apart = {rank: place for rank, place in places.items() if place != most} or places
    which = "; ".join(f"rank {rank} stands still at {place}" for rank, place in apart.items())
    return f"{which}; nothing moved for {limit:.0f} s. The last checkpoint is intact; the same command goes on from it"
