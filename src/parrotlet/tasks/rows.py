"""Tasks whose items are rows of data."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..chat import Conversation
from ..errors import UserError
from ..files import cache_folder, sha256, written_aside
from ..progress import ProgressLine
from .base import Split, Task, digest

HELD_OUT = 20
"""One row in so many, on average, is held out for validation where a dataset has no split for it."""


class Rows(ABC):
    """Rows of files, numbered from 0; a row is plain Python values."""

    paths: Sequence[Path]
    columns: Sequence[str] = ()
    """Which columns of the files a row has, where not all."""

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the content of the files."""
        return hashlib.sha256("".join(map(sha256, self.paths)).encode()).hexdigest()

    @cached_property
    def held_out(self) -> np.ndarray:
        """(N,) bool: which rows are for validation where there is no split for it: about one in `HELD_OUT`.

        Their content decides, so rows that are alike are never on both sides. Computed once for the same files.
        """
        key = digest(type(self).__name__, self.fingerprint, HELD_OUT, *self.columns)
        known = cache_folder() / "held-out" / f"{key[:32]}.npy"
        if not known.exists():
            chosen, progress = np.empty(len(self), dtype=bool), ProgressLine("held out", len(self))
            for i in range(len(self)):
                chosen[i] = _bucket(self.content(i)) == 0
                progress.update(i + 1)
            progress.close()
            with written_aside(known) as aside, aside.open("wb") as file:
                np.save(file, chosen)
        return np.load(known)

    def content(self, index: int) -> object:
        """What makes a row this row: by default, all of it."""
        return self[index]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Any: ...

    @abstractmethod
    def where(self, index: int) -> str:
        """File and row, for messages."""


class RowTask(Task):
    """A task that turns each row into a conversation when it is asked for."""

    def __init__(self, name: str, dataset: str, split: Split, rows: Rows) -> None:
        self.name, self.dataset, self.split, self.rows = name, dataset, split, rows

    @property
    def fingerprint(self) -> str:
        """Of the rows and of what they are turned into."""
        return digest(type(self).__name__, self.rows.fingerprint)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Conversation:
        return self.convert(self.rows[index], self.where(index))

    def where(self, index: int) -> str:
        """File and row of an item."""
        return self.rows.where(index)

    @abstractmethod
    def convert(self, row: Any, where: str) -> Conversation:
        """The conversation of a row. Raises `UserError`, naming the place, for a row that is none."""


def _bucket(content: object) -> int:
    digits = hashlib.blake2b(repr(content).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digits, "big") % HELD_OUT


def text_of(row: Any, column: str, where: str) -> str:
    """A value of a row that has to be a text."""
    if not isinstance(row[column], str):
        raise UserError(f"{where}: the column {column!r} holds {row[column]!r}, expected a text")
    return row[column]


def texts_of(row: Any, column: str, where: str) -> list[str]:
    """A value of a row that has to be a list of texts."""
    value = row.get(column) if isinstance(row, dict) else None
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        found = value if isinstance(row, dict) else row
        raise UserError(f"{where}: the column {column!r} holds {found!r}, expected a list of texts")
    return value
