"""Identity: conversations about who the assistant is, with what a right answer has to say."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from ..chat import Conversation
from ..errors import UserError
from ..hub import Hub
from .judge import says_all
from .parquet import dataset_rows
from .rows import RowTask, texts_of
from .spec import TaskSpec

DATASET = "parrotlet/identity"


class Identity(RowTask):
    """A row is a list of messages, and the texts that its last answer has to hold."""

    kind = "generative"

    def convert(self, row: Any, where: str) -> Conversation:
        """The messages as they stand."""
        conversation = Conversation.from_messages(row["messages"], where)
        conversation.check_trainable(where)
        return conversation

    def judge(self, conversation: Conversation, answer: str) -> bool:
        """Whether each expected text is in the answer, in small letters or capitals."""
        return says_all(answer, self._expected[conversation])

    @cached_property
    def _expected(self) -> dict[Conversation, list[str]]:
        """What a right answer says. A conversation doesn't carry it: it is for the judge's eyes only."""
        return {self[i]: self._expects(i) for i in range(len(self))}

    def _expects(self, index: int) -> list[str]:
        where = self.where(index)
        expects = texts_of(self.rows[index], "expects", where)
        if not expects or not all(expects):
            raise UserError(f"{where}: the column 'expects' holds {expects}: any answer would be right")
        return expects


def load(spec: TaskSpec, hub: Hub) -> Identity:
    """The folder `data`, or another subset."""
    dataset = spec.dataset or DATASET
    pattern = f"{spec.subset or 'data'}/{spec.split}-*.parquet"
    return Identity(spec.task, dataset, spec.split, dataset_rows(hub, dataset, pattern, ("messages", "expects")))
