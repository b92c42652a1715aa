"""Compare: what differs between two stages, from the resolved configuration and from real batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from ..data import NOTHING, PADDING, Batch, Counts, PlanOrder, StreamOrder, count_sources
from ..recipe import Recipe
from ..stages import STAGES, Stage
from ..train import Run
from ..train.loop import learning_rate_multiplier
from .material import Material
from .pairs import Finder, shared_conversation
from .segments import Segment, segments_of_row
from .terminal import percent

BATCHES = 4
"""How many batches, the first, are looked at."""
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
    ours, theirs = (dict([*declared(*side), *configured(*side), *counted(*side)]) for side in (a, b))
    return [Line(aspect, ours.get(aspect, "–"), theirs.get(aspect, "–")) for aspect in {**ours, **theirs}]


def declared(material: Material, stage: Stage) -> Iterator[tuple[str, str]]:
    """What `stages.py` says."""
    yield "in one phrase", stage.phrase
    start = " or ".join(stage.starts_from)
    yield "starts from", f"a checkpoint of {start}, fresh optimiser" if start else "random weights"
    yield "supervised", SUPERVISION[stage.supervision]
    yield "a token attends to", ATTENTION[stage.attends]
    yield "too long for a row", TOO_LONG[stage.too_long]
    yield "measured on the way", ", ".join(stage.measures)


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


def _data(material: Material, stage: Stage) -> Iterator[str]:
    order = material.order(stage)
    if isinstance(order, StreamOrder):
        for source in order.sources:
            yield f"{len(source.documents):,} documents of {source.documents.name}"
        return
    assert isinstance(order, PlanOrder)
    yield f"{len(order.mixture):,} conversations:"
    for task in order.mixture.tasks:
        times = f" ×{task.repeat}" if task.repeat > 1 else ""
        yield f"{task.name} {len(task):,}{times}"


def counted(material: Material, stage: Stage) -> Iterator[tuple[str, str]]:
    """What some real batches hold."""
    batches = list(itertools.islice(material.batches(stage, 0), BATCHES))
    by_source = _counts(batches)
    total = sum(by_source.values(), NOTHING)
    positions = sum(batch.segments.numel() for batch in batches)
    padding = sum(int((batch.segments == PADDING).sum()) for batch in batches)
    segments = sum(len(row) for batch in batches for row in batch.sources)
    yield "rows of a step", f"{sum(map(len, batches)) / len(batches):g} × {batches[0].inputs.shape[1]}"
    yield "segments in a row", f"{segments / sum(map(len, batches)):.1f}"
    yield "tokens in a segment", f"{total.tokens / segments:.0f}"
    yield "predictions supervised", percent(total.supervised, total.tokens)
    yield "padding", percent(padding, positions)
    shares = sorted(by_source.items(), key=lambda entry: -entry[1].supervised)
    yield "of the supervised", "\n".join(f"{name} {percent(c.supervised, total.supervised)}" for name, c in shares)


def _counts(batches: list[Batch]) -> dict[str, Counts]:
    found: dict[str, Counts] = {}
    for batch in batches:
        for name, counts in count_sources(batch).items():
            found[name] = found.get(name, NOTHING) + counts
    return found


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
    """The keys of two recipes that differ."""
    ours, theirs = a.flat(), b.flat()
    keys = sorted({*ours, *theirs}, key=lambda key: (key.split(".")[0] in STAGES, key))
    lines = (Line(key, _shown(ours.get(key)), _shown(theirs.get(key))) for key in keys)
    return [line for line in lines if not line.same]


def _shown(value: object) -> str:
    return "–" if value is None else str(value)
