"""`parrotlet train`."""

from __future__ import annotations

from typing import Annotated, Literal

import tyro

from ..errors import UserError
from ..train import train_stage, train_tokenizer
from ..train.watch import STAND_STILL_SECONDS
from .options import RecipeOptions
from .run import resumable


def train(
    stage: tyro.conf.Positional[Literal["tokenizer", "base", "mid", "sft"]],
    options: Annotated[RecipeOptions, tyro.conf.arg(name="")],
    start: Annotated[str | None, tyro.conf.arg(name="from", metavar="STAGE[@STEP]")] = None,
    accept_data_change: bool = False,
    timeout: float = STAND_STILL_SECONDS,
) -> None:
    """Train the tokenizer or one stage; what is unfinished goes on where it stopped.

    Args:
        stage: What to train. Base trains the tokenizer first if the run has none.
        accept_data_change: Go on though the data changed since the last checkpoint; what changed is told and saved.
        timeout: Seconds for which one of several ranks may stand still before all of them end.
        start: Checkpoint to begin from, such as base@5000. Default: the last one of the stage before.
    """
    if stage == "tokenizer" and (start or accept_data_change):
        raise UserError("--from and --accept-data-change are for base, mid and sft: a tokenizer has no checkpoints")
    opened = options.open_run()
    with opened.lock(), resumable(opened, f"train {stage}"):
        if stage in ("tokenizer", "base"):
            train_tokenizer(opened)
        if stage != "tokenizer":
            train_stage(opened, stage, start, accept_data_change=accept_data_change, timeout=timeout)
    print(f"{stage} is trained; it lies in {opened.folder / stage}")
