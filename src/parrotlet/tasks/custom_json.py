"""Your own conversations: a file with one JSON list of messages a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..chat import Conversation
from ..errors import UserError
from ..hub import Hub
from .base import Task
from .rows import Rows, RowTask
from .select import EVERY, hold_out
from .spec import TaskSpec


class CustomJson(RowTask):
    """A line is a list of messages, or an object that holds one as "messages"."""

    def convert(self, row: Any, where: str) -> Conversation:
        """The messages as they stand."""
        messages = row.get("messages") if isinstance(row, dict) else row
        conversation = Conversation.from_messages(messages, where)
        conversation.check_trainable(where)
        return conversation


class JsonLines(Rows):
    """The lines of a file, one JSON value each; blank lines are passed over. Lines are counted from 1."""

    def __init__(self, path: Path) -> None:
        self.path, self.paths = path, (path,)
        self._offsets: list[int] = []
        self.numbers: list[int] = []
        """The number of each line."""
        offset = 0
        try:
            with path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    if line.strip():
                        self._offsets.append(offset)
                        self.numbers.append(number)
                    offset += len(line)
        except OSError as error:
            raise UserError(f"{path}: can't be read ({error.strerror}); check the path") from None

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, index: int) -> Any:
        with self.path.open("rb") as file:
            file.seek(self._offsets[index])
            line = file.readline()
        try:
            return json.loads(line)
        except ValueError as error:
            raise UserError(
                f"{self.where(index)}: not JSON ({error}); each line must be one list of messages like "
                '[{"role": "user", "content": "…"}, …]'
            ) from None

    def where(self, index: int) -> str:
        """Such as "chat.jsonl, line 3"."""
        return f"{self.path}, line {self.numbers[index]}"


def load(spec: TaskSpec, hub: Hub) -> Task:
    """The file named as dataset. All lines are checked now, not an hour into training."""
    assert spec.dataset is not None, "a spec of custom-json names its file"
    if spec.split == "test":
        raise UserError(f"{spec.dataset}: a file of your own has no test split; use train or validation")
    lines = JsonLines(Path(spec.dataset))
    task = CustomJson(spec.task, spec.dataset, spec.split, lines)
    _check(task, lines)
    if spec.split == "validation" and len(task) < EVERY:
        raise UserError(
            f"{spec.dataset}: {len(task)} conversations, and validation holds out every {EVERY}th: "
            f"it takes a file of {EVERY} or more"
        )
    return hold_out(task, spec.split)


def _check(task: CustomJson, lines: JsonLines) -> None:
    """Raise a `UserError` that says what is wrong with the first bad line, and which others are bad."""
    errors: dict[int, UserError] = {}
    for index in range(len(task)):
        try:
            task[index]
        except UserError as error:
            errors[lines.numbers[index]] = error
    if not errors:
        return
    (_, first), *others = errors.items()
    shown = ", ".join(str(number) for number, _ in others[:10]) + (", …" if len(others) > 10 else "")
    raise UserError(f"{first} (bad, too: {len(others)} more lines, {shown})" if others else str(first))
