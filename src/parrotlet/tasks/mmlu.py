"""MMLU: multiple-choice questions of 57 subjects (Hendrycks et al. 2021, arXiv:2009.03300)."""

from __future__ import annotations

from typing import Any

from ..chat import Conversation
from ..errors import UserError
from ..hub import Hub
from .choice import ChoiceTask, ask
from .parquet import dataset_rows
from .rows import text_of, texts_of
from .spec import TaskSpec

DATASET = "cais/mmlu"
COLUMNS = ("question", "subject", "choices", "answer")


class Mmlu(ChoiceTask):
    """A row is a question with its choices and the number of the right one."""

    def convert(self, row: Any, where: str) -> Conversation:
        """The question as multiple choice."""
        answer = row["answer"]
        if not isinstance(answer, int):
            raise UserError(f"{where}: the column 'answer' holds {answer!r}, expected the number of a choice")
        choices = texts_of(row, "choices", where)
        return ask(text_of(row, "question", where), choices, answer, row["subject"] or None, where)


def load(spec: TaskSpec, hub: Hub) -> Mmlu:
    """Train is auxiliary_train (or `dev` as subset); validation and test are of all subjects (or of one)."""
    dataset = spec.dataset or DATASET
    rows = dataset_rows(hub, dataset, _pattern(spec), COLUMNS)
    return Mmlu(spec.task, dataset, spec.split, rows)


def _pattern(spec: TaskSpec) -> str:
    if spec.split != "train":
        return f"{spec.subset or 'all'}/{spec.split}-*.parquet"
    return "all/dev-*.parquet" if spec.subset == "dev" else f"{spec.subset or 'auxiliary_train'}/train-*.parquet"
