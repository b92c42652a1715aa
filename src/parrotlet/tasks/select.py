"""Parts of a task: slices, and the rows held out for validation."""

from __future__ import annotations

import hashlib

import numpy as np

from ..chat import Conversation
from .base import Split, Task, digest
from .rows import RowTask


class Selection(Task):
    """Some items of another task, in a given order."""

    def __init__(self, task: Task, indices: np.ndarray, split: Split | None = None) -> None:
        self.task, self.indices = task, indices
        self.name, self.dataset, self.kind = task.name, task.dataset, task.kind
        self.split = split or task.split

    @property
    def fingerprint(self) -> str:
        """Of the task and of which items are taken."""
        return digest("selection", self.task.fingerprint, hashlib.sha256(self.indices.tobytes()).hexdigest())

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Conversation:
        return self.task[int(self.indices[index])]

    def where(self, index: int) -> str:
        """The place in the task that it is taken from."""
        return self.task.where(int(self.indices[index]))

    def judge(self, conversation: Conversation, answer: str) -> bool:
        """As the task judges."""
        return self.task.judge(conversation, answer)

    def chance(self, index: int) -> float:
        """As in the task."""
        return self.task.chance(int(self.indices[index]))


def hold_out(task: RowTask, split: Split) -> Task:
    """The train or validation part of a training set that comes without a validation split.

    The two never share a content: what is held out here is never trained on, though it stands in several rows.
    """
    assert split != "test", "a test set is never made of training rows"
    held_out = task.rows.held_out
    return Selection(task, np.flatnonzero(held_out if split == "validation" else ~held_out), split)


def cut_out(task: Task, start: int | None, stop: int | None) -> Task:
    """The items from `start` up to, not including, `stop`."""
    if start is None and stop is None:
        return task
    return Selection(task, np.arange(len(task), dtype=np.int64)[start:stop])
