"""X-ray: the rows of a batch, token by token, as the training loop gets them."""

from __future__ import annotations

from typing import Any

from ..data import NOT_SUPERVISED, PADDING, Batch
from ..errors import UserError
from ..recipe import Recipe
from ..stages import Stage
from ..tokenizer import Tokenizer
from ..train import Run, Sources
from ..train.checkpoint import checkpoint_folder, list_checkpoints, load_checkpoint


def batch_of_recipe(recipe: Recipe, stage: Stage, step: int, tokenizer: Tokenizer) -> Batch:
    """The batch that step `step` of a stage would get, dealt out from the beginning."""
    order = Sources(recipe).order(stage, tokenizer)
    return _batch(order, order.start(), step, 0, stage)


def batch_of_run(run: Run, stage: Stage, step: int) -> Batch:
    """The batch of a step of a run, replayed from the nearest checkpoint before it.

    Raises `UserError` if it is not the one that was trained on, by its hash in the metrics: the data have changed.
    """
    order = Sources(run.recipe).order(stage, run.tokenizer())
    folder = run.stage_folder(stage.name)
    before = [s for s in list_checkpoints(folder) if s <= step]
    at = before[-1] if before else 0
    state = load_checkpoint(checkpoint_folder(folder, at), optimizer=False).state["order"] if before else order.start()
    batch = _batch(order, state, step, at, stage)
    trained = {line["step"]: line["batch_hash"] for line in run.metrics(stage.name).read()}
    if trained.get(step, batch.hash) != batch.hash:
        raise UserError(
            f"{run.folder}: step {step} of {stage.name} was trained on another batch ({trained[step]}) than these data "
            f"give now ({batch.hash}): they have changed since. Put them back to see what was trained"
        )
    return batch


def rows_as_json(batch: Batch, tokenizer: Tokenizer, stage: Stage, step: int) -> list[dict[str, Any]]:
    """One object a row: its tokens, with the prediction made at each position, and its sources."""
    return [
        {
            "stage": stage.name,
            "step": step,
            "row": row,
            "tokens": [_token(batch, tokenizer, row, i) for i in range(batch.inputs.shape[1])],
            "sources": [
                {
                    "segment": source.segment,
                    "dataset": source.dataset,
                    "index": source.index,
                    "task": source.task,
                    "cut": source.cut,
                    "start": source.start,
                    "end": source.end,
                }
                for source in batch.sources[row]
            ],
        }
        for row in range(len(batch))
    ]


def _token(batch: Batch, tokenizer: Tokenizer, row: int, i: int) -> dict[str, Any]:
    token, target = int(batch.inputs[row, i]), int(batch.targets[row, i])
    segment = int(batch.segments[row, i])
    return {
        "id": token,
        "text": tokenizer.token_text(token),
        "target": _predicted(batch, row, i),
        "supervised": target != NOT_SUPERVISED,
        "segment": segment,
        "position": int(batch.positions[row, i]),
    }


def _predicted(batch: Batch, row: int, i: int) -> int | None:
    """The id that position i predicts: its target, or, unsupervised, the next token of its segment."""
    target = int(batch.targets[row, i])
    if target != NOT_SUPERVISED:
        return target
    segment = int(batch.segments[row, i])
    last = i + 1 == batch.inputs.shape[1]
    if segment == PADDING or last or int(batch.segments[row, i + 1]) != segment:
        return None
    return int(batch.inputs[row, i + 1])


def _batch(order: Any, state: Any, step: int, at: int, stage: Stage) -> Batch:
    if order.steps is not None and step >= order.steps:
        raise UserError(f"{stage.name} has {order.steps} steps, 0 to {order.steps - 1}; there is no step {step}")
    batches = order.batches(state)
    for _ in range(step - at):
        next(batches)
    return next(batches)[0]
