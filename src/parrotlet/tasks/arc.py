"""ARC: grade-school science questions, easy and challenging (Clark et al. 2018, arXiv:1803.05457)."""

from __future__ import annotations

from typing import Any

from ..chat import Conversation
from ..errors import UserError
from ..hub import Hub
from .choice import ChoiceTask, ask
from .parquet import dataset_rows
from .rows import text_of, texts_of
from .spec import TaskSpec

DATASET = "allenai/ai2_arc"


class Arc(ChoiceTask):
    """A row is a question with three to five choices, labelled A–E or 1–5."""

    def convert(self, row: Any, where: str) -> Conversation:
        """The question as multiple choice. Letters go by position, whatever the labels are."""
        labels = texts_of(row["choices"], "label", where)
        key = row["answerKey"]
        if key not in labels:
            raise UserError(f"{where}: the answer {key!r} is none of the labels {', '.join(map(str, labels))}")
        choices = texts_of(row["choices"], "text", where)
        return ask(text_of(row, "question", where), choices, labels.index(key), None, where)


def load_easy(spec: TaskSpec, hub: Hub) -> Arc:
    """ARC-Easy."""
    return _load(spec, hub, "ARC-Easy")


def load_challenge(spec: TaskSpec, hub: Hub) -> Arc:
    """ARC-Challenge."""
    return _load(spec, hub, "ARC-Challenge")


def _load(spec: TaskSpec, hub: Hub, subset: str) -> Arc:
    dataset = spec.dataset or DATASET
    pattern = f"{spec.subset or subset}/{spec.split}-*.parquet"
    return Arc(
        spec.task,
        dataset,
        spec.split,
        dataset_rows(hub, dataset, pattern, ("question", "choices", "answerKey")),
    )
