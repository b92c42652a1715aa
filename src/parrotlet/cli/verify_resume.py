"""`parrotlet verify-resume`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import tyro

from ..errors import UserError
from ..train.verify import verify_resume as verify
from .options import RecipeOptions

NOT_THE_SAME = 1


def verify_resume(
    options: Annotated[RecipeOptions, tyro.conf.arg(name="")], steps: int = 30, kills: int = 3, chance: int = 0
) -> None:
    """Prove that a training that is killed (-9) and resumed is the same as one that is not.

    Trains the first steps of base, mid and sft twice, in a folder that is removed afterwards, and compares the hash of
    every batch and every loss, bit by bit. Exit code 0: all are the same.

    Args:
        steps: Steps of each stage.
        kills: How often the second training is killed, over all stages.
        chance: Seed of when it is killed.
    """
    if steps < 2 or not 0 <= kills <= steps:
        raise UserError(f"--steps {steps} --kills {kills}: it takes two steps or more, and no more kills than steps")
    if options.run is not None:
        raise UserError("verify-resume makes runs of its own: give a recipe, not --run")
    with tempfile.TemporaryDirectory(prefix="parrotlet-verify-") as folder:
        verdicts = verify(
            options.read(),
            Path(folder),
            steps=steps,
            kills=kills,
            seed=chance,
            say=lambda text: print(text, file=sys.stderr, flush=True),
        )
    for verdict in verdicts:
        print(verdict)
    if any(verdict.first_difference is not None for verdict in verdicts):
        sys.exit(NOT_THE_SAME)
