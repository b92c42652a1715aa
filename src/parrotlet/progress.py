"""A line that says how far something is and when it will be done."""

from __future__ import annotations

import sys
import time
from collections import deque

from . import ranks

LOG_EVERY_SECONDS = 15.0
SHOW_AFTER_SECONDS = 1.0


class ProgressLine:
    """On a terminal one line that rewrites itself; in a log file a new line every 15 seconds and at the end.

    A total of 0 is one that nobody knows yet. The time left is told from the second update on, and from then on
    measured: the first piece of work waits for compilers and files. Of several ranks only the first shows anything.
    """

    def __init__(self, label: str, total: int) -> None:
        self.label, self.total = label, total
        self.started = self.shown = time.monotonic()
        self.recent: deque[tuple[float, int]] = deque(maxlen=50)
        self.on_terminal = sys.stderr.isatty()
        self._visible = False

    def update(self, done: int, detail: str = "") -> None:
        """Say that `done` of the total are done; `detail` stands between the count and the time left."""
        now = time.monotonic()
        self.recent.append((now, done))
        every = 0.2 if self.on_terminal else LOG_EVERY_SECONDS
        first_time = not self._visible and now - self.started > SHOW_AFTER_SECONDS
        if ranks.is_first() and (first_time or (self._visible and now - self.shown >= every)):
            self._show(done, detail, now)

    def __call__(self, done: int, total: int) -> None:
        """The same, as a plain callback."""
        self.total = total
        self.update(done)

    def clear(self) -> None:
        """Make room for other output."""
        if self._visible and self.on_terminal:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

    def close(self, summary: str = "") -> None:
        """Take the line away and, if given, leave a summary."""
        self.clear()
        if summary and ranks.is_first():
            print(f"{self.label:<10} {summary}", file=sys.stderr, flush=True)

    def _show(self, done: int, detail: str, now: float) -> None:
        self._visible, self.shown = True, now
        since, already = self.recent[0]
        rate = (done - already) / max(now - since, 1e-9)
        left = f"{duration((self.total - done) / rate)} left" if rate > 0 and self.total else ""
        width = len(str(self.total))
        count = f"{done:>{width}}/{self.total}" if self.total else f"{done:,}"
        text = f"{self.label:<10} {count}  {detail}  {left}".rstrip()
        sys.stderr.write(f"\r{text[:79]}\033[K" if self.on_terminal else text + "\n")
        sys.stderr.flush()


def duration(seconds: float) -> str:
    """A time as people say it: `45 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
