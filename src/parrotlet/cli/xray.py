"""`parrotlet xray`."""

from __future__ import annotations

import json as json_lines
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from ..errors import UserError
from ..inspect import Finder, XRay, segments_of_row, take_xray
from ..inspect.html import write_page
from ..inspect.terminal import LEGEND, print_row, print_summary, print_token_table
from ..stages import STAGES, StageName
from .console import plain_console
from .options import RecipeOptions


def xray(
    stage: tyro.conf.Positional[StageName],
    options: Annotated[RecipeOptions, tyro.conf.arg(name="")],
    step: int = 0,
    row: int | None = None,
    rank: int = 0,
    world_size: int = 1,
    json: bool = False,
    html: Path | None = None,
    beside: StageName | None = None,
    item: str | None = None,
    table: bool = False,
) -> None:
    """Show what a stage is taught at a step: every row, token by token, and what is supervised.

    Of a run (--run) the step is replayed and compared with what was trained on; else it is dealt out from the recipe.

    Args:
        stage: Which stage.
        step: Which optimiser step, counted from 0.
        row: Only this row of the batch. Default: all of them with --json and --html, else the first.
        rank: Only the rows that this rank of --world-size gets.
        world_size: How many ranks share the rows of a step.
        json: One JSON object a row instead of a picture.
        html: Write one self-contained page to this file.
        beside: With --html: another stage, to show the same conversations as it sees them.
        item: Instead of a step: the conversation TASK[INDEX], such as gsm8k[12], where it is first trained on.
        table: A line a token, with its id and what it is taught to predict.
    """
    if beside and not html:
        raise UserError("--beside shows two stages in a page: give --html FILE, too (or: parrotlet compare)")
    material, chosen = options.material(), STAGES[stage]
    if [json, html is not None, table].count(True) > 1:
        raise UserError("--json, --html and --table are different forms: give one of them")
    if item and (json or html):
        raise UserError("--item shows one conversation in the terminal: leave out --json and --html")
    if item and (step or row is not None or world_size > 1):
        raise UserError("--item finds the step and the row by itself: leave out --step, --row and --rank")
    at = Finder(material, chosen).place(item) if item else (step, row)
    taken = take_xray(material, chosen, *at, rank, world_size)
    if html:
        finder = Finder(taken.material, STAGES[beside]) if beside else None
        size = write_page(html, taken, finder)
        print(f"{html}: {len(taken.rows)} rows, {size / 1e6:.2f} MB; open it in a browser")
    elif json:
        for number in taken.rows:
            print(json_lines.dumps(taken.row(number), ensure_ascii=False))
    else:
        _show(taken, item, table, plain_console())


def _show(taken: XRay, item: str | None, table: bool, console: Console) -> None:
    """The first row, or one conversation of it."""
    segments = segments_of_row(taken.material, taken.stage, taken.batch, taken.rows[0]) if taken.rows else []
    padding = taken.summary.length - sum(len(segment.ids) for segment in segments) if taken.rows else 0
    if item:
        console.print(f"{taken.stage.name} step {taken.step} of {taken.material.name}")
        segments, padding = [segment for segment in segments if segment.name == item], 0
    else:
        print_summary(taken, console)
    if table:
        print_token_table(segments, taken.material.tokenizer, console)
    else:
        console.print(f"\n{LEGEND}\n")
        print_row(segments, padding, console)
    if not item and len(taken.rows) > 1:
        others = f"{len(taken.rows) - 1} more rows, {taken.rows[1]} to {taken.rows[-1]}"
        console.print(f"\n{others}: --row N shows one, --html FILE all of them")
