"""The whole way: tokenizer, stages, scores."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from .. import ranks
from ..evals import TaskResult, chat_core, evaluate_loss, evaluate_task
from ..files import write_text
from ..progress import ProgressLine
from ..stages import STAGES, StageName
from ..tasks import TaskSpec
from .callbacks import Console, Core, Samples, TaskAccuracy, Tracker
from .checkpoint import list_checkpoints, read_state
from .download import askable, check_data, judged_task
from .loop import Callback, train
from .run import Run
from .setup import check_start, load_model, prepare, train_tokenizer


def run_pipeline(
    run: Run, check: Callable[[Run], None] | None = None, *, accept_data_change: bool = False
) -> dict[str, Any]:
    """Tokenizer, base, mid and sft, each trained to its end and scored; what is done already, or was imported, is
    not done again.

    `check` is called before the first stage begins. Returns the results (`results.json`).
    """
    began = time.monotonic()
    with ranks.first_rank_first():
        if check and ranks.is_first() and not run.stages():
            check(run)
        check_data(run.sources)
    train_tokenizer(run)
    _add_wall_seconds(run, time.monotonic() - began)
    for stage in STAGES:
        if not ranks.gather(run.imported(stage))[0]:
            train_stage(run, stage, accept_data_change=accept_data_change)
        if not scored(run, stage):
            score_stage(run, stage)
    return run.read_results()


def train_stage(run: Run, name: StageName, start: str | None = None, **options: Any) -> None:
    """Train a stage to its end, from its last checkpoint if it has one; what was imported is trained on. `options` are
    those of `prepare`.

    Raises `UserError` if `start` is not what it began from, or can't be.
    """
    if finished(run, name):
        check_start(run, STAGES[name], start)
        return
    began = time.monotonic()
    try:
        callbacks = default_callbacks(run)
        train(prepare(run, STAGES[name], start=start, callbacks=callbacks, **options))
    finally:
        _add_wall_seconds(run, time.monotonic() - began)


def default_callbacks(run: Run) -> list[Callback]:
    """What accompanies every training: on ranks other than the first, what needs all of them."""
    if not ranks.is_first():
        return [TaskAccuracy(), Core(), Samples()]
    callbacks: list[Callback] = [TaskAccuracy(), Core(), Console(), Samples()]
    track = run.recipe.track
    return callbacks if track.to == "none" else [*callbacks, Tracker(track.to, track.project)]


def finished(run: Run, stage: StageName) -> bool:
    """Whether the stage's last step is saved and measured, as rank 0 finds it."""
    return ranks.gather(_finished(run, stage))[0]


def _finished(run: Run, stage: StageName) -> bool:
    steps = list_checkpoints(run.stage_folder(stage))
    if not steps or run.imported(stage) or read_state(run.newest(stage))["steps"] > steps[-1]:
        return False
    return any(line["step"] == steps[-1] for line in run.validation(stage).read())


def scored(run: Run, stage: StageName) -> bool:
    """Whether the results hold what the stage's last checkpoint scored on all tasks and problems of the recipe."""
    entry = ranks.gather(run.read_results())[0]["stages"].get(stage, {})
    names = [spec.name or spec.task for spec in _askable(run)]
    if entry.get("checkpoint") != ranks.gather(run.identity(stage))[0] or not entry["tasks"].keys() >= set(names):
        return False
    return all(_asked_enough(entry["tasks"][name], run.recipe.eval.limit) for name in names)


def _asked_enough(task: dict[str, Any], limit: int | None) -> bool:
    """Whether a task was asked `limit` problems at least, or all it has."""
    had = task.get("limit")
    return had is None or task["n"] < had or (limit is not None and task["n"] >= limit)


def _askable(run: Run) -> tuple[TaskSpec, ...]:
    """The recipe's evaluation tasks that every rank's machine can ask."""
    return min(ranks.gather(askable(run.recipe.eval.tasks)), key=len)


def score_stage(
    run: Run, stage: StageName, specs: Sequence[TaskSpec] | None = None, limit: int | None = None
) -> dict[str, Any]:
    """Ask a stage the recipe's evaluation tasks (or `specs`), write its results and its answers, return the
    entry. What the same checkpoint answered to more problems of a task stays.
    """
    began = time.monotonic()
    settings = run.recipe.eval
    settings = replace(settings, tasks=tuple(specs or _askable(run)), limit=limit or settings.limit)
    model, tokenizer, sources = load_model(run, stage), run.tokenizer(), run.sources
    results: dict[str, TaskResult] = {}
    for task in [judged_task(sources, spec) for spec in settings.tasks]:
        line = ProgressLine(stage, len(task))
        results[task.name] = evaluate_task(
            model,
            tokenizer,
            task,
            limit=settings.limit,
            max_tokens=settings.max_tokens,
            batch_size=settings.batch_size,
            on_progress=line,
        )
        line.close(f"{task.name}: {results[task.name].summary()}")
    validation = evaluate_loss(model, sources.validation_batches(STAGES[stage], tokenizer), tokenizer.bytes_per_token)
    written = run.read_results()
    before = written["stages"].get(stage, {})
    same_model = before.get("checkpoint") == run.identity(stage)
    kept = before["tasks"] if same_model else {}
    results = _without_poorer(results, kept)
    tasks = kept | {name: result.to_json() | {"limit": settings.limit} for name, result in results.items()}
    entry = {
        "step": list_checkpoints(run.stage_folder(stage))[-1],
        "checkpoint": run.identity(stage),
        "val_bpb": validation.bits_per_byte,
        "val_loss": validation.loss,
        "tasks": tasks,
        "chat_core": chat_core(tasks),
    }
    _write_answers(run, stage, results, keep_others=same_model)
    written["stages"][stage] = entry
    written["stages"] = {name: written["stages"][name] for name in STAGES if name in written["stages"]}
    run.write_results(written)
    _add_wall_seconds(run, time.monotonic() - began)
    return entry


def _without_poorer(results: dict[str, TaskResult], kept: dict[str, Any]) -> dict[str, TaskResult]:
    """Without those that are over fewer problems than what is kept, which is said."""
    poorer = [name for name, result in results.items() if name in kept and kept[name]["n"] > result.n]
    for name in poorer:
        if ranks.is_first():
            print(f"{name}: results.json keeps what {kept[name]['n']} problems gave", file=sys.stderr)
    return {name: result for name, result in results.items() if name not in poorer}


def _write_answers(run: Run, stage: StageName, results: dict[str, TaskResult], keep_others: bool) -> None:
    """`answers.jsonl` in the stage's folder: what was asked, what was answered, right or wrong."""
    if not ranks.is_first():
        return
    others = [line for line in run.answers(stage) if keep_others and line["task"] not in results]
    asked = [{"task": name, **answer} for name, result in results.items() for answer in result.transcripts]
    lines = (json.dumps(line, ensure_ascii=False) + "\n" for line in [*others, *asked])
    write_text(run.stage_folder(stage) / "answers.jsonl", "".join(lines))


def _add_wall_seconds(run: Run, seconds: float) -> None:
    results = run.read_results()
    results["wall_seconds"] = round(results["wall_seconds"] + seconds, 1)
    run.write_results(results)
