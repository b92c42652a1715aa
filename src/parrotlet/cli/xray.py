"""`parrotlet xray`."""

from __future__ import annotations

import json as json_lines
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.text import Text

from ..data import Batch
from ..errors import UserError
from ..inspect import batch_of_recipe, batch_of_run, rows_as_json
from ..stages import STAGES, StageName
from ..train import Run, recipe_tokenizer
from .options import RecipeOptions


def xray(
    stage: tyro.conf.Positional[StageName],
    options: Annotated[RecipeOptions, tyro.conf.arg(name="")],
    step: int = 0,
    row: int | None = None,
    json: bool = False,
) -> None:
    """Show what a stage is taught at a step: every row, token by token, and what is supervised.

    Args:
        stage: Which stage.
        step: Which optimiser step.
        row: Only this row of the batch. Default: all of them with --json, else the first.
        json: One JSON object a row instead of a picture.
    """
    chosen = STAGES[stage]
    if step < 0:
        raise UserError(f"--step {step}: steps are counted from 0")
    if options.run is not None:
        if options.changes:
            raise UserError("a run has its own recipe: give --run alone, or a recipe and changes without it")
        run = Run.open(options.run)
        tokenizer, batch = run.tokenizer(), batch_of_run(run, chosen, step)
    else:
        recipe = options.read()
        tokenizer = recipe_tokenizer(recipe)
        batch = batch_of_recipe(recipe, chosen, step, tokenizer)
    rows = rows_as_json(batch, tokenizer, chosen, step)
    if row is not None and not 0 <= row < len(rows):
        raise UserError(f"--row {row}: step {step} of {stage} has the rows 0 to {len(rows) - 1}")
    if json:
        for value in rows if row is None else [rows[row]]:
            print(json_lines.dumps(value, ensure_ascii=False))
        return
    _print_summary(stage, step, batch)
    print_row(rows[row or 0], Console(highlight=False))


def _print_summary(stage: str, step: int, batch: Batch) -> None:
    positions = batch.inputs.numel()
    cut = sum(source.cut is not None for row in batch.sources for source in row)
    print(
        f"{stage} step {step}: {len(batch)} rows × {batch.inputs.shape[1]} tokens, "
        f"{100 * batch.supervised / positions:.1f} % supervised, "
        f"{100 * (positions - batch.tokens) / positions:.1f} % padding, {cut} segments cut"
    )
    print("a token is [bracketed] where it is a target: where the model is trained to produce it\n")


def print_row(row: dict[str, Any], console: Console) -> None:
    """Each segment under a line that says where it comes from; targets in brackets and in colour."""
    tokens = row["tokens"]
    taught = [False, *(token["supervised"] for token in tokens[:-1])]
    for source in row["sources"]:
        goes_on = f", goes on {source['cut']}" if source["cut"] else ""
        name = source["task"] or source["dataset"]
        console.print(
            Text(f"── row {row['row']}, segment {source['segment']}: {name}[{source['index']}]{goes_on}", "dim")
        )
        line = Text()
        for i in range(source["start"], source["end"]):
            _add_token(line, tokens[i]["text"], taught[i])
        console.print(line)
    padding = sum(token["segment"] == -1 for token in tokens)
    if padding:
        console.print(Text(f"── {padding} tokens of padding", "dim"))


def _add_token(line: Text, text: str, taught: bool) -> None:
    shown = text.replace("\n", "⏎\n")
    line.append(f"[{shown}]" if taught else shown, style="green" if taught else "")
