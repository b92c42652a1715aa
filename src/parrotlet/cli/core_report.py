"""CORE on the terminal: a line a task, with what GPT-2 reached."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from .. import ranks
from ..errors import UserError
from ..evals.core import CoreResult, core, evaluate_core_task
from ..evals.core_bundle import CoreTask, bundle_folder, published_results, read_bundle
from ..evals.language_model import LanguageModel
from ..train import ProgressLine


def measure_core(model: LanguageModel, bundle: Path, names: Sequence[str] | None, limit: int | None) -> dict[str, Any]:
    """Measure the tasks of the bundle, or those of `names`, print them, and return them as plain values."""
    bundle = published_bundle() if bundle == PUBLISHED else bundle
    there, missing = read_bundle(bundle)
    for task in missing:
        if ranks.is_first() and (names is None or task.name in names):
            print(f"{task.name} is left out: {task.path} is missing", file=sys.stderr)
    results = [_measure(model, task, limit) for task in _asked(there, names)]
    mean, half = core(results)
    complete = len(results) == len(there) + len(missing)
    _print(results, mean, half, complete, published_results(bundle))
    tasks = {result.task.name: result.to_json() for result in results}
    return {"core": mean, "low": mean - half, "high": mean + half, "complete": complete, "tasks": tasks}


def _asked(tasks: Sequence[CoreTask], names: Sequence[str] | None) -> list[CoreTask]:
    known = {task.name: task for task in tasks}
    if unknown := [name for name in names or () if name not in known]:
        raise UserError(f"--tasks {', '.join(unknown)}: the bundle has {', '.join(known)}")
    return [known[name] for name in names or known]


def _measure(model: LanguageModel, task: CoreTask, limit: int | None) -> CoreResult:
    line = ProgressLine("core", 1)
    result = evaluate_core_task(model, task, limit=limit, on_progress=line)
    line.close(f"{task.name}: {100 * result.accuracy:.1f} % of {len(result.right)}")
    return result


def _print(
    results: Sequence[CoreResult], mean: float, half: float, complete: bool, published: dict[str, float]
) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for name in ("accuracy", "chance", "centred", "95 % interval", "GPT-2"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        low, high = result.interval
        cells = (f"{100 * result.accuracy:.1f} %", f"{100 * result.task.chance:.1f} %", f"{result.centred:.3f}")
        table.add_row(result.task.name, *cells, f"{low:.3f} – {high:.3f}", _figure(published.get(result.task.name)))
    known = [published[result.task.name] for result in results if result.task.name in published]
    theirs = sum(known) / len(known) if len(known) == len(results) else None
    label = "CORE" if complete else f"mean of {len(results)}"
    table.add_row(label, "", "", f"{mean:.3f}", f"{mean - half:.3f} – {mean + half:.3f}", _figure(theirs), style="bold")
    console = Console(highlight=False)
    console.print(table)
    if not complete:
        console.print("not CORE: that is the mean over all tasks of the bundle", style="dim")


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
