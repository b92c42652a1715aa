"""CORE: how much a base model knows and can do, over 22 tasks (Li et al. 2024, DataComp-LM, arXiv:2406.11794)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from .. import ranks
from .branches import Batch, Row, Tree
from .core_bundle import CoreTask
from .core_prompts import chosen_items, rows_of
from .language_model import LanguageModel
from .statistics import centred, mean_centred, wilson_interval

BATCH_TOKENS = 1024
"""Tokens, filling included, that are computed at a time on a CPU: more would leave its caches."""
ACCELERATOR_BATCH_TOKENS = 32_768
"""The same elsewhere."""

Progress = Callable[[int, int], None]
Score = tuple[float, bool]


@dataclass(frozen=True, kw_only=True)
class CoreResult:
    """How a model did at a task of CORE."""

    task: CoreTask
    decisions: tuple[int, ...]
    """For every item the choice taken; for language modelling 1 if each token of the continuation was the likeliest."""
    right: tuple[bool, ...]
    cut: int
    """Items of which a text was longer than the model can read: it lost its beginning, solved examples first."""

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

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        low, high = self.interval
        values = {"accuracy": self.accuracy, "centred": self.centred, "low": low, "high": high}
        values |= {"n": len(self.right), "cut": self.cut, "chance": self.task.chance}
        return values | {"decisions": self.decisions}


def core(results: Sequence[CoreResult]) -> tuple[float, float]:
    """See `mean_centred`."""
    return mean_centred([result.to_json() for result in results])


@torch.inference_mode()
def evaluate_core_task(
    model: LanguageModel,
    task: CoreTask,
    *,
    limit: int | None = None,
    batch_tokens: int | None = None,
    on_progress: Progress = lambda done, total: None,
) -> CoreResult:
    """Ask `model` the items of `task`, `limit` of them at most: the first in CORE's order.

    Several ranks share the items, and each gets all decisions.
    """
    items = chosen_items(task, limit)
    rows = [rows_of(task, items, index, model) for index in ranks.own(range(len(items)))]
    by_item = ranks.gather_shares(score(model, rows, batch_tokens, on_progress))
    cut = sum(ranks.gather_shares([any(row.cut for row in of_item) for of_item in rows]))
    if task.kind == "language_modeling":
        decisions = tuple(int(likeliest) for ((_, likeliest),) in by_item)
        return CoreResult(task=task, decisions=decisions, right=tuple(map(bool, decisions)), cut=cut)
    decisions = tuple(min(range(len(of_item)), key=lambda i: of_item[i][0]) for of_item in by_item)
    right = tuple(decision == item["gold"] for decision, item in zip(decisions, items, strict=True))
    return CoreResult(task=task, decisions=decisions, right=right, cut=cut)


def score(
    model: LanguageModel,
    items: Sequence[Sequence[Row]],
    batch_tokens: int | None = None,
    on_progress: Progress = lambda done, total: None,
) -> list[list[Score]]:
    """For each row of each item the mean loss of what is scored, in nats, and whether all of it was the likeliest.

    What the rows of an item begin with is computed once, and items of like lengths are computed together. Rows of an
    item that are the same have the same score, to the last bit: of equal choices the first is taken.
    """
    batch_tokens = batch_tokens or (BATCH_TOKENS if model.device.type == "cpu" else ACCELERATOR_BATCH_TOKENS)
    distinct = [{row.key: row for row in rows} for rows in items]
    parts = [[*rows.values()] for rows in distinct]
    if not model.branches:
        parts = [[row] for rows in parts for row in rows]
    trees = [Tree(rows) for rows in parts]
    scores: dict[int, list[Score]] = {}
    for batch in _batches(trees, batch_tokens):
        scores |= zip(batch, _score(model, [trees[i] for i in batch]), strict=True)
        on_progress(len(scores), len(trees))
    flat = iter(pair for i in range(len(trees)) for pair in scores[i])
    found = [{key: next(flat) for key in rows} for rows in distinct]
    return [[scored[row.key] for row in rows] for rows, scored in zip(items, found, strict=True)]


def _batches(trees: Sequence[Tree], batch_tokens: int) -> Iterator[list[int]]:
    """Numbers of trees, the longest first: if memory is short, that shows at once."""
    batch: list[int] = []
    for i in sorted(range(len(trees)), key=lambda i: -len(trees[i])):
        if batch and (len(batch) + 1) * len(trees[batch[0]]) > batch_tokens:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _score(model: LanguageModel, trees: Sequence[Tree]) -> list[list[Score]]:
    logits_NV = model.logits(Batch.of(trees))
    targets = [id for tree in trees for row in tree.rows for id in row.scored]
    targets_N = torch.tensor(targets, device=logits_NV.device)
    losses = F.cross_entropy(logits_NV, targets_N, reduction="none").tolist()
    hits = (logits_NV.argmax(-1) == targets_N).tolist()
    tokens = iter(zip(losses, hits, strict=True))
    return [[_mean([next(tokens) for _ in row.scored]) for row in tree.rows] for tree in trees]


def _mean(tokens: Sequence[Score]) -> Score:
    return sum(loss for loss, _ in tokens) / len(tokens), all(hit for _, hit in tokens)
