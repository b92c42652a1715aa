"""`Task`: a dataset of conversations that can be trained on and, if it can judge an answer, evaluated on."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Literal

from ..chat import Conversation

Split = Literal["train", "validation", "test"]
Kind = Literal["choice", "generative"]

ITEMS_VERSION = 3
"""Part of every task's fingerprint: raise it whenever the same data would become other conversations."""


class Task(ABC):
    """Conversations, numbered from 0. Those that can be judged end with the reference answer.

    `__getitem__` raises `IndexError` past the end and `UserError` where the data are bad.
    """

    name: str
    """What it is called in results: "gsm8k", or as its spec says."""
    dataset: str
    """Where the items come from: a dataset's id, a file, or a word about how they are made."""
    split: Split
    kind: Kind | None = None
    """How it is evaluated: by the letter chosen or by what the model writes. None: it is only trained on."""
    repeat: float = 1
    """How many times a mixture holds each item, on average."""
    phase: int = 1
    """What a mixture gives first: phase 1, then 2, …"""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Hex digits that change when the items do."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Conversation: ...

    @abstractmethod
    def where(self, index: int) -> str:
        """The place of an item, for messages and inspectors: "…/train-00000-of-00001.parquet, row 17"."""

    def __iter__(self) -> Iterator[Conversation]:
        return (self[index] for index in range(len(self)))

    def judge(self, conversation: Conversation, answer: str) -> bool:
        """Whether `answer`, the text parts of what the model wrote, is right.

        `conversation` is an item of this task, reference answer and all.
        """
        raise NotImplementedError(f"{self.name} can only be trained on (its kind is {self.kind})")

    def chance(self, index: int) -> float:
        """The accuracy of guessing at this item."""
        return 0.0


def digest(*parts: object) -> str:
    """SHA-256, in hex, of values that print the same everywhere."""
    return hashlib.sha256("\0".join(map(str, (ITEMS_VERSION, *parts))).encode()).hexdigest()
