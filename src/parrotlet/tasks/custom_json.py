"""Your own conversations: a file with one JSON list of messages a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..chat import Conversation
from ..errors import BadRows, UserError
from ..files import parse_json_line, read_lines
from ..hub import Hub
from ..progress import ProgressLine
from .base import Task
from .rows import HELD_OUT, Rows, RowTask
from .select import hold_out
from .spec import TaskSpec

EXPECTED = 'one list of messages like [{"role": "user", "content": "…"}, …]'


class CustomJson(RowTask):
    """A line is a list of messages, or an object that holds one as "messages"."""

    def convert(self, row: Any, where: str) -> Conversation:
        """The messages as they stand."""
        conversation = Conversation.from_messages(_messages(row), where)
        conversation.check_trainable(where)
        return conversation


class JsonLines(Rows):
    """The lines of a file (.jsonl, .jsonl.gz, .jsonl.zst), one JSON value each; blank ones are passed over.

    Kept in memory as they are and parsed when asked for. Lines are counted from 1.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.paths = path, (path,)
        read = list(read_lines(path, path))
        self.numbers = [number for number, _ in read]
        """The number of each line."""
        self._lines = [line for _, line in read]

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, index: int) -> Any:
        return parse_json_line(self.path, self.numbers[index], self._lines[index], EXPECTED)

    def content(self, index: int) -> object:
        """The messages, whatever else the line holds and in whatever order."""
        return _sorted(_messages(self[index]))

    def where(self, index: int) -> str:
        """Such as "chat.jsonl, line 3"."""
        return f"{self.path}, line {self.numbers[index]}"


def load(spec: TaskSpec, hub: Hub) -> Task:
    """The file named as dataset. All lines are checked now, not an hour into training."""
    assert spec.dataset is not None, "a spec of custom-json names its file"
    if spec.split == "test":
        raise UserError(f"{spec.dataset}: a file of your own has no test split; use train or validation")
    lines = hub.once(("conversations", spec.dataset), lambda: _checked(Path(spec.dataset or "").expanduser()))
    task = hold_out(CustomJson(spec.task, spec.dataset, spec.split, lines), spec.split)
    if len(lines) and not len(task):
        raise UserError(
            f"{spec.dataset}: none of its {len(lines)} conversations is for {spec.split}: a hash of the content holds "
            f"about one in {HELD_OUT} out for validation. Add conversations"
        )
    return task


def _checked(path: Path) -> JsonLines:
    """Raises `BadRows` with all lines that hold no conversation."""
    lines = JsonLines(path)
    task, bad = CustomJson("custom-json", str(path), "train", lines), BadRows()
    progress = ProgressLine("reading", len(lines))
    for index, number in enumerate(lines.numbers):
        try:
            task[index]
        except UserError as error:
            bad.add(number, error)
        progress.update(index + 1)
    progress.close()
    bad.finish()
    return lines


def _messages(row: Any) -> Any:
    return row.get("messages") if isinstance(row, dict) else row


def _sorted(value: Any) -> Any:
    """The same JSON with the keys of its objects in alphabetical order."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
