"""`parrotlet import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from ..export import Imported
from ..train import Run
from .options import RUNS, RecipeOptions, program


def import_(folder: tyro.conf.Positional[Path], options: Annotated[RecipeOptions, tyro.conf.arg(name="")]) -> None:
    """Take an exported model into a run, as its base stage, to train mid or sft from.

    The run's recipe gets the model's shape; the rest of it is as the recipe says.

    Args:
        folder: A folder that `parrotlet export` wrote, or transformers from such a one.
    """
    imported = Imported.read(folder)
    recipe = imported.recipe(options.read())
    run = Run.begin(options.run or RUNS / f"{recipe.name}-imported", recipe)
    with run.lock():
        imported.put_into(run)
    print(f"{folder} is the base stage of {run.folder}; go on with:  {program()} train mid --run {run.folder}")
