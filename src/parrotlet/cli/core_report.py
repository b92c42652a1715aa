"""CORE on the terminal: a line a task, with what GPT-2 reached; and the file that keeps it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from .. import ranks
from ..errors import UserError
from ..evals.core import CoreResult, core, evaluate_core_task
from ..evals.core_bundle import CoreTask, bundle_folder, bundle_identity, published_results, read_bundle
from ..evals.language_model import LanguageModel
from ..evals.statistics import mean_centred
from ..files import write_json
from ..train import ProgressLine
from .console import plain_console

Keep = Callable[[CoreResult, Sequence[str]], None]
"""Called with each result and the names of all tasks of the bundle."""


def measure_core(
    model: LanguageModel,
    bundle: str,
    names: Sequence[str] | None,
    limit: int | None,
    keep: Keep = lambda result, every: None,
) -> None:
    """Measure the tasks of the bundle, or those of `names`, and print them."""
    with ranks.first_rank_first():
        folder = bundle_folder(bundle)
    there, missing = read_bundle(folder)
    for task in missing:
        if ranks.is_first() and (names is None or task.name in names):
            print(f"{task.name} is left out: {task.path} is missing", file=sys.stderr)
    every = [task.name for task in there + missing]
    results = []
    for task in _asked(there, names):
        results.append(_measure(model, task, limit))
        keep(results[-1], every)
    _print(results, len(results) == len(every), limit, published_results(folder), model.context)


def check_core(path: Path, checkpoint: str, bundle: str) -> str:
    """What identifies the bundle. Raises `UserError` if the file holds results of this checkpoint with another one."""
    with ranks.first_rank_first():
        bundle = bundle_identity(bundle_folder(bundle))
    before = _before(path, checkpoint)
    if before.get("bundle", bundle) != bundle:
        raise UserError(f"{path} holds results of this checkpoint with another bundle; rename it to measure this one")
    return bundle


def keep_core(path: Path, checkpoint: str, bundle: str, result: CoreResult, every: Sequence[str]) -> None:
    """Write a result into a file, beside those of the same checkpoint that are there."""
    if not ranks.is_first():
        return
    tasks = _before(path, checkpoint).get("tasks", {})
    tasks = tasks | {result.task.name: result.to_json()}
    tasks = {name: tasks[name] for name in every if name in tasks}
    mean, half = mean_centred(tasks.values())
    measured = {"core": mean, "low": mean - half, "high": mean + half, "complete": len(tasks) == len(every)}
    write_json(path, {"checkpoint": checkpoint, "bundle": bundle} | measured | {"tasks": tasks})


def _before(path: Path, checkpoint: str) -> dict[str, Any]:
    """What the file holds of the checkpoint."""
    before: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return before if before.get("checkpoint") == checkpoint else {}


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
    results: Sequence[CoreResult], complete: bool, limit: int | None, published: dict[str, float], context: int
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
    if limit:
        label += f"{' of' if complete else ','} the first {limit} of each"
    mean, half = core(results)
    table.add_row(label, "", "", f"{mean:.3f}", f"{mean - half:.3f} – {mean + half:.3f}", _figure(theirs), style="bold")
    console = plain_console()
    console.print(table)
    if not complete:
        console.print("not CORE: that is the mean over all tasks of the bundle", style="dim")
    if cut := [f"{result.task.name} {result.cut}/{len(result.right)}" for result in results if result.cut]:
        console.print(
            f"items longer than the context of {context:,}, whose beginning was cut: {', '.join(cut)}", style="dim"
        )


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
