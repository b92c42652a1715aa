"""HumanEval: functions to write, judged by running their tests (Chen et al. 2021, arXiv:2107.03374)."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

from ..chat import Conversation, Message
from ..errors import UserError
from ..hub import Hub
from ..tools import check_allowed, run_tests
from .base import Task
from .parquet import dataset_rows
from .rows import RowTask, text_of
from .spec import TaskSpec

DATASET = "openai/openai_humaneval"
COLUMNS = ("prompt", "canonical_solution", "test", "entry_point")

_BLOCK = re.compile(r"```[\w.+#-]*[ \t]*\r?\n(.*?)(?:```|\Z)", re.DOTALL)


class HumanEval(RowTask):
    """A row is the head of a function with its documentation, its body, tests, and the function's name."""

    kind = "generative"

    def convert(self, row: Any, where: str) -> Conversation:
        """The head is what the user says; the whole function is the answer."""
        head, body = text_of(row, "prompt", where), text_of(row, "canonical_solution", where)
        return Conversation((Message("user", head), Message("assistant", head + body)))

    def judge(self, conversation: Conversation, answer: str) -> bool:
        """Whether the tests hold for the answer's function, in the sandbox.

        What else the head defines belongs to the tests, too, and so does the function's own name.
        """
        head = conversation.messages[0].text
        name, tests = self._tests[head]
        tests = f"{head}\n    pass\n\n{name} = candidate\n{tests}\ncheck(candidate)\n"
        return run_tests(program_of(head, name, answer), name, tests).passed

    @cached_property
    def _tests(self) -> dict[str, tuple[str, str]]:
        """Name and tests of the function that begins with each head."""
        rows = [self.rows[i] for i in range(len(self.rows))]
        return {row["prompt"]: (row["entry_point"], row["test"]) for row in rows}


def program_of(head: str, name: str, answer: str) -> str:
    """What an answer means: the first block of code in it, or all of it; a whole function, or only its body.

    The head is a function already, whose body is its documentation; what it imports and defines besides is needed.
    """
    block = _BLOCK.search(answer)
    code = block[1] if block else answer
    whole = re.search(rf"^(?:async )?def {re.escape(name)}\b", code, re.MULTILINE)
    return f"{head}\n    pass\n\n{code}" if whole else head + code


def load(spec: TaskSpec, hub: Hub) -> Task:
    """The one file that there is, which is for testing only.

    Raises `UserError` where its programs may not be run: now, and not after a model has answered.
    """
    if spec.split != "test":
        raise UserError(f"task {spec.task}: there is only split = 'test', not {spec.split!r}; it is never trained on")
    check_allowed()
    dataset = spec.dataset or DATASET
    rows = dataset_rows(hub, dataset, f"{spec.subset or 'openai_humaneval'}/test-*.parquet", COLUMNS)
    return HumanEval(spec.task, dataset, spec.split, rows)
