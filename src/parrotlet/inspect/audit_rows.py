"""What can be wrong in the batches themselves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from ..data import NOTHING, PADDING, Batch, Counts, Order, PlanOrder, count_sources
from ..stages import Stage
from ..tokenizer import Tokenizer
from .findings import Finding, Kind, Places
from .material import Material, spread_steps
from .segments import Segment, segments_of_row

STEPS = 8
"""Steps of a row plan that a sample looks at, evenly spread; of documents the first one."""
PADDING_BOUND = 0.6
"""Share of the positions, over all steps that were looked at, the last one left out."""
SHARE_BOUND = 100
"""How many times smaller a task's share of the supervised tokens may be than its planned share of all tokens."""
PLANNED_LEAST = 0.01
"""Tasks with a smaller planned share are not compared."""
ITEMS_LEAST = 5
"""Nor are those of which a sample holds fewer items: chance alone may leave them out."""

WHAT: dict[Kind, str] = {
    "nothing supervised": "rows in which no prediction is supervised: {n}",
    "answer cut": "supervised answers without <|assistant_end|> at their end: {n}",
    "double bos": "segments with more than one <|bos|>: {n}",
    "tool output supervised": "segments in which tool output is a target: {n}",
}


def audit_rows(material: Material, stage: Stage, *, full: bool) -> list[Finding]:
    """Look at the batches of some steps, or of all."""
    audit = _RowAudit(material, stage)
    for step in _steps(material.order(stage), full):
        audit.look_at(step, material.batch(stage, step))
    return list(audit.findings())


def _steps(order: Order, full: bool) -> Sequence[int]:
    if order.steps is None:
        return [0]
    return range(order.steps) if full else spread_steps(order.steps, STEPS)


class _RowAudit:
    def __init__(self, material: Material, stage: Stage) -> None:
        self.material, self.stage = material, stage
        self.places: dict[Kind, Places] = defaultdict(Places)
        self.counts: dict[str, Counts] = {}
        self.stops = self.positions = self.padding = self.steps = 0
        self.last_step = (material.order(stage).steps or 0) - 1

    def look_at(self, step: int, batch: Batch) -> None:
        self.steps += 1
        self.stops += int((batch.targets == self.material.tokenizer.assistant_end).sum())
        for name, counts in count_sources(batch).items():
            self.counts[name] = self.counts.get(name, NOTHING) + counts
        if step != self.last_step:
            self.positions += batch.segments.numel()
            self.padding += int((batch.segments == PADDING).sum())
        for row in range(len(batch)):
            self._look_at_row(f"step {step}, row {row}", segments_of_row(self.material, self.stage, batch, row))

    def _look_at_row(self, place: str, segments: list[Segment]) -> None:
        if segments and not any(segment.supervised for segment in segments):
            self.places["nothing supervised"].add(f"{place}: {segments[0].where}")
        for segment in segments:
            for kind in _wrong_in(segment, self.stage, self.material.tokenizer):
                self.places[kind].add(f"{place}: {segment.where}")

    def findings(self) -> Iterator[Finding]:
        name = self.stage.name
        for kind, places in self.places.items():
            yield from places.finding(name, kind, WHAT[kind].format(n=places.count))
        if self.stage.reads == "conversations" and not self.stops:
            yield Finding(name, "stop token never supervised", f"<|assistant_end|> is no target in {self.steps} steps")
        if self.padding > PADDING_BOUND * self.positions:
            share = f"{100 * self.padding / self.positions:.0f} % of the positions are padding"
            yield Finding(name, "too much padding", f"{share}, more than {100 * PADDING_BOUND:.0f} %")
        yield from self._far_from_plan()

    def _far_from_plan(self) -> Iterator[Finding]:
        planned = planned_tokens(self.material.order(self.stage))
        supervised = sum(counts.supervised for counts in self.counts.values())
        least = 0 if self.steps > self.last_step else ITEMS_LEAST
        for task, tokens in planned.items():
            plan, found = tokens / sum(planned.values()), self.counts.get(task, NOTHING)
            got = found.supervised / max(supervised, 1)
            if plan >= PLANNED_LEAST and found.items >= least and supervised and got * SHARE_BOUND < plan:
                what = f"{task} has {100 * plan:.1f} % of the planned tokens and {100 * got:.2f} % of the supervised"
                yield Finding(self.stage.name, "supervised share far from plan", what)


def planned_tokens(order: Order) -> dict[str, int]:
    """Tokens of every task in a row plan; empty for documents."""
    if not isinstance(order, PlanOrder):
        return {}
    found: dict[str, int] = defaultdict(int)
    for each in order.planned(0):
        found[each.name] += each.tokens
    return dict(found)


def _wrong_in(segment: Segment, stage: Stage, tokenizer: Tokenizer) -> Iterator[Kind]:
    if segment.ids.count(tokenizer.bos) > 1:
        yield "double bos"
    if stage.reads == "documents":
        return
    if _has_cut_answer(segment, tokenizer):
        yield "answer cut"
    outputs = (tokenizer.output_start, tokenizer.output_end)
    of_tool = (role == "output" or id in outputs for role, id in zip(segment.roles, segment.ids, strict=True))
    if stage.supervision == "assistant" and any(t and o for t, o in zip(segment.taught, of_tool, strict=True)):
        yield "tool output supervised"


def _has_cut_answer(segment: Segment, tokenizer: Tokenizer) -> bool:
    open_answer = taught = False
    for id, target in zip(segment.ids, segment.taught, strict=True):
        if id == tokenizer.assistant_start:
            open_answer, taught = True, False
        elif id == tokenizer.assistant_end:
            open_answer = False
        elif id == tokenizer.user_start and open_answer and taught:
            return True
        taught = taught or target
    return open_answer and taught
