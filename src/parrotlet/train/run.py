"""A run: the folder that holds everything that one recipe produced.

recipe.toml        the recipe, every value written out, the machine's decisions with it
tokenizer/         tokenizer.json
base/ mid/ sft/    checkpoints/, metrics.jsonl, validation.jsonl
results.json       what every stage reached
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from .. import ranks
from ..errors import UserError
from ..files import read_lines, write_json, write_text
from ..recipe import Recipe, StageSettings, differences
from ..stages import STAGES, StageName
from ..tokenizer import Tokenizer
from .checkpoint import Checkpoint, checkpoint_folder, list_checkpoints, load_checkpoint, read_state
from .machine import resolve_machine
from .metrics import MetricsFile
from .micro_batch import resolve_micro_batches
from .sources import Sources

ROUNDING_ONLY = ("device_batch_size", "recompute", "compile", "threads")
"""The keys, in their last part, that change memory and speed and nothing else but rounding: a run can go on with other
values."""

IMPORT = "import"
"""What stands as `stage` in the state of a checkpoint that was imported, not trained here."""


@dataclass(frozen=True)
class Run:
    """A run's folder and its recipe."""

    folder: Path
    recipe: Recipe

    @classmethod
    def begin(cls, folder: Path, recipe: Recipe) -> Run:
        """Begin a run in `folder`, or go on with the one that is there if its recipe is the same."""
        with ranks.first_rank_first():
            return cls._begin(folder, recipe)

    @classmethod
    def _begin(cls, folder: Path, recipe: Recipe) -> Run:
        if (folder / "recipe.toml").exists():
            run = cls.open(folder)
            asked = _as_decided(recipe, run.recipe)
            changed = differences(run.recipe, asked)
            refused = [line for line in changed if line.split(": ")[0].rpartition(".")[2] not in ROUNDING_ONLY]
            if not refused:
                if changed and ranks.is_first():
                    write_text(folder / "recipe.toml", asked.to_toml())
                    print(f"{folder} goes on with {'; '.join(changed)}", file=sys.stderr)
                return cls(folder, asked)
            if not (ranks.is_first() and _untouched(folder)):
                raise UserError(
                    f"{folder} holds a run of another recipe (there → asked now):\n  "
                    + "\n  ".join(refused)
                    + "\nchoose another folder with --run, give the recipe another name, or remove this folder"
                )
            with run.lock():  # raises where somebody is about to train it
                pass
        elif not ranks.is_first():
            raise UserError(f"{folder}: not there, though rank 0 has made it; all machines must see the same folder")
        decided = resolve_micro_batches(replace(recipe, machine=resolve_machine(recipe.machine)))
        run = cls(folder, decided)
        try:
            write_text(folder / "recipe.toml", run.recipe.to_toml())
        except OSError as error:
            raise UserError(f"{folder}: a run can't be written there ({error.strerror})") from None
        return run

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Open a run that exists."""
        path = folder / "recipe.toml"
        if not path.is_file():
            raise UserError(f"{folder} is not a run: it has no recipe.toml. `parrotlet runs` lists those there are")
        return cls(folder, Recipe.parse(path.read_text("utf-8"), str(path)))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep another command from writing to the run at the same time."""
        if not ranks.is_first():
            yield
            return
        with (self.folder / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UserError(f"{self.folder}: another process is working on this run") from None
            yield

    @cached_property
    def sources(self) -> Sources:
        """The data of its recipe, opened once."""
        return Sources(self.recipe)

    def stage_folder(self, stage: StageName) -> Path:
        """The folder of a stage."""
        return self.folder / stage

    def metrics(self, stage: StageName) -> MetricsFile:
        """A line an optimiser step."""
        return MetricsFile(self.stage_folder(stage) / "metrics.jsonl")

    def validation(self, stage: StageName) -> MetricsFile:
        """A line a measurement on the way."""
        return MetricsFile(self.stage_folder(stage) / "validation.jsonl")

    def tokenizer(self) -> Tokenizer:
        """The run's tokenizer; `UserError` if it has none yet."""
        if not (self.folder / "tokenizer" / "tokenizer.json").exists():
            raise UserError(f"{self.folder} has no tokenizer yet: parrotlet train tokenizer --run {self.folder}")
        return Tokenizer.load(self.folder / "tokenizer")

    def stages(self) -> list[StageName]:
        """Stages that have a checkpoint, in the order of the pipeline."""
        return [stage for stage in STAGES if list_checkpoints(self.stage_folder(stage))]

    def load(self, stage: StageName, step: int | None = None, *, optimizer: bool = False) -> Checkpoint:
        """The checkpoint of a stage at `step` (default: its last), checked to belong to the run's tokenizer."""
        steps = list_checkpoints(self.stage_folder(stage))
        if not steps:
            raise UserError(f"{self.folder} has no checkpoint of {stage}: parrotlet train {stage} --run {self.folder}")
        if step is not None and step not in steps:
            raise UserError(f"{self.folder} has no checkpoint {stage}@{step}; there are {', '.join(map(str, steps))}")
        folder = checkpoint_folder(self.stage_folder(stage), steps[-1] if step is None else step)
        checkpoint = load_checkpoint(folder, optimizer=optimizer)
        if checkpoint.state["tokenizer"] != self.tokenizer().fingerprint:
            raise UserError(
                f"{folder} was trained with another tokenizer than {self.folder / 'tokenizer'} holds; "
                "its ids would mean other texts. Put the right tokenizer.json back, or train the stage again"
            )
        return checkpoint

    def newest(self, stage: StageName) -> Path:
        """The last checkpoint of a stage that has one."""
        folder = self.stage_folder(stage)
        return checkpoint_folder(folder, list_checkpoints(folder)[-1])

    def imported(self, stage: StageName) -> bool:
        """Whether a stage is an import that was not trained on yet."""
        there = list_checkpoints(self.stage_folder(stage))
        return bool(there) and read_state(self.newest(stage))["stage"] == IMPORT

    def identity(self, stage: StageName) -> str:
        """Tells the last checkpoint of a stage from that of any other training of it."""
        return hashlib.sha256((self.newest(stage) / "manifest.json").read_bytes()).hexdigest()[:16]

    def answers(self, stage: StageName) -> list[dict[str, Any]]:
        """What the stage answered when it was scored, a line a question; none if it was not."""
        path = self.stage_folder(stage) / "answers.jsonl"
        return [json.loads(line) for _, line in read_lines(path, path)] if path.exists() else []

    def read_results(self) -> dict[str, Any]:
        """What `results.json` holds so far."""
        path = self.folder / "results.json"
        return json.loads(path.read_text("utf-8")) if path.exists() else {"wall_seconds": 0.0, "stages": {}}

    def write_results(self, results: dict[str, Any]) -> None:
        """Replace `results.json`, whole; the first rank alone does it."""
        if ranks.is_first():
            write_json(self.folder / "results.json", results)


def _untouched(folder: Path) -> bool:
    """Whether nothing came of a run: no tokenizer and no stage."""
    return not any((folder / name).exists() for name in ("tokenizer", *STAGES))


def _as_decided(asked: Recipe, before: Recipe) -> Recipe:
    """What is asked for, with `auto` and 0 as they were decided before."""
    machine = replace(
        asked.machine,
        device=before.machine.device if asked.machine.device == "auto" else asked.machine.device,
        dtype=before.machine.dtype if asked.machine.dtype == "auto" else asked.machine.dtype,
        compile=before.machine.compile if asked.machine.compile == "auto" else asked.machine.compile,
        threads=asked.machine.threads or before.machine.threads,
    )
    settings: dict[StageName, StageSettings] = {name: asked.stage(name) for name in STAGES}
    stages = {
        name: replace(stage, device_batch_size=before.stage(name).device_batch_size)
        for name, stage in settings.items()
        if stage.device_batch_size == "auto"
    }
    return replace(asked, machine=machine, **stages)
