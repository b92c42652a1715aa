"""Compare: what differs between two stages, from the resolved configuration and from real batches."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..data import PADDING, PlanOrder, StreamOrder
from ..recipe import Recipe, StageSettings
from ..stages import STAGES, Stage
from ..tasks import Task
from ..train import Run
from ..train.loop import learning_rate_multiplier
from .material import Material, spread_steps
from .pairs import Finder, shared_conversation
from .segments import Segment, segments_of_row
from .terminal import percent

BATCHES = 8
"""How many batches are looked at: of documents the first; of conversations evenly spread ones, as phases differ, but
not the last, which holds what remains."""
BLOCKS = "▁▂▃▄▅▆▇█"
PLOT_WIDTH = 24

SUPERVISION = {"all": "every next token", "assistant": "the assistant's tokens only: calls yes, tool output no"}
ATTENTION = {"row": "everything before it in its row", "segment": "its own conversation only"}
TOO_LONG = {
    "continue": "goes on in the next row",
    "split": "split between turns; an exchange that does not fit is left out",
}


@dataclass(frozen=True)
class Line:
    """One aspect, as both sides have it."""

    aspect: str
    a: str
    b: str

    @property
    def same(self) -> bool:
        """Whether there is no difference."""
        return self.a == self.b


def compare_stages(a: tuple[Material, Stage], b: tuple[Material, Stage]) -> list[Line]:
    """Everything that makes the two stages what they are, aspect by aspect."""
    ours, theirs = (dict([*declared(*s), *configured(*s), *counted(*s), *taught(*s)]) for s in (a, b))
    return [Line(aspect, ours.get(aspect, "–"), theirs.get(aspect, "–")) for aspect in {**ours, **theirs}]


def declared(material: Material, stage: Stage) -> Iterator[tuple[str, str]]:
    """What `stages.py` says."""
    yield "in one phrase", stage.phrase
    start = " or ".join(stage.starts_from)
    yield "starts from", f"a checkpoint of {start}, fresh optimiser" if start else "random weights"
    yield "supervised", SUPERVISION[stage.supervision]
    yield "a token attends to", ATTENTION[stage.attends]
    yield "too long for a row", TOO_LONG[stage.too_long]


def configured(material: Material, stage: Stage) -> Iterator[tuple[str, str]]:
    """What the recipe says, resolved."""
    settings, steps = material.recipe.stage(stage.name), material.steps(stage)
    yield "reads", "\n".join(_data(material, stage))
    unit = f"{settings.tokens_per_step or 0:,} tokens"
    yield "a step is", f"{settings.conversations_per_step} conversations" if settings.conversations_per_step else unit
    yield "steps", f"{steps:,}"
    rates = [learning_rate_multiplier(stage, settings, step, steps) for step in range(steps)]
    yield "learning rate", f"×{max(rates):g}, ends at ×{rates[-1]:.2g}"
    yield "  step by step", sparkline(rates)
    yield "measured on the way", "\n".join(_measured(stage, settings))


def _measured(stage: Stage, settings: StageSettings) -> Iterator[str]:
    intervals = {
        "CORE": settings.core_every,
        "samples": settings.sample_every,
        "multiple-choice accuracy": settings.tasks_every if settings.tasks else 0,
    }
    for name in stage.measures:
        if every := intervals.get(name, settings.eval_every):
            yield f"{name} every {every:,} steps"


def _data(material: Material, stage: Stage) -> Iterator[str]:
    order = material.order(stage)
    if isinstance(order, StreamOrder):
        for source in order.sources:
            more = "" if source.documents.complete else " or more"
            yield f"{source.documents.known:,}{more} documents of {source.documents.name}"
        return
    assert isinstance(order, PlanOrder)
    yield f"{len(order.mixture):,} conversations:"
    for phase, tasks in itertools.groupby(sorted(order.mixture.tasks, key=_phase), _phase):
        if phase > 1:
            yield "then:"
        for task in tasks:
            times = f" ×{task.repeat:g}" if task.repeat != 1 else ""
            yield f"{task.name} {len(task):,}{times}"


def _phase(task: Task) -> int:
    return task.phase


def counted(material: Material, stage: Stage) -> Iterator[tuple[str, str]]:
    """How some real batches are filled."""
    if stage.reads == "documents":
        batches = list(itertools.islice(material.batches(stage, 0), BATCHES))
    else:
        spread = spread_steps(max(material.steps(stage) - 1, 1), BATCHES)
        batches = [next(material.batches(stage, step)) for step in spread]
    rows = sum(map(len, batches))
    segments = sum(len(row) for batch in batches for row in batch.sources)
    positions = rows * batches[0].inputs.shape[1]
    padding = sum(int((batch.segments == PADDING).sum()) for batch in batches)
    yield "rows of a step", f"{round(rows / len(batches), 1):g} × {positions // rows}"
    yield "segments in a row", f"{segments / rows:.1f}"
    yield "tokens in a segment", f"{(positions - padding) / segments:.0f}"
    yield "padding", percent(padding, positions)


def taught(material: Material, stage: Stage) -> Iterator[tuple[str, str]]:
    """What is supervised, over the whole stage."""
    supervised: dict[str, int] = {}
    planned = material.order(stage).planned(material.steps(stage))
    for each in planned:
        supervised[each.name] = supervised.get(each.name, 0) + each.supervised
    total = sum(supervised.values())
    yield "predictions supervised", percent(total, sum(each.tokens for each in planned))
    shares = sorted(supervised.items(), key=lambda entry: -entry[1])
    yield "of the supervised", "\n".join(f"{name} {percent(count, total)}" for name, count in shares)


def sparkline(values: list[float], width: int = PLOT_WIDTH) -> str:
    """A line of blocks, from 0 at the bottom to the largest value at the top."""
    picked = [values[i * (len(values) - 1) // max(width - 1, 1)] for i in range(min(width, len(values)))]
    top = max(max(values), 1e-12)
    return "".join(BLOCKS[round(value / top * (len(BLOCKS) - 1))] for value in picked)


def examples(a: tuple[Material, Stage], b: tuple[Material, Stage]) -> tuple[Segment, Segment]:
    """The same conversation as both stages see it; where they share none, the first whole item of each."""
    if all(stage.reads == "conversations" for _, stage in (a, b)):
        shared = shared_conversation(Finder(*a), Finder(*b))
        if shared:
            return shared
    return _first_whole(*a), _first_whole(*b)


def _first_whole(material: Material, stage: Stage) -> Segment:
    """The shortest of the first batch that is not cut; the first one if all are."""
    batch = next(material.batches(stage, 0))
    segments = [s for row in range(len(batch)) for s in segments_of_row(material, stage, batch, row)]
    whole = [segment for segment in segments if segment.source.cut is None]
    return min(whole, key=lambda segment: len(segment.ids)) if whole else segments[0]


def compare_results(a: Run, b: Run) -> list[Line]:
    """What the stages of two runs reached."""
    ours, theirs = (dict(_results(run)) for run in (a, b))
    return [Line(aspect, ours.get(aspect, "–"), theirs.get(aspect, "–")) for aspect in {**ours, **theirs}]


def _results(run: Run) -> Iterator[tuple[str, str]]:
    for stage, entry in run.read_results()["stages"].items():
        yield f"{stage}: val bits per byte", "–" if entry["val_bpb"] is None else f"{entry['val_bpb']:.3f}"
        for name, task in entry["tasks"].items():
            interval = f" [{100 * task['low']:.0f}–{100 * task['high']:.0f}]"
            yield f"{stage}: {name}", f"{100 * task['accuracy']:.0f} %{interval}"


def compare_recipes(a: Recipe, b: Recipe) -> list[Line]:
    """The keys of two recipes that differ; of lists of tasks and texts, the entries that only one of them has."""
    ours, theirs = dict(_settings(a)), dict(_settings(b))
    keys = sorted({*ours, *theirs}, key=lambda key: (key.split(".")[0] in STAGES, key))
    found = ((key, ours.get(key, []), theirs.get(key, [])) for key in keys)
    return [Line(key, _alone(mine, other), _alone(other, mine)) for key, mine, other in found if mine != other]


def _settings(value: Any, prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    for field in dataclasses.fields(value):
        key, inner = prefix + field.name, getattr(value, field.name)
        if dataclasses.is_dataclass(inner):
            yield from _settings(inner, f"{key}.")
        elif isinstance(inner, tuple):
            yield key, [_entry(each) if dataclasses.is_dataclass(each) else str(each) for each in inner]
        else:
            yield key, [] if inner is None else [str(inner)]


def _entry(spec: Any) -> str:
    """A task or a text: what it is, and what else is said of it."""
    first, *others = dataclasses.fields(spec)
    given = ((field, getattr(spec, field.name)) for field in others)
    return "- " + ", ".join(
        [getattr(spec, first.name), *(f"{f.name} {value}" for f, value in given if value != f.default)]
    )


def _alone(entries: list[str], others: list[str]) -> str:
    """Those that the other side has not; all, where only their order differs."""
    only = [entry for entry in entries if entry not in others]
    return "\n".join(only if only or set(others) - set(entries) else entries) or "–"
