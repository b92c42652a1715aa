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
        self.error: Exception | None = None
        """What the tool should not have raised."""
        self._late = f"error: no result after {seconds:g} seconds"
        self._result: str | None = None
        self._thread = threading.Thread(target=self._run, args=(tool, expression, on_done), daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether it has a result or an error, or is late."""
        return self._result is not None or self.error is not None or time.monotonic() >= self.deadline

    @property
    def result(self) -> str:
        """What is written into the answer, once it is done; that a call failed or is late is written there, too."""
        return self._late if self._result is None else self._result

    def wait(self, seconds: float) -> None:
        """Give it a moment."""
        self._thread.join(seconds)

    def _run(self, tool: Tool, expression: str, on_done: Callable[[], None]) -> None:
        try:
            self._result = tool(expression)
        except ToolError as error:
            self._result = f"error: {error}"
        except Exception as error:  # raised by the engine's next step
            self.error = error
        on_done()
