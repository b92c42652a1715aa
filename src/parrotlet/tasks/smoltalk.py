"""SmolTalk: conversations of many kinds, selected for small models (Allal et al. 2025, arXiv:2502.02737)."""

from __future__ import annotations

from typing import Any

from ..chat import Conversation
from ..hub import Hub
from .base import Task
from .parquet import dataset_rows
from .rows import RowTask
from .select import hold_out
from .spec import TaskSpec

DATASET = "HuggingFaceTB/smol-smoltalk"


class SmolTalk(RowTask):
    """A row is a list of messages, which may begin with a system message."""

    def convert(self, row: Any, where: str) -> Conversation:
        """The messages as they stand, even if the user has the last word: nobody is there to mend the row."""
        return Conversation.from_messages(row["messages"], where)


def load(spec: TaskSpec, hub: Hub) -> Task:
    """The folder `data`, or another subset; validation is held out of train."""
    dataset = spec.dataset or DATASET
    file = "test" if spec.split == "test" else "train"
    rows = dataset_rows(hub, dataset, f"{spec.subset or 'data'}/{file}-*.parquet", ("messages",))
    task = SmolTalk(spec.task, dataset, spec.split, rows)
    return task if file == "test" else hold_out(task, spec.split)
