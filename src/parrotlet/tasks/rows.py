"""Tasks whose items are rows of data."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ..chat import Conversation
from ..errors import UserError
from .base import Split, Task, digest


class Rows(ABC):
    """Rows of files, numbered from 0; a row is plain Python values."""

    paths: Sequence[Path]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the content of the files."""
        whole = hashlib.sha256()
        for path in self.paths:
            with path.open("rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
        return whole.hexdigest()

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


def text_of(row: Any, column: str, where: str) -> str:
    """A value of a row that has to be a text."""
    if not isinstance(row[column], str):
        raise UserError(f"{where}: the column {column!r} holds {row[column]!r}, expected a text")
    return row[column]


def texts_of(row: Any, column: str, where: str) -> list[str]:
    """A value of a row that has to be a list of texts."""
    value = row and row[column]
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise UserError(f"{where}: the column {column!r} holds {value!r}, expected a list of texts")
    return value
