"""What a person types: lines that can be edited and called back, and messages of several lines."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

QUOTES = '"""'
KEPT_LINES = 1000


def read_message(prompt: str) -> str | None:
    """A message; None at the end of the input.

    A line that ends with a backslash goes on in the next one; one that begins with three quotes goes on up to the line
    that ends with three.
    """
    try:
        line = input(prompt)
        if line.lstrip().startswith(QUOTES):
            return _quoted(line.lstrip().removeprefix(QUOTES))
        lines = [line]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1]
            lines.append(input("...> "))
    except EOFError:
        print()
        return None
    return "\n".join(lines).strip()


@contextmanager
def history(path: Path) -> Iterator[None]:
    """Lines are edited with the arrow keys, and those of earlier sessions are called back from `path`. Only at a
    terminal, and where Python has readline; a history that can't be read or written is done without."""
    try:
        import readline
    except ModuleNotFoundError:
        yield
        return
    if not sys.stdin.isatty():
        yield
        return
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    try:
        yield
    finally:
        readline.set_history_length(KEPT_LINES)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(path)


def _quoted(line: str) -> str:
    lines = [line]
    while not lines[-1].rstrip().endswith(QUOTES):
        lines.append(input("...> "))
    lines[-1] = lines[-1].rstrip().removesuffix(QUOTES)
    return "\n".join(lines).strip("\n")
