"""The command line: one thin module a command."""

from __future__ import annotations

import os
import sys

import tyro

from ..errors import UserError

INTERRUPTED = 130


def main() -> None:
    """Run a command. Exit code 0: done; 2: something to fix, and the message says how; 130: interrupted."""
    from .chat import chat
    from .evaluate import evaluate
    from .run import run
    from .runs import runs
    from .train import train
    from .xray import xray

    app = tyro.extras.SubcommandApp()
    for name, command in {
        "run": run,
        "train": train,
        "runs": runs,
        "eval": evaluate,
        "chat": chat,
        "xray": xray,
    }.items():
        app.command(command, name=name)
    try:
        app.cli(prog="parrotlet", description="Train a small chat model end to end, and see what every stage teaches it.")
    except UserError as error:
        sys.exit(_complain(error))
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # `parrotlet xray … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _complain(error: UserError) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2
