"""`parrotlet runs`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from rich.columns import Columns
from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from ..errors import UserError
from ..train import Run
from .console import plain_console
from .options import RUNS, written_at
from .report import accuracy


def runs(folder: Path = RUNS) -> None:
    """List the runs in a folder, newest first: their stages, and the scores of the last one (accuracy in %, with 95 %
    intervals).

    Args:
        folder: Where to look.
    """
    found = sorted((path.parent for path in folder.glob("*/recipe.toml")), key=lambda run: -written_at(run))
    if not found:
        print(f"no runs in {folder}/ yet: parrotlet run makes one")
    console = plain_console()
    for run in found:
        changed = datetime.fromtimestamp(written_at(run)).strftime("%Y-%m-%d %H:%M")
        console.print(Text.assemble((str(run), "bold"), f"  changed {changed}"), soft_wrap=True)
        for line in _described(run):
            console.print(Padding(line, (0, 0, 0, 2)))


def _described(folder: Path) -> Iterator[RenderableType]:
    try:
        run = Run.open(folder)
    except UserError as error:
        yield Text(f"can't be read by this version: {error}", "yellow")
        return
    yield Text(f"recipe {run.recipe.name}; trained: {', '.join(run.stages()) or 'nothing yet'}")
    scores = run.read_results()["stages"]
    if scores:
        stage, last = list(scores.items())[-1]
        bits = "" if last["val_bpb"] is None else f" {last['val_bpb']:.3f} bits/byte"
        tasks = [Text(f"{name} {accuracy(task)}", no_wrap=True) for name, task in last["tasks"].items()]
        yield Text(f"{stage}:{bits}")
        yield Columns(tasks, padding=(0, 3))
