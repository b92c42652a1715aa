"""CORE: how much a base model knows and can do, over 22 tasks (Li et al. 2024, DataComp-LM, arXiv:2406.11794)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .core_bundle import CoreTask
from .core_prompts import Row, chosen_items, rows_of
from .language_model import LanguageModel
from .statistics import centred, wilson_interval

BATCH_TOKENS = 16_384
"""Tokens, filling included, that are computed at a time."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class CoreResult:
    """How a model did at a task of CORE."""

    task: CoreTask
    decisions: tuple[int, ...]
    """For every item the choice taken; for language modelling 1 if each token of the continuation was the likeliest."""
    right: tuple[bool, ...]

    @property
    def accuracy(self) -> float:
        """Share of the items that are right."""
        return sum(self.right) / len(self.right)

    @property
    def centred(self) -> float:
        """The accuracy, 0 for guessing and 1 for all right."""
        return centred(self.accuracy, self.task.chance)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of `centred`."""
        low, high = wilson_interval(sum(self.right), len(self.right))
        return centred(low, self.task.chance), centred(high, self.task.chance)

    @property
    def variance(self) -> float:
        """Of `centred`, from that of a share."""
        return self.accuracy * (1 - self.accuracy) / len(self.right) / (1 - self.task.chance) ** 2

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        low, high = self.interval
        values = {"accuracy": self.accuracy, "centred": self.centred, "low": low, "high": high}
        return values | {"n": len(self.right), "chance": self.task.chance, "decisions": self.decisions}


def core(results: Sequence[CoreResult]) -> tuple[float, float]:
    """The mean of the centred accuracies, and half the width of its 95 % interval (over the choice of items)."""
    n = len(results)
    half = 1.96 * math.sqrt(sum(result.variance for result in results)) / n
    return sum(result.centred for result in results) / n, half


@torch.inference_mode()
def evaluate_core_task(
    model: LanguageModel,
    task: CoreTask,
    *,
    limit: int | None = None,
    batch_tokens: int = BATCH_TOKENS,
    on_progress: Progress = lambda done, total: None,
) -> CoreResult:
    """Ask `model` the items of `task`, `limit` of them at most: the first in CORE's order."""
    items = chosen_items(task, limit)
    rows = [rows_of(task, items, index, model) for index in range(len(items))]
    flat = [row for of_item in rows for row in of_item]
    scores = iter(score_rows(model, flat, batch_tokens, on_progress))
    by_item = [[next(scores) for _ in of_item] for of_item in rows]
    if task.kind == "language_modeling":
        decisions = tuple(int(likeliest) for ((_, likeliest),) in by_item)
        return CoreResult(task=task, decisions=decisions, right=tuple(map(bool, decisions)))
    decisions = tuple(min(range(len(of_item)), key=lambda i: of_item[i][0]) for of_item in by_item)
    right = tuple(decision == item["gold"] for decision, item in zip(decisions, items, strict=True))
    return CoreResult(task=task, decisions=decisions, right=right)


def score_rows(
    model: LanguageModel, rows: Sequence[Row], batch_tokens: int, on_progress: Progress = lambda done, total: None
) -> list[tuple[float, bool]]:
    """For each row the mean loss of what is scored, in nats, and whether all of it was the likeliest.

    Rows of like lengths are computed together.
    """
    scores: dict[int, tuple[float, bool]] = {}
    for batch in _batches(rows, batch_tokens):
        scores |= zip(batch, _score(model, [rows[i] for i in batch]), strict=True)
        on_progress(len(scores), len(rows))
    return [scores[i] for i in range(len(rows))]


def _batches(rows: Sequence[Row], batch_tokens: int) -> Iterator[list[int]]:
    """Numbers of rows, the longest first: if memory is short, that shows at once."""
    batch: list[int] = []
    for i in sorted(range(len(rows)), key=lambda i: -len(rows[i].ids)):
        if batch and (len(batch) + 1) * len(rows[batch[0]].ids) > batch_tokens:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _score(model: LanguageModel, rows: Sequence[Row]) -> list[tuple[float, bool]]:
    longest = max(len(row.ids) for row in rows)
    inputs_BT = torch.tensor([[*row.ids, *[0] * (longest - len(row.ids))] for row in rows])
    counts = [len(row.ids) - row.start for row in rows]
    rows_N = torch.repeat_interleave(torch.arange(len(rows)), torch.tensor(counts))
    columns_N = torch.cat([torch.arange(row.start, len(row.ids)) for row in rows])
    logits_NV = model.logits_at(inputs_BT, rows_N, columns_N - 1)
    targets_N = inputs_BT[rows_N, columns_N].to(logits_NV.device)
    losses: Sequence[Tensor] = F.cross_entropy(logits_NV, targets_N, reduction="none").cpu().split(counts)
    hits: Sequence[Tensor] = (logits_NV.argmax(-1) == targets_N).cpu().split(counts)
    return [(loss.mean().item(), bool(hit.all())) for loss, hit in zip(losses, hits, strict=True)]
