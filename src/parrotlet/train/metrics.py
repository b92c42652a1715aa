"""`metrics.jsonl` (a line an optimiser step) and `validation.jsonl` (a line a measurement)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .. import ranks
from ..errors import UserError
from ..files import sync, write_text


class MetricsFile:
    """Lines of JSON, each with a `step`; appended and flushed one by one, by the first rank alone."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, line: dict[str, Any]) -> None:
        """Add a line."""
        if not ranks.is_first():
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """All whole lines; a last line that a kill cut short is passed over."""
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_bytes().split(b"\n")[:-1]]

    def sync(self) -> None:
        """Wait until all lines are on the disk; raises `UserError` if they can't be written."""
        if ranks.is_first() and self.path.exists():
            try:
                sync(self.path)
            except OSError as error:
                raise UserError(f"{self.path}: can't be written ({error.strerror})") from None

    def cut_back(self, first_step_to_drop: int) -> None:
        """Drop the lines of this step and later ones: they come again."""
        if not ranks.is_first():
            return
        kept = [line for line in self.read() if line["step"] < first_step_to_drop]
        write_text(self.path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept))
