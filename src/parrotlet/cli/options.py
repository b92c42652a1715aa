"""Options that several commands share."""

from __future__ import annotations

import shutil
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ..errors import UserError
from ..inspect import Material
from ..recipe import Recipe
from ..stages import STAGES, StageName
from ..train import Run
from .help import UNSAID

RUNS = Path("runs")


@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """Which recipe, and what is changed in it."""

    recipe: Annotated[str | None, UNSAID] = None
    """A built-in recipe (tiny, small-real, speedrun) or a .toml file. Default: the run's own, else tiny."""
    run: Annotated[Path | None, UNSAID] = None
    """Folder of the run. Default: what trains uses runs/NAME-OF-RECIPE; what only looks takes the recipe."""
    depth: Annotated[int | None, UNSAID] = None
    """Transformer blocks; width, heads and learning rates follow, where the recipe does not give them."""
    sequence_len: Annotated[int | None, UNSAID] = None
    """Tokens in a row."""
    device_batch_size: Annotated[int | Literal["auto"] | None, UNSAID] = None
    """Rows that the device computes at a time, in every stage: changes memory and speed, nothing else. auto: found by a
    short probe when a run begins."""
    seed: Annotated[int | None, UNSAID] = None
    """Seed of the weights and of the data order."""
    set: Annotated[tuple[tuple[str, ...], ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="KEY=VALUE …")] = ()
    """Any other keys of the recipe, with TOML values: --set base.num_iterations=50 machine.compile=false"""

    def read(self) -> Recipe:
        """The recipe with the changes in it."""
        name, folder = self.recipe, self.run
        if name is None and folder is not None and (folder / "recipe.toml").exists():
            name = str(folder / "recipe.toml")
        return Recipe.load(name or "tiny", self._overrides())

    def look(self) -> Recipe:
        """The recipe, for what begins no run: one that is named has to be there."""
        if self.run is not None:
            if self.recipe is not None:
                raise UserError("a run has its own recipe: give --run or --recipe, not both")
            Run.open(self.run)
        return self.read()

    @property
    def changes(self) -> bool:
        """Whether anything but the run is given."""
        return self.recipe is not None or bool(self._overrides())

    def sets(self, *sections: str) -> list[str]:
        """The keys of these sections, such as `model.`, that are changed."""
        return [key for key in self._overrides() if f"{key}.".startswith(sections)]

    def open_run(self) -> Run:
        """Begin the run, or go on with it."""
        recipe = self.read()
        return Run.begin(self.run or RUNS / recipe.name, recipe)

    def material(self) -> Material:
        """What an inspector looks at: the run that is named, or else the recipe."""
        if self.run is None:
            return Material(self.read())
        if self.changes:
            raise UserError("a run has its own recipe: give --run alone, or a recipe and changes without it")
        return Material.of_run(Run.open(self.run))

    def _overrides(self) -> dict[str, Any]:
        if () in self.set:
            raise UserError("--set: name a key and its value, such as base.num_iterations=50")
        named = {"model.depth": self.depth, "model.sequence_len": self.sequence_len, "seed": self.seed}
        changes = {key: value for key, value in named.items() if value is not None}
        for key, value in (_assignment(text) for texts in self.set for text in texts):
            for other in changes:
                if f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}."):
                    raise UserError(f"{key} is given twice: {changes[other]} and {value}")
            changes[key] = value
        rows = self.device_batch_size
        return ({f"{stage}.device_batch_size": rows for stage in STAGES} if rows is not None else {}) | changes


def _assignment(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"--set {text}: expected KEY=VALUE, such as base.num_iterations=50")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def program() -> str:
    """How this program can be called again."""
    if shutil.which("parrotlet"):
        return "parrotlet"
    return "python -m parrotlet" if sys.argv[0].endswith(".py") else sys.argv[0]


def latest_run() -> Path:
    """The run that was written to last, for commands that are given none."""
    found = list(RUNS.glob("*/recipe.toml"))
    if not found:
        raise UserError("there is no run here yet: parrotlet run makes one, or name one with --run")
    return max((path.parent for path in found), key=written_at)


def written_at(run: Path) -> float:
    """When something was last written to the run, in seconds of the epoch."""
    return max(path.stat().st_mtime for path in (run, *run.glob("*.json"), *run.glob("*/*.jsonl")))


def choose_stage(run: Run, stage: StageName | None) -> StageName:
    """The stage asked for, which has to be trained, or the last one that is."""
    there = run.stages()
    if stage is not None and there and stage not in there:
        raise UserError(f"{run.folder}: no stage {stage!r}; trained are {', '.join(there)}")
    if not there:
        raise UserError(
            f"{run.folder} has no trained stage yet: parrotlet train {next(iter(STAGES))} --run {run.folder}"
        )
    return stage or there[-1]
