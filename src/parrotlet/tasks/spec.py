"""`TaskSpec`: a task as a recipe names it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from ..errors import UserError
from .base import Split

TAKES: dict[str, tuple[str, ...]] = {
    "smoltalk": ("dataset", "subset"),
    "mmlu": ("dataset", "subset"),
    "arc-easy": ("dataset", "subset"),
    "arc-challenge": ("dataset", "subset"),
    "gsm8k": ("dataset", "subset"),
    "humaneval": ("dataset", "subset"),
    "identity": ("dataset", "subset"),
    "custom-json": ("dataset",),
    "spelling": ("size", "words"),
    "letter-counting": ("size", "words"),
}
"""Every task, and which fields of a spec have a meaning for some tasks only."""
TRAINED_ON_ONLY = ("smoltalk", "custom-json")
"""Those of them that can't judge an answer."""


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """A task, the part of it to use, and its weight. Raises `UserError` where they make no sense."""

    task: str
    """What it is: "gsm8k", "mmlu", … (the keys of `TAKES`)."""
    split: Split = "train"
    """train, validation or test. Where the dataset has no validation split, about one row of train in 20, chosen
    by its content, is held out for it and never trained on."""
    name: str | None = None
    """What to call it in results. Default: as `task`."""
    dataset: str | None = None
    """Another dataset with the same columns, ORG/NAME; for custom-json the path of the file."""
    subset: str | None = None
    """Another folder of the dataset: "ARC-Easy" for arc; for mmlu also "dev" or the name of a subject."""
    start: int | None = None
    """First item of the split to use. Default: 0."""
    stop: int | None = None
    """One past the last item to use. Default: all; also where there are fewer."""
    repeat: int = 1
    """How many times a mixture holds each item."""
    weight: float = 1.0
    """A factor on that, which need not be whole: 0.25 takes a quarter of the items, 1.5 half of them a second time."""
    phase: int = 1
    """A mixture shuffles together what is of the same phase; phase 1 comes first, then phase 2, …"""
    size: int | None = None
    """How many items to make (spelling and letter-counting). Default: one a word."""
    words: str | None = None
    """Another word list than [data] words (spelling and letter-counting)."""

    def __post_init__(self) -> None:
        if self.task not in TAKES:
            near = difflib.get_close_matches(self.task, TAKES, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise UserError(f"no task {self.task!r}{hint}; there are {', '.join(TAKES)}")
        for field in ("dataset", "subset", "size", "words"):
            if getattr(self, field) is not None and field not in TAKES[self.task]:
                raise UserError(f"task {self.task}: {field} has no meaning for it; leave it out")
        if self.task == "custom-json" and self.dataset is None:
            raise UserError("task custom-json: name the file, one conversation a line, as dataset")
        for field, least in (("start", 0), ("stop", (self.start or 0) + 1), ("repeat", 1), ("phase", 1), ("size", 1)):
            value = getattr(self, field)
            if value is not None and value < least:
                raise UserError(f"task {self.task}: {field} = {value} must be at least {least}")
        if not 0 < self.weight < float("inf"):
            raise UserError(f"task {self.task}: weight = {self.weight} must be above 0")
