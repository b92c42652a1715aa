"""Rewind: back from a loss to the rows that it was measured on."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..data import NOT_SUPERVISED, Batch
from ..errors import UserError
from ..model import GPT
from ..stages import STAGES, Stage
from ..train import Run, load_model
from ..train.checkpoint import list_checkpoints, read_state
from .material import Material
from .segments import Segment, segments_of_row

BEFORE = 16
"""Steps before a step whose median loss it is compared with."""
KEPT = 10


@dataclass(frozen=True)
class Spike:
    """A step whose loss rose above that of the steps before it."""

    step: int
    loss: float
    above: float
    """How far above the median of the steps before it, in nats."""


def spikes(lines: Sequence[dict[str, Any]], count: int) -> list[Spike]:
    """The steps of a stage's metrics at which the loss rose, the highest above the steps before first.

    A step that only comes down from a spike is none, however high its loss still is.
    """
    losses = [line["loss"] for line in lines]
    found = [
        Spike(line["step"], line["loss"], line["loss"] - statistics.median(losses[max(0, i - BEFORE) : i]))
        for i, line in enumerate(lines)
        if i and line["loss"] > losses[i - 1]
    ]
    return sorted((spike for spike in found if spike.above > 0), key=lambda spike: -spike.above)[:count]


@dataclass(frozen=True)
class Scored:
    """A segment and its loss under some checkpoint."""

    step: int
    segment: Segment
    loss: float
    """Nats a supervised token."""
    hardest: int
    """Which of its tokens was predicted worst."""
    hardest_loss: float

    def surprise(self, average: float) -> float:
        """How far above the average loss, in units of √tokens: two odd tokens count for less than a page of them."""
        return (self.loss - average) * math.sqrt(self.segment.supervised)


def score_batch(material: Material, stage: Stage, step: int, batch: Batch, model: GPT) -> Iterator[Scored]:
    """Every segment of a batch that has supervised tokens, with its loss under `model`."""
    device, size = next(model.parameters()).device, material.recipe.stage(stage.name).micro_rows
    micros = (micro.to(device) for micro in batch.micro_batches(size))
    losses = torch.cat(
        [model.token_losses(m.inputs, m.targets, m.positions, m.attention_segments).cpu() for m in micros]
    )
    for row in range(len(batch)):
        for segment in segments_of_row(material, stage, batch, row):
            span = slice(segment.source.start, segment.source.end)
            supervised = batch.targets[row, span] != NOT_SUPERVISED
            if not supervised.any():
                continue
            values = losses[row, span]
            mean = values[supervised].double().mean().item()
            yield Scored(step, segment, mean, int(values.argmax()), values.max().item())


def rank(scored: Sequence[Scored], average: float) -> list[Scored]:
    """The most surprising first, by the average loss of a token."""
    return sorted(scored, key=lambda one: -one.surprise(average))


def _losses(scored: Sequence[Scored]) -> float:
    return sum(one.loss * one.segment.supervised for one in scored)


def _tokens(scored: Sequence[Scored]) -> int:
    return sum(one.segment.supervised for one in scored)


def model_before(run: Run, stage: Stage, step: int) -> tuple[GPT, str]:
    """The model of the nearest checkpoint before a step, and its name.

    That is one of the stage's own, else the one that the stage began from; where base has none that early, the
    first one after the step.
    """
    steps = list_checkpoints(run.stage_folder(stage.name))
    if not steps:
        raise UserError(f"{run.folder} has no checkpoint of {stage.name} to measure with")
    if earlier := [s for s in steps if s <= step]:
        return load_model(run, stage.name, earlier[-1]), f"{stage.name}@{earlier[-1]}"
    name, _, at = read_state(run.newest(stage.name))["started_from"].partition("@")
    if name in STAGES and int(at) in list_checkpoints(run.stage_folder(STAGES[name].name)):
        return load_model(run, STAGES[name].name, int(at)), f"{name}@{at}"
    return load_model(run, stage.name, steps[0]), f"{stage.name}@{steps[0]} (none earlier is kept)"


def rewind(run: Run, stage: Stage, step: int) -> tuple[list[Scored], str]:
    """The segments of a step, the most surprising first, and the checkpoint that says so."""
    material = Material.of_run(run)
    batch = material.batch(stage, step)
    model, name = model_before(run, stage, step)
    scored = list(score_batch(material, stage, step, batch, model))
    return rank(scored, _losses(scored) / max(_tokens(scored), 1)), name


def hardest(
    run: Run, stage: Stage, count: int, every: int, on_progress: Callable[[int, int], None]
) -> tuple[list[Scored], str]:
    """The most surprising segments of every `every`-th step that was trained, under the stage's last checkpoint.

    By the average loss of all; on the way, `KEPT` times as many stay as are asked for, by the average so far.
    """
    material = Material.of_run(run)
    trained = len(run.metrics(stage.name).read())
    model, name = model_before(run, stage, trained)
    kept: list[Scored] = []
    losses, tokens = 0.0, 0
    for step, batch in zip(range(trained), material.batches(stage, 0), strict=False):
        if step % every == 0:
            scored = list(score_batch(material, stage, step, batch, model))
            losses, tokens = losses + _losses(scored), tokens + _tokens(scored)
            kept = rank([*kept, *scored], losses / max(tokens, 1))[: KEPT * count]
        on_progress(step + 1, trained)
    return kept[:count], name
