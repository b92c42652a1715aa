"""`parrotlet run`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import tyro

from ..train import Run, StoppedByUser, run_pipeline
from .options import RecipeOptions, program
from .report import print_conversations, print_table


def run(options: Annotated[RecipeOptions, tyro.conf.arg(name="")], accept_data_change: bool = False) -> None:
    """Do everything: tokenizer, base, mid, sft, evaluation of every stage, one table.

    The same command again goes on where it stopped.

    Args:
        accept_data_change: Go on though the data changed since the last checkpoint; what changed is told and saved.
    """
    opened = options.open_run()
    with opened.lock(), resumable(opened, "run"):
        results = run_pipeline(opened, accept_data_change)
    print_table(results)
    print_conversations(opened)
    print(f"\nTalk to it:  {program()} chat --run {opened.folder}")


@contextmanager
def resumable(opened: Run, command: str) -> Iterator[None]:
    """Say how to go on when training was asked to stop."""
    try:
        yield
    except StoppedByUser:
        print(f"\nsaved; go on with:  {program()} {command} --run {opened.folder}")
        raise KeyboardInterrupt from None
