"""`parrotlet eval`."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError
from ..stages import StageName
from ..train import Run, score_stage
from .options import latest_run
from .report import print_table


def evaluate(
    run: Path | None = None,
    stage: StageName | None = None,
    tasks: str | None = None,
    limit: int | None = None,
) -> None:
    """Ask a trained stage the evaluation tasks again and write the results.

    Args:
        run: Folder of the run. Default: the newest.
        stage: Which stage. Default: every one that is trained.
        tasks: Names of tasks among the recipe's, separated by commas. Default: all of them.
        limit: Problems of each task, at most. Default: the recipe's.
    """
    opened = Run.open(run or latest_run())
    specs = opened.recipe.eval.tasks
    if tasks is not None:
        known = {spec.name or spec.task: spec for spec in specs}
        asked = [name.strip() for name in tasks.split(",")]
        if unknown := [name for name in asked if name not in known]:
            raise UserError(f"--tasks {', '.join(unknown)}: the recipe's tasks are {', '.join(known)}")
        specs = tuple(known[name] for name in asked)
    stages: list[StageName] = [stage] if stage else opened.stages()
    with opened.lock():
        for name in stages:
            score_stage(opened, name, specs, limit)
    print_table(opened.read_results())
