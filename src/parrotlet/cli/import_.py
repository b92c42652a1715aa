"""`parrotlet import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from ..errors import UserError
from ..export import Imported
from ..train import Run
from .options import RUNS, RecipeOptions, program

NEXT = {"base": "on texts", "mid": "on conversations", "sft": "on conversations, supervised on the answers"}


def import_(folder: tyro.conf.Positional[Path], options: Annotated[RecipeOptions, tyro.conf.arg(name="")]) -> None:
    """Take a model in the layout of Hugging Face into a run, as its base stage, to train on from.

    parrotlet train mid and sft start from it, and so does parrotlet run, which leaves the base stage as it is.
    parrotlet train base trains it on: from its weights, with a fresh optimiser, for the steps that the recipe gives
    base. The run's recipe gets the model's shape; the rest of it is as the recipe says.

    Args:
        folder: What parrotlet export wrote, or any NanoChat model of transformers with its tokenizer: config.json,
            *.safetensors, tokenizer.json.
    """
    if shape := options.sets("model.", "tokenizer."):
        raise UserError(f"{', '.join(shape)}: the model's shape and tokenizer are those of {folder}")
    imported = Imported.read(folder)
    recipe = imported.recipe(options.read())
    run = Run.begin(options.run or RUNS / f"{recipe.name}-imported", recipe)
    with run.lock():
        imported.put_into(run)
    print(f"{folder} is the base stage of {run.folder}; train on with one of")
    for stage, what in NEXT.items():
        print(f"  {program()} train {stage} --run {run.folder}   # {what}")
