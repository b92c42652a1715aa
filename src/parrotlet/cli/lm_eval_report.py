"""lm-eval's tasks asked of a stage."""

# pyright: reportCallIssue=false, reportArgumentType=false
# What lm-eval states of its types does not fit its own calls.

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import ranks
from ..errors import UserError, missing_package
from ..files import write_json
from ..stages import StageName
from ..train import ProgressLine, Run, load_model


def measure_lm_eval(run: Run, stage: StageName, tasks: Sequence[str], limit: int | None) -> None:
    """Ask a stage tasks of lm-eval, print lm-eval's table, and write the results into the stage's folder, beside those
    of other tasks.

    A folder among `tasks` holds definitions of further tasks.
    """
    if ranks.world_size() > 1:
        raise UserError("--lm-eval asks with one process: leave torchrun out")
    try:
        from lm_eval import simple_evaluate
        from lm_eval.tasks import TaskManager
        from lm_eval.utils import make_table

        from ..evals.lm_eval_adapter import LmEvalModel
    except ImportError as error:
        raise missing_package(f"lm-eval ({error})", "lm-eval") from None
    line = ProgressLine(stage, 1)
    model = LmEvalModel(load_model(run, stage), run.tokenizer(), on_progress=line)
    tasks = [name.strip() for name in tasks if name.strip()]
    folders = [name for name in tasks if Path(name).is_dir()]
    names = [name for name in tasks if name not in folders]
    manager = TaskManager(include_path=list(folders), include_defaults=False)
    if not set(names) <= set(manager.all_subtasks):  # lm-eval's own are thousands of files, which take it a while
        manager = TaskManager(include_path=list(folders))
    if not names:
        there = f": {', '.join(sorted(manager.all_subtasks))}" if folders else ""
        raise UserError(f"--lm-eval {', '.join(folders)}: name the tasks to ask, too{there}")
    if unknown := [name for name in names if not manager.match_tasks([name])]:
        raise UserError(f"--lm-eval {', '.join(unknown)}: lm-eval has no such task; `lm-eval ls tasks` lists them")
    found: Any = simple_evaluate(model, tasks=names, limit=limit, task_manager=manager, log_samples=False)
    line.close()
    print(f"{run.folder}, stage {stage}")
    print(make_table(found))
    path, checkpoint = run.stage_folder(stage) / "lm_eval.json", run.identity(stage)
    before: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if before.get("checkpoint") != checkpoint:
        before = {}
    asked = {name: n["effective"] for name, n in before.get("n-samples", {}).items()}
    poorer = {name for name, n in found["n-samples"].items() if asked.get(name, 0) > n["effective"]}
    for name in sorted(poorer):
        print(f"{name}: lm_eval.json keeps what {asked[name]} samples gave", file=sys.stderr)
    members: dict[str, list[str]] = found.get("group_subtasks", {})
    while groups := {group for group, names in members.items() if poorer & set(names)} - poorer:
        poorer |= groups
    kept = {
        part: before.get(part, {}) | {name: value for name, value in found[part].items() if name not in poorer}
        for part in ("results", "n-samples", "versions")
    }
    write_json(path, {"checkpoint": checkpoint} | kept)
