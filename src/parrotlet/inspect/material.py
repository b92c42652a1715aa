"""What the inspectors look at: the data of a recipe, or of a run as it was trained."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from ..data import Batch, Order, PlanOrder, Source, State, StreamOrder
from ..errors import UserError
from ..recipe import Recipe
from ..stages import Stage, StageName
from ..tokenizer import Tokenizer
from ..train import Run, Sources, recipe_tokenizer
from ..train.checkpoint import checkpoint_folder, list_checkpoints, read_state
from ..train.setup import horizon


class Material:
    """A recipe's tokenizer, orders and batches: those that its training gets.

    Of a run, batches are replayed from the nearest checkpoint and compared with what was trained on.
    """

    def __init__(self, recipe: Recipe, run: Run | None = None) -> None:
        self.recipe, self.run = recipe, run
        self.sources = Sources(recipe)
        self.order = functools.cache(self._order)

    @classmethod
    def of_run(cls, run: Run) -> Material:
        """That of a run."""
        return cls(run.recipe, run)

    @property
    def name(self) -> str:
        """The run's folder or the recipe's name."""
        return str(self.run.folder) if self.run else self.recipe.name

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        """The run's tokenizer, or the one that the recipe means."""
        return self.run.tokenizer() if self.run else recipe_tokenizer(self.recipe)

    def _order(self, stage: Stage) -> Order:
        return self.sources.order(stage, self.tokenizer)

    def steps(self, stage: Stage) -> int:
        """How many steps the stage has."""
        settings = self.recipe.stage(stage.name)
        return self.order(stage).steps or horizon(settings, self.recipe.model.config(self.tokenizer.vocab_size))

    def batch(self, stage: Stage, step: int) -> Batch:
        """The batch of a step.

        Raises `UserError` if there is no such step, or if it is not the one that the run was trained on, by its
        hash in the metrics: the data have changed.
        """
        steps = self.steps(stage)
        if step >= steps:
            raise UserError(f"{stage.name} has {steps} steps, 0 to {steps - 1}; there is no step {step}")
        return next(self.batches(stage, step))

    def batches(self, stage: Stage, step: int) -> Iterator[Batch]:
        """The batches from `step` on; `UserError` as in `batch`."""
        order, trained = self.order(stage), self._trained(stage)
        at, state = (step, {"step": step}) if isinstance(order, PlanOrder) else self._checkpointed(stage, step)
        for number, (batch, _) in enumerate(order.batches(state), start=at):
            if number >= step:
                self._check_trained(stage, number, batch, trained.get(number, batch.hash))
                yield batch

    def _checkpointed(self, stage: Stage, step: int) -> tuple[int, State]:
        """The last state at or before `step` that a checkpoint holds, and its step."""
        at = self.checkpoint_before(stage.name, step)
        if self.run is None or at is None:
            return 0, self.order(stage).start()
        folder = checkpoint_folder(self.run.stage_folder(stage.name), at)
        return at, read_state(folder)["order"] or self.order(stage).start()  # of an import: nothing

    def checkpoint_before(self, stage: StageName, step: int) -> int | None:
        """The last checkpoint of the run at or before `step`; None if there is none."""
        steps = list_checkpoints(self.run.stage_folder(stage)) if self.run else []
        return max((s for s in steps if s <= step), default=None)

    def _trained(self, stage: Stage) -> dict[int, str]:
        """The hash of the batch of every step that was trained."""
        lines = self.run.metrics(stage.name).read() if self.run else ()
        return {line["step"]: line["batch_hash"] for line in lines}

    def _check_trained(self, stage: Stage, step: int, batch: Batch, trained: str) -> None:
        if trained != batch.hash:
            raise UserError(
                f"{self.name}: step {step} of {stage.name} was trained on another batch ({trained}) than "
                f"these data give now ({batch.hash}): they have changed since. Put them back to see what was trained"
            )

    def where(self, stage: Stage, source: Source) -> str:
        """File and row that a segment comes from."""
        order = self.order(stage)
        if isinstance(order, StreamOrder):
            return next(s.documents for s in order.sources if s.documents.name == source.dataset).where(source.index)
        assert isinstance(order, PlanOrder)
        named = (task for task in order.mixture.tasks if (task.name, task.dataset) == (source.task, source.dataset))
        return next(task for task in named if source.index < len(task)).where(source.index)


def spread_steps(steps: int, count: int) -> list[int]:
    """At most `count` of the steps, evenly spread: the first and the last among them."""
    return sorted({int(step) for step in np.linspace(0, steps - 1, count)})
