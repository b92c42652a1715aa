"""Tool calls beside generation: each in a thread of its own, with a time limit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ..tools import ToolError

Tool = Callable[[str], str]
"""What a call is answered with; raises `ToolError` where it can't be."""


class ToolCall:
    """A call that runs from now on. The limit needs no signal, so it holds in whatever thread the engine runs.

    A thread can't be ended from outside: one that is past its limit is left behind, and ends with the process. A tool
    that may take long must bound itself, too.
    """

    def __init__(self, tool: Tool, expression: str, seconds: float, on_done: Callable[[], None]) -> None:
        self.deadline = time.monotonic() + seconds
        self._late = f"error: no result after {seconds:g} seconds"
        self._outcome: str | Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(tool, expression, on_done), daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether `result` has something to give."""
        return self._outcome is not None or time.monotonic() >= self.deadline

    def result(self) -> str:
        """What is written into the answer; an error is written there, too. Raises what the tool should not have."""
        outcome = self._outcome
        if isinstance(outcome, Exception):
            raise outcome
        return self._late if outcome is None else outcome

    def wait(self, seconds: float) -> None:
        """Give it a moment."""
        self._thread.join(seconds)

    def _run(self, tool: Tool, expression: str, on_done: Callable[[], None]) -> None:
        try:
            self._outcome = tool(expression)
        except ToolError as error:
            self._outcome = f"error: {error}"
        except Exception as error:  # raised again where the result is asked for
            self._outcome = error
        on_done()
