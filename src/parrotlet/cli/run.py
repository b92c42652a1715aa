"""`parrotlet run`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import tyro

from .. import ranks
from ..cpp import GENERATION, compile_ahead
from ..errors import UserError
from ..inspect import Material
from ..inspect.audit import audit as find_problems
from ..inspect.audit import complaint
from ..train import Run, StoppedByUser, duration, run_pipeline
from .options import RecipeOptions, program
from .report import print_conversations, print_table


def run(
    options: Annotated[RecipeOptions, tyro.conf.arg(name="")], audit: bool = True, accept_data_change: bool = False
) -> None:
    """Do everything: tokenizer, base, mid, sft, evaluation of every stage, one table.

    The same command again goes on where it stopped.

    Args:
        audit: Before the first stage, look at a sample of all data for what is wrong with it (parrotlet audit).
        accept_data_change: Go on though the data changed since the last checkpoint; what changed is told and saved.
    """
    opened = options.open_run()
    compile_ahead(GENERATION)
    with opened.lock(), resumable(opened, "run"):
        check = audited if audit else None
        results = run_pipeline(opened, check, accept_data_change=accept_data_change)
    if not ranks.is_first():
        return
    print_table(results)
    print_conversations(opened)
    print(f"\nTalk to it:  {program()} chat --run {opened.folder}")


def audited(run: Run) -> None:
    """Raise `UserError` with the list of what is wrong with the run's data."""
    began = time.monotonic()
    if found := find_problems(Material(run.recipe)):
        raise UserError(f"{complaint(found)}\n\nto train all the same: --no-audit")
    print(
        f"{'audit':<10} nothing found in a sample of the data ({duration(time.monotonic() - began)})", file=sys.stderr
    )


@contextmanager
def resumable(opened: Run, command: str) -> Iterator[None]:
    """Say how to go on when training was asked to stop."""
    try:
        yield
    except StoppedByUser:
        print(f"\nsaved; go on with:  {program()} {command} --run {opened.folder}")
        raise KeyboardInterrupt from None
