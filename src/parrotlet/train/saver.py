"""Saves checkpoints beside the training: what is to be saved is copied, the training goes on, a thread writes."""

from __future__ import annotations

import threading
from collections.abc import Callable

LAST_WAIT_SECONDS = 10.0
"""After an error elsewhere, for a save that is under way: other ranks, which it needs, may be gone."""


class Saver:
    """Runs one save at a time. What it raises is raised where the training next looks."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, save: Callable[[], None]) -> None:
        """Begin to save; waits for the save before it."""
        self.wait()

        def work() -> None:
            try:
                save()
            except BaseException as error:
                self._error = error

        self._thread = threading.Thread(target=work, name="save", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether a save is under way."""
        return self._thread is not None and self._thread.is_alive()

    def check(self) -> None:
        """Raise what went wrong, if anything did."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def wait(self) -> None:
        """Wait until what was begun is on the disk, or has failed."""
        if self._thread is not None:
            self._thread.join()
        self.check()

    def __enter__(self) -> Saver:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None:
            self.wait()
        elif self._thread is not None:
            self._thread.join(LAST_WAIT_SECONDS)
