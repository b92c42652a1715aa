"""Ledger: what was planned, and what has been trained on, by source."""

from __future__ import annotations

from dataclasses import dataclass

from ..data import NOTHING, Counts, Planned
from ..data.order import Cuts
from ..stages import STAGES, Stage
from ..train import Run, data_changes
from .material import Material


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One source of a stage."""

    source: str
    planned: int
    """Tokens, over all epochs."""
    planned_supervised: int
    """Of them, those that are trained to be produced."""
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
    data_changes: list[str]
    """Data that are not those of the last checkpoint; what is planned follows those of today."""

    @property
    def planned(self) -> int:
        """Tokens of all sources."""
        return sum(entry.planned for entry in self.entries)

    @property
    def planned_supervised(self) -> int:
        """Of them, those that are trained to be produced."""
        return sum(entry.planned_supervised for entry in self.entries)

    @property
    def trained(self) -> Counts:
        """All sources together."""
        return sum((entry.trained for entry in self.entries), NOTHING)


def ledger(run: Run) -> list[StageLedger]:
    """The ledger of every stage, as far as the run is: also while it trains."""
    material = Material.of_run(run)
    return [_stage_ledger(material, run, stage) for stage in STAGES.values()]


def _stage_ledger(material: Material, run: Run, stage: Stage) -> StageLedger:
    order, steps = material.order(stage), material.steps(stage)
    lines = run.metrics(stage.name).read()
    trained: dict[str, Counts] = {}
    for line in lines:
        for name, counts in line.get("sources", {}).items():
            trained[name] = trained.get(name, NOTHING) + Counts(*counts)
    planned: dict[str, list[Planned]] = {}
    for each in order.planned(steps):
        planned.setdefault(each.name, []).append(each)
    return StageLedger(
        stage=stage.name,
        steps=steps,
        done=len(lines),
        unlogged=sum("sources" not in line for line in lines),
        entries=[
            _entry(name, planned.get(name, []), trained.get(name, NOTHING), order.cut.get(name, {}))
            for name in {**planned, **trained}
        ],
        data_changes=data_changes(run, stage),
    )


def _entry(name: str, planned: list[Planned], trained: Counts, cuts: Cuts) -> Entry:
    """Tasks that share a name are one entry."""
    items = sum(each.documents / each.epochs for each in planned if each.documents and each.epochs)
    return Entry(
        source=name,
        planned=sum(each.tokens for each in planned),
        planned_supervised=sum(each.supervised for each in planned),
        trained=trained,
        epochs=trained.items / max(items, 1),
        split=cuts.get("conversations_split", 0),
        left_out=cuts.get("exchanges_left_out", 0),
    )
