"""`parrotlet data`."""

from __future__ import annotations

import dataclasses
import json as json_lines
import sys
from collections.abc import Iterator
from typing import Annotated, Literal, TypeVar

import tyro

from ..data.overlap import NGRAM, Overlap, Questions, conversations_of, documents_of
from ..errors import UserError
from ..stages import STAGES
from ..tasks import Task, TaskSpec
from ..train import ProgressLine, Sources, askable, download_recipe
from .options import RecipeOptions

T = TypeVar("T")

SHOWN = 3
"""Passages of a pair that are printed without --json."""


def data(
    action: tyro.conf.Positional[Literal["download", "overlap"]],
    options: Annotated[RecipeOptions, tyro.conf.arg(name="")],
    ngram: int | None = None,
    json: bool = False,
) -> None:
    """Get the data of a recipe, or look for its evaluations in what it trains on.

    Args:
        action: download: fetch what the recipe's stages and evaluations read, and no more. overlap: find evaluation
            questions that stand in the training data; exit code 2 if there are any.
        ngram: overlap: how many words in a row have to be the same. Default: 10.
        json: overlap: one JSON object a pair of training source and evaluation, with all passages.
    """
    sources = Sources(options.look())
    if action == "download":
        if ngram is not None or json:
            raise UserError("--ngram and --json are for data overlap")
        download_recipe(sources)
        print("everything that the recipe reads is here")
        return
    ngram = NGRAM if ngram is None else ngram
    if ngram < 1:
        raise UserError(f"--ngram {ngram} must be at least 1")
    found, too_short = 0, {}
    for pair in _pairs(sources, ngram):
        found += len(pair.found)
        too_short[pair.task] = pair.too_short
        _print_json(pair) if json else _print(pair)
    for task, count in too_short.items():
        if count:
            print(f"{task}: {count} questions are shorter than {ngram} words, and can't be told", file=sys.stderr)
    if found:
        sys.exit(2)
    print("no evaluation question that can be told stands in the training data", file=sys.stderr)


def _pairs(sources: Sources, ngram: int) -> Iterator[Overlap]:
    """Everything that is trained on against everything that is asked, each once."""
    recipe = sources.recipe
    stages = [recipe.stage(name) for name in STAGES]
    asked = dict.fromkeys([*askable(recipe.eval.tasks), *(spec for stage in stages for spec in stage.tasks)])
    questions = Questions([_named(sources, spec) for spec in asked], ngram)
    for source in sources.training_texts:
        line = ProgressLine("overlap", len(source.documents))
        yield from questions.overlaps(source.documents.name, _told(documents_of(source), line))
        line.close()
    for spec in dict.fromkeys(_whole(spec) for stage in stages for spec in stage.train):
        task = _named(sources, spec)
        line = ProgressLine("overlap", len(task))
        yield from questions.overlaps(task.name, _told(conversations_of(task), line))
        line.close()


def _named(sources: Sources, spec: TaskSpec) -> Task:
    task = sources.task(spec)
    task.name = f"{task.name} ({spec.split})"
    return task


def _whole(spec: TaskSpec) -> TaskSpec:
    """The task without what says how much of it a stage takes, so that no part is looked at twice."""
    return dataclasses.replace(spec, start=None, stop=None, repeat=1, weight=1.0, size=None)


def _told(items: Iterator[T], line: ProgressLine) -> Iterator[T]:
    for done, item in enumerate(items, start=1):
        line.update(done)
        yield item


def _print(pair: Overlap) -> None:
    if not pair.found:
        return
    print(f"{pair.source} holds {len(pair.found)} of the {pair.items} questions of {pair.task}")
    for passage in list(pair.found.values())[:SHOWN]:
        print(f"  {100 * passage.share:.0f} % of {passage.item}\n  in {passage.document}:\n    {_short(passage.text)}")
    if len(pair.found) > SHOWN:
        print(f"  … and {len(pair.found) - SHOWN} more (--json prints all)")


def _short(text: str, limit: int = 160) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _print_json(pair: Overlap) -> None:
    value = dataclasses.asdict(pair) | {"found": [dataclasses.asdict(passage) for passage in pair.found.values()]}
    print(json_lines.dumps(value, ensure_ascii=False))
