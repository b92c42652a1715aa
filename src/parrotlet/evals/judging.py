"""Judging answers, several at a time: a judge may run programs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from ..chat import Conversation
from ..tasks import Task

Progress = Callable[[int, int], None]


def judge_all(
    task: Task, items: Sequence[Conversation], texts: Sequence[str], on_progress: Progress = lambda done, total: None
) -> list[bool]:
    """Whether each of `texts` is right for its item. A judge's `UserError` is raised."""
    right = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for verdict in pool.map(task.judge, items, texts):
            right.append(verdict)
            on_progress(len(right), len(items))
    return right
