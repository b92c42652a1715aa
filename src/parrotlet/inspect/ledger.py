"""Ledger: what was planned, and what has been trained on, by source."""

from __future__ import annotations

from dataclasses import dataclass

from ..data import NOTHING, Counts, Order, PlanOrder, StreamOrder
from ..recipe import StageSettings
from ..stages import STAGES, Stage
from ..train import Run
from .audit_rows import planned_tokens
from .material import Material


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One source of a stage."""

    source: str
    planned: int
    """Tokens, over all epochs."""
    trained: Counts
    epochs: float
    """How many times its items have been begun, on average."""
    split: int
    """Conversations that were split between turns."""
    left_out: int
    """Exchanges longer than a row."""


@dataclass(frozen=True, kw_only=True)
class StageLedger:
    """A stage's entries, and how far it is."""

    stage: str
    steps: int
    """Steps in all."""
    done: int
    unlogged: int
    """Steps done whose metrics don't name their sources (trained by an older version)."""
    entries: list[Entry]

    @property
    def planned(self) -> int:
        """Tokens of all sources."""
        return sum(entry.planned for entry in self.entries)

    @property
    def trained(self) -> Counts:
        """All sources together."""
        return sum((entry.trained for entry in self.entries), NOTHING)


def ledger(run: Run) -> list[StageLedger]:
    """The ledger of every stage, as far as the run is: also while it trains."""
    material = Material.of_run(run)
    return [_stage_ledger(material, run, stage) for stage in STAGES.values()]


def _stage_ledger(material: Material, run: Run, stage: Stage) -> StageLedger:
    order, settings = material.order(stage), run.recipe.stage(stage.name)
    lines = run.metrics(stage.name).read()
    trained: dict[str, Counts] = {}
    for line in lines:
        for name, counts in line.get("sources", {}).items():
            trained[name] = trained.get(name, NOTHING) + Counts(*counts)
    steps = material.steps(stage)
    planned = _planned(order, settings, steps)
    return StageLedger(
        stage=stage.name,
        steps=steps,
        done=len(lines),
        unlogged=sum("sources" not in line for line in lines),
        entries=[
            _entry(name, planned.get(name, 0), trained.get(name, NOTHING), order, settings)
            for name in {**planned, **trained}
        ],
    )


def _entry(name: str, planned: int, trained: Counts, order: Order, settings: StageSettings) -> Entry:
    cuts = order.cut.get(name, {})
    return Entry(
        source=name,
        planned=planned,
        trained=trained,
        epochs=trained.items / max(_items(name, order, settings), 1),
        split=cuts.get("conversations_split", 0),
        left_out=cuts.get("exchanges_left_out", 0),
    )


def _planned(order: Order, settings: StageSettings, steps: int) -> dict[str, int]:
    if isinstance(order, StreamOrder):
        return {order.documents.name: steps * order.rows_per_step * order.length}
    return {name: tokens * settings.epochs for name, tokens in planned_tokens(order).items()}


def _items(name: str, order: Order, settings: StageSettings) -> float:
    """Items of a source, each counted once; of documents without those held out, which is known on average only."""
    if isinstance(order, PlanOrder):
        return sum(len(task) for task in order.mixture.tasks if task.name == name)
    assert isinstance(order, StreamOrder)
    assert settings.documents
    kept = 1.0 if settings.documents.validation else 1 - settings.documents.holdout
    return len(order.documents) * kept
