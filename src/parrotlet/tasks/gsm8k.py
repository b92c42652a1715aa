"""GSM8K: grade-school word problems, solved with a calculator (Cobbe et al. 2021, arXiv:2110.14168)."""

from __future__ import annotations

import re
from typing import Any

from ..chat import Conversation, Message, Part
from ..errors import UserError
from ..hub import Hub
from .base import Task
from .judge import FINAL, extract_final_value, same_final_value
from .parquet import dataset_rows
from .rows import RowTask, text_of
from .select import hold_out
from .spec import TaskSpec

DATASET = "openai/gsm8k"

_ANNOTATION = re.compile(r"<<([^<>]+)=([^<>=]+)>>")


class Gsm8k(RowTask):
    """A row is a question and a worked answer, which ends with `#### value`."""

    kind = "generative"

    def convert(self, row: Any, where: str) -> Conversation:
        """The question, and the answer with its annotations as calls of the calculator."""
        question, answer = text_of(row, "question", where), text_of(row, "answer", where)
        if extract_final_value(answer) is None:
            raise UserError(f"{where}: the answer gives no value after {FINAL}: {answer[-80:]!r}")
        return Conversation((Message("user", question), Message("assistant", parts_of(answer))))

    def judge(self, conversation: Conversation, answer: str) -> bool:
        """Whether the value after `####` is the reference's, as a number."""
        return same_final_value(conversation.messages[-1].text, answer)


def parts_of(answer: str) -> tuple[Part, ...]:
    """Each annotation `<<expression=result>>` as a call and its output; other text stays to the letter."""
    parts: list[Part] = []
    end = 0
    for annotation in _ANNOTATION.finditer(answer):
        parts += _text(answer[end : annotation.start()])
        parts += [Part("python", annotation[1]), Part("python_output", annotation[2])]
        end = annotation.end()
    return (*parts, *_text(answer[end:]))


def load(spec: TaskSpec, hub: Hub) -> Task:
    """The folder `main`, or another subset; validation is held out of train."""
    dataset = spec.dataset or DATASET
    file = "test" if spec.split == "test" else "train"
    rows = dataset_rows(hub, dataset, f"{spec.subset or 'main'}/{file}-*.parquet", ("question", "answer"))
    task = Gsm8k(spec.task, dataset, spec.split, rows)
    return task if file == "test" else hold_out(task, spec.split)


def _text(text: str) -> list[Part]:
    return [Part("text", text)] if text else []
