"""Fetches what a recipe reads, before it is read."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable

from .. import ranks
from ..data import Documents
from ..errors import UserError
from ..progress import ProgressLine
from ..recipe import Recipe
from ..stages import STAGES
from ..tasks import Task, TaskSpec
from ..tools import check_allowed
from .setup import horizon
from .sources import Sources

BYTES_A_TOKEN = 5
"""More than a token of running text stands for on average: 4.8 of English at a vocabulary of 65,536."""


def download_recipe(sources: Sources) -> None:
    """Get the texts that the horizon of base needs, the validation texts, the data of every task, and CORE.

    Texts come in groups of files, the first by name first; should they not last, training fetches more of them.
    Raises `UserError` if something can't be had; what is here by then stays.
    """
    _open_data(sources)
    needed = max(_training_bytes(sources.recipe), sources.recipe.tokenizer.max_chars)
    shares = sum(source.weight for source in sources.training_texts)
    for source in sources.training_texts:
        _download_texts(source.documents, needed * source.weight / shares)
    if sources.recipe.base.core_every:
        sources.core_tasks()


def check_data(sources: Sources) -> None:
    """Get and open the first texts and the data of every task: what is missing or malformed is said now, not later.

    CORE's, too; where it can't be had that is said, and training goes on without.
    """
    _open_data(sources)
    if sources.recipe.base.core_every:
        try:
            sources.core_tasks()
        except UserError as error:
            if ranks.first_to("do without core"):
                print(no_core(error), file=sys.stderr)


def no_core(error: UserError) -> str:
    """What is said where CORE can't be measured."""
    return f"{'core':<10} is not measured: {error} ([data] core names another bundle)"


def _open_data(sources: Sources) -> None:
    recipe = sources.recipe
    _ = sources.training_texts, sources.validation_texts
    for stage in (recipe.stage(name) for name in STAGES):
        for spec in (*stage.train, *stage.validation, *stage.tasks):
            sources.task(spec)
    for spec in askable(recipe.eval.tasks):
        judged_task(sources, spec)


def judged_task(sources: Sources, spec: TaskSpec) -> Task:
    """A task to be asked; raises `UserError` if it can't judge an answer."""
    task = sources.task(spec)
    if task.kind is None:
        raise UserError(f"[eval] tasks: {task.name} has no judge; it can only be trained on")
    return task


def askable(specs: Iterable[TaskSpec]) -> tuple[TaskSpec, ...]:
    """Without HumanEval where a model's programs may not be run; that is said, once."""
    return tuple(spec for spec in specs if spec.task != "humaneval" or _programs_may_run())


@functools.cache
def _programs_may_run() -> bool:
    try:
        check_allowed()
    except UserError as error:
        if ranks.first_to("leave humaneval out"):
            print(f"humaneval is left out: {error}", file=sys.stderr)
        return False
    return True


def _download_texts(documents: Documents, needed: float) -> None:
    """Fetch files until they hold about as many bytes of text as are needed."""
    sample = documents.sample()
    bytes_a_document = sum(len(text.encode()) for text in sample) / len(sample)
    line = ProgressLine("texts", len(documents.sources))
    while not documents.complete and documents.known * bytes_a_document < needed:
        documents.open_group()
        line.update(len(documents.files))
    line.close(f"{len(documents.files)} of {len(documents.sources)} files of {documents.name}")


def _training_bytes(recipe: Recipe) -> int:
    settings = recipe.base
    assert settings.tokens_per_step is not None
    steps = horizon(settings, recipe.model.config(recipe.tokenizer.vocab_size))
    return steps * settings.tokens_per_step * BYTES_A_TOKEN
