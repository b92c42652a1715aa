"""`parrotlet runs`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..train import Run
from .options import RUNS


def runs(folder: Path = RUNS) -> None:
    """List the runs in a folder, newest first, with their stages and scores.

    Args:
        folder: Where to look.
    """
    found = sorted(folder.glob("*/recipe.toml"), key=lambda path: -path.parent.stat().st_mtime)
    if not found:
        print(f"no runs in {folder}/ yet: parrotlet run makes one")
        return
    table = Table("run", "recipe", "stages", "val bpb", "tasks (last stage)", "changed", box=None)
    for path in found:
        table.add_row(*_row(Run.open(path.parent)))
    Console().print(table)


def _row(run: Run) -> tuple[str, ...]:
    scores = run.read_results()["stages"]
    last = list(scores.values())[-1] if scores else {"tasks": {}}
    tasks = ", ".join(f"{name} {100 * task['accuracy']:.0f} %" for name, task in last["tasks"].items())
    bits = f"{last['val_bpb']:.3f}" if "val_bpb" in last else ""
    changed = datetime.fromtimestamp(run.folder.stat().st_mtime).strftime("%Y-%m-%d %H:%M")
    return str(run.folder), run.recipe.name, " ".join(run.stages()), bits, tasks, changed
