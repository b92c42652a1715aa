"""Several tasks as one, shuffled together."""

from __future__ import annotations

import bisect
import functools
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from ..chat import Conversation
from ..errors import UserError
from .base import Task, digest


class TaskMixture:
    """The items of some tasks, shuffled together by `seed`; those of a task with `repeat` = n, n times.

    Where n is not whole, the seed draws which of the items come once more.
    """

    def __init__(self, tasks: Sequence[Task], seed: int) -> None:
        self.tasks, self.seed = tuple(tasks), seed
        counts = [round(len(task) * task.repeat) for task in self.tasks]
        for task, count in zip(self.tasks, counts, strict=True):
            if len(task) and not count:
                raise UserError(
                    f"task {task.name}: repeat × weight = {task.repeat:g} of its {len(task)} items is not one; "
                    f"give it {1 / len(task):.2g} or more, or leave the task out"
                )
        self._starts = [0, *itertools.accumulate(counts)]
        """Where each task begins, and at the end the number of all items."""
        self._order = np.random.Generator(np.random.PCG64(seed)).permutation(self._starts[-1])
        self._drawn = functools.cache(self._draw)

    @property
    def fingerprint(self) -> str:
        """Changes when an item, its weight or the order does."""
        return digest("mixture", self.seed, *((task.fingerprint, task.repeat, task.phase) for task in self.tasks))

    @property
    def of_task(self) -> np.ndarray:
        """(N,) the task of every item, its place in `tasks`."""
        return np.searchsorted(self._starts, self._order, side="right") - 1

    @property
    def phases(self) -> np.ndarray:
        """(N,) the phase of every item."""
        return np.array([task.phase for task in self.tasks])[self.of_task]

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: int) -> Conversation:
        task, item = self.locate(index)
        return self.tasks[task][item]

    def __iter__(self) -> Iterator[Conversation]:
        return (self[index] for index in range(len(self)))

    def where(self, index: int) -> str:
        """The place of an item in its task's data."""
        task, item = self.locate(index)
        return self.tasks[task].where(item)

    def locate(self, index: int) -> tuple[int, int]:
        """Which task (its place in `tasks`) and which of its items number `index` is."""
        place = int(self._order[index])
        task = bisect.bisect_right(self._starts, place) - 1
        place -= self._starts[task]
        passes, item = divmod(place, len(self.tasks[task]))
        return task, item if passes < int(self.tasks[task].repeat) else int(self._drawn(task)[item])

    def _draw(self, task: int) -> np.ndarray:
        """The items of a task in the order in which the last pass, which is not whole, takes them."""
        return np.random.Generator(np.random.PCG64([self.seed, task])).permutation(len(self.tasks[task]))
