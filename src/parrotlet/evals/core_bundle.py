"""The published bundle of CORE (Li et al. 2024, DataComp-LM, arXiv:2406.11794): its tasks and their items.

core.yaml             the tasks: kind, examples before each question, file
eval_meta_data.csv    accuracy of guessing, in %
eval_data/…           the items, one JSON object a line
*.csv                 results of other models
"""

from __future__ import annotations

import csv
import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import yaml

from ..errors import UserError
from ..files import cache_folder, parse_json_line, read_lines, written_aside
from ..hub.pinned import CORE_BUNDLE, fetch_pinned

PUBLISHED = "published"
"""In place of a folder: the bundle as published."""

Kind = Literal["multiple_choice", "schema", "language_modeling"]

FIELDS: dict[Kind, dict[str, type]] = {
    "multiple_choice": {"query": str, "choices": list, "gold": int},
    "schema": {"context_options": list, "continuation": str, "gold": int},
    "language_modeling": {"context": str, "continuation": str},
}
"""What an item of each kind holds."""


@dataclass(frozen=True, kw_only=True)
class CoreTask:
    """A task of CORE."""

    name: str
    kind: Kind
    shots: int
    """Solved items that stand before the question."""
    delimiter: str
    """Between question and answer."""
    chance: float
    """Accuracy of guessing."""
    path: Path

    def items(self) -> list[dict[str, Any]]:
        """All items; raises `UserError`, naming the line, if one is none."""
        items = [self._item(number, line) for number, line in read_lines(self.path, self.path)]
        if not items:
            raise UserError(f"{self.path}: there is no item of {self.name} in it")
        return items

    def _item(self, number: int, line: bytes) -> dict[str, Any]:
        fields = FIELDS[self.kind]
        item = parse_json_line(self.path, number, line, f"an object with {', '.join(fields)}")
        for name, kind in fields.items():
            if not isinstance(item, dict) or not isinstance(item.get(name), kind):
                found = repr(item)[:80]
                raise UserError(f"{self.path}, line {number}: an item of {self.name} needs {name!r}, found {found}")
        options = item.get("choices") or item.get("context_options")
        if "gold" in fields and not 0 <= item["gold"] < len(options or ()):
            raise UserError(
                f"{self.path}, line {number}: gold must be the place of an answer, counted from 0; there are "
                f"{len(options or ())}, and it is {item['gold']}"
            )
        return item


def read_bundle(folder: Path) -> tuple[list[CoreTask], list[CoreTask]]:
    """The tasks whose file is there, and those whose file is missing. Raises `UserError` if it is no bundle."""
    try:
        listed = yaml.safe_load((folder / "core.yaml").read_text("utf-8"))["icl_tasks"]
        chances = {row["Eval Task"]: float(row["Random baseline"]) for row in _table(folder / "eval_meta_data.csv")}
        tasks = [_task(entry, chances, folder) for entry in listed]
        if not tasks:
            raise ValueError("core.yaml lists no task")
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder}: not the evaluation bundle of CORE, with core.yaml and eval_meta_data.csv "
            f"({type(error).__name__}: {error})"
        ) from None
    there = [task for task in tasks if task.path.is_file()]
    if not there:
        raise UserError(f"{folder}: none of the {len(tasks)} task files is there; the first would be {tasks[0].path}")
    return there, [task for task in tasks if task not in there]


def bundle_folder(where: str) -> Path:
    """The folder that `where` names. The published bundle is downloaded and unpacked into the cache folder the first
    time; raises `UserError` if it can't be had."""
    return published_bundle() if where == PUBLISHED else Path(where)


def bundle_identity(folder: Path) -> str:
    """A hash of the files that list the tasks; where one is missing `read_bundle` says so."""
    lists = (folder / "core.yaml", folder / "eval_meta_data.csv")
    return hashlib.sha256(b"".join(path.read_bytes() for path in lists if path.is_file())).hexdigest()[:32]


def published_bundle() -> Path:
    """See `bundle_folder`."""
    folder = cache_folder() / f"core-{CORE_BUNDLE.sha256[:16]}"
    if not folder.exists():
        archive = fetch_pinned(CORE_BUNDLE)
        with written_aside(folder) as aside, zipfile.ZipFile(archive) as file:
            file.extractall(aside)
    return folder / "eval_bundle"


def published_results(folder: Path, model: str = "openai-community-gpt2") -> dict[str, float]:
    """A model's centred accuracies as the bundle has them, and its CORE; empty if it has none."""
    path = folder / f"{model}.csv"
    if not path.is_file():
        return {}
    return {row["Task"]: float(row["Centered"]) for row in _table(path)}


def _task(entry: dict[str, Any], chances: dict[str, float], folder: Path) -> CoreTask:
    if entry["icl_task_type"] not in FIELDS:
        raise ValueError(f"{entry['label']} is of the unknown kind {entry['icl_task_type']!r}")
    return CoreTask(
        name=entry["label"],
        kind=cast("Kind", entry["icl_task_type"]),
        shots=entry["num_fewshot"][0],
        delimiter=entry.get("continuation_delimiter", " "),
        chance=chances[entry["label"]] / 100,
        path=folder / "eval_data" / entry["dataset_uri"],
    )


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [{(k or "").strip(): (v or "").strip() for k, v in row.items()} for row in csv.DictReader(file)]
