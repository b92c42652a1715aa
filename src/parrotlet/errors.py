"""The errors that mean: the user can fix this."""

from __future__ import annotations

import sys

MOST_BAD_ROWS = 1000
"""Looking for more of them ends here: the file is another than it was taken for."""
NAMED = 10


class UserError(ValueError):
    """Bad input. The message names the file, the row, what was found and what to do; the exit code is 2."""


def missing_package(package: str, extra: str) -> UserError:
    """What to say where a package that belongs to an extra is not installed."""
    install = f"{sys.executable} -m pip install --constraint constraints.txt --editable '.[{extra}]'"
    return UserError(f"{package} is not installed; in Parrotlet's folder: {install}")


class BadRows(UserError):
    """Rows of a file that can't be read: says what is wrong with the first, and which the others are."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: dict[int, str] = {}
        """What is wrong, by number of the line or row."""

    def add(self, row: int, message: object) -> None:
        """Remember what is wrong with a row. Raises this error when there are `MOST_BAD_ROWS`."""
        self.messages[row] = str(message)
        if len(self.messages) == MOST_BAD_ROWS:
            raise self

    def finish(self) -> None:
        """Raise this error if there is a bad row."""
        if self.messages:
            raise self

    def __str__(self) -> str:
        first, *others = self.messages
        if not others:
            return self.messages[first]
        shown = ", ".join(map(str, others[:NAMED])) + (", …" if len(others) > NAMED else "")
        return f"{self.messages[first]} (bad, too: {len(others)} more lines, {shown})"
