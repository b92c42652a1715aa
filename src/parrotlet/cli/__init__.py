"""The command line: one thin module a command."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from typing import Any

import tyro

from ..cpp import TRAINING, compile_ahead
from ..errors import UserError
from ..openmp import let_threads_sleep
from .help import leave_none_unsaid

COMMANDS = {
    "run": "run",
    "train": "train",
    "plan": "plan",
    "runs": "runs",
    "eval": "evaluate",
    "chat": "chat",
    "serve": "serve",
    "bench": "bench",
    "xray": "xray",
    "audit": "audit",
    "compare": "compare",
    "rewind": "rewind",
    "ledger": "ledger",
    "export": "export",
    "import": "import_",
    "tokens": "tokens",
    "data": "data",
    "verify-resume": "verify_resume",
}
"""Every command, and the module that holds the function of the same name."""

INTERRUPTED = 130
MAKE_ROOM = "The last checkpoint is intact: make room and give the same command again"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CHOOSE = "PARROTLET_CACHE names the folder for what can be made again, --run that of a run: both must be writable"
NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)


def main() -> None:
    """Run a command. Exit code 0: done; 2: something to fix, and the message says how; 130: interrupted."""
    let_threads_sleep()
    if sys.argv[1:2] in (["run"], ["train"]) and not {"-h", "--help"} & {*sys.argv}:
        compile_ahead(TRAINING)  # while torch is imported, which takes as long
    app = tyro.extras.SubcommandApp()
    for name, module in COMMANDS.items():
        command: Any = leave_none_unsaid(getattr(import_module(f".{module}", __name__), module))
        app.command(command, name=name)
    from .. import ranks  # imports torch, so not above

    try:
        with ranks.process_group(), redirect_stdout(sys.stdout if ranks.is_first() else StringIO()):
            app.cli(
                prog="parrotlet",
                description="Train a small chat model end to end, and see what every stage teaches it.",
                config=(tyro.conf.DisallowNone,),
            )
    except UserError as error:
        sys.exit(_complain(error))
    except BrokenPipeError:  # `parrotlet xray … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        place = error.filename or "a file"
        if error.errno in NO_ROOM:
            sys.exit(_complain(f"{place} could not be written: {error.strerror}. {MAKE_ROOM}"))
        if error.errno in NOT_ALLOWED:
            sys.exit(_complain(f"{place} could not be used: {error.strerror}. {CHOOSE}"))
        raise
    except RuntimeError:  # what torch raises when another rank is gone
        if ranks.world_size() == 1:
            raise
        ranks.tell_failure(traceback.format_exc())
        sys.exit(2)
    except KeyboardInterrupt:
        if ranks.is_first():
            print("\ninterrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _complain(error: object) -> int:
    from .. import ranks

    ranks.tell_failure(f"error: {error}")
    return 2
