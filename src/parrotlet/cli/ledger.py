"""`parrotlet ledger`."""

from __future__ import annotations

import dataclasses
import json as json_lines
from pathlib import Path

from rich.table import Table
from rich.text import Text

from ..data.planned import short, shortened
from ..inspect.ledger import Entry, StageLedger
from ..inspect.ledger import ledger as read_ledger
from ..inspect.terminal import percent
from ..train import Run
from .console import plain_console
from .options import latest_run

COLUMNS = ("tokens\nplanned", "\ntrained", "", "superv.\nplanned", "\ntrained", "\nepochs", "\nsplit", "left\nout")
NAME_WIDTH = 18
"""What 80 columns leave for the name of a source."""


def ledger(run: Path | None = None, json: bool = False) -> None:
    """What was planned for every source, and what has been trained on: of a finished run, or of one that trains.

    Args:
        run: Folder of the run. Default: the newest.
        json: One JSON object a stage instead of a table.
    """
    opened = Run.open(run or latest_run())
    stages = read_ledger(opened)
    if json:
        for stage in stages:
            print(json_lines.dumps(dataclasses.asdict(stage), ensure_ascii=False))
        return
    console = plain_console()
    console.print(_table(stages))
    for stage in stages:
        if stage.unlogged:
            console.print(f"{stage.stage}: {stage.unlogged} steps were trained by a version that did not log sources")
        if stage.data_changes:
            console.print(
                f"{stage.stage}: the data changed since it was trained; what is planned follows those of today:"
            )
            for change in stage.data_changes:
                console.print(Text(f"  {change}"))


def _table(stages: list[StageLedger]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for stage in stages:
        done = f"{stage.done} of {stage.steps}"
        table.add_row(Text(f"{stage.stage} {done}", "bold"), *_tokens(stage), "", "", "")
        for entry in sorted(stage.entries, key=lambda entry: -entry.planned):
            rest = (f"{entry.epochs:.2f}", _or_dash(entry.split), _or_dash(entry.left_out))
            table.add_row("  " + shortened(entry.source, NAME_WIDTH), *_tokens(entry), *rest)
    return table


def _tokens(of: Entry | StageLedger) -> tuple[str, ...]:
    planned, trained = (of.planned, of.planned_supervised), (of.trained.tokens, of.trained.supervised)
    return short(planned[0]), short(trained[0]), percent(trained[0], planned[0]), short(planned[1]), short(trained[1])


def _or_dash(count: int) -> str:
    return f"{count:,}" if count else "–"
