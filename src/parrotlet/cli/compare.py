"""`parrotlet compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import UserError
from ..inspect import Material
from ..inspect.compare import Line, compare_recipes, compare_results, compare_stages, examples
from ..inspect.terminal import LEGEND, print_segment
from ..recipe import Recipe
from ..stages import STAGES, Stage, StageName
from ..train import Run
from .console import plain_console
from .options import RecipeOptions

Side = tuple[Material, Stage]


def compare(
    a: tyro.conf.Positional[str],
    b: tyro.conf.Positional[str],
    options: Annotated[RecipeOptions, tyro.conf.arg(name="")],
    stage: StageName | None = None,
) -> None:
    """Say what differs between two stages of a recipe or run, or between two recipes or runs.

    Stages are compared from the resolved recipe and from real batches, with a conversation as both see it.

    Args:
        a: A stage (base, mid, sft); or a recipe (built-in or a .toml file) or the folder of a run.
        b: The other one, of the same kind.
        stage: Of two recipes or runs: compare this stage, as two stages are compared.
    """
    console = plain_console()
    if a in STAGES and b in STAGES:
        if stage:
            raise UserError("--stage names the stage of two recipes or runs; here are two stages already")
        material = options.material()
        _print_stages((material, STAGES[a]), (material, STAGES[b]), (a, b), console)
        return
    if options.changes or options.run:
        raise UserError("--recipe, --run and changes are for comparing two stages; A and B name the recipes or runs")
    ours, theirs = _opened(a), _opened(b)
    if stage:
        _print_stages((ours, STAGES[stage]), (theirs, STAGES[stage]), (a, b), console)
        return
    console.print(_table(compare_recipes(ours.recipe, theirs.recipe), (a, b)))
    if ours.run and theirs.run:
        console.print()
        console.print(_table(compare_results(ours.run, theirs.run), (a, b)))


def _opened(name: str) -> Material:
    if (Path(name) / "recipe.toml").is_file():
        return Material.of_run(Run.open(Path(name)))
    if name in STAGES:
        raise UserError(f"{name} is a stage: compare it with another stage, or name two recipes or runs with --stage")
    return Material(Recipe.load(name))


def _print_stages(a: Side, b: Side, names: tuple[str, str], console: Console) -> None:
    console.print(_table(compare_stages(a, b), names))
    one, other = examples(a, b)
    console.print()
    console.print("the same conversation in both" if one.where == other.where else "an example of each", style="bold")
    console.print(f"{LEGEND}\n")
    print_segment(one, console)
    print_segment(other, console)


def _table(lines: list[Line], names: tuple[str, str]) -> Table:
    """What differs is marked with ≠; what does not is dim."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    table.add_column("", overflow="fold", max_width=24)
    for name in names:
        table.add_column(name, overflow="fold", ratio=1)
    for line in lines:
        style = "dim" if line.same else ""
        table.add_row("" if line.same else "≠", Text(line.aspect), Text(line.a), Text(line.b), style=style)
    return table
