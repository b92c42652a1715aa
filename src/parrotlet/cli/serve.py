"""`parrotlet serve`."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import UserError, missing_package
from ..train import Run
from .options import choose_stage, latest_run

KEY = "PARROTLET_API_KEY"


def serve(
    run: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    api_key: str | None = None,
    without_key: bool = False,
    rows: int = 32,
    queue: int = 64,
) -> None:
    """Serve a run: an API in the manner of OpenAI's, and a page to talk to every stage.

    Model names are the stages: base, mid, sft. Each is loaded when it is first asked for.

    Args:
        run: Folder of the run. Default: the newest.
        host: Address to listen at; 0.0.0.0 is every one of this computer's, and needs a key.
        port: Port to listen at.
        api_key: What clients must send as Authorization: Bearer KEY. Default: what PARROTLET_API_KEY says.
        without_key: With a --host beyond this computer: let others ask without a key.
        rows: Answers that a stage writes at a time; each has memory for a whole context.
        queue: Answers that wait for a row of a stage; more are refused with 429.
    """
    try:
        from ..serve.limits import Limits
        from ..serve.server import serve_run
    except ModuleNotFoundError as error:
        raise missing_package(str(error.name), "serve") from None
    api_key = api_key or os.environ.get(KEY) or None
    if without_key and api_key:
        raise UserError(f"--without-key, and a key is given: leave out --api-key, and unset {KEY}")
    if rows < 1 or queue < 0:
        raise UserError(f"--rows must be at least 1 and --queue at least 0; found {rows} and {queue}")
    opened = Run.open(run or latest_run())
    choose_stage(opened, None)
    serve_run(
        opened,
        host=host,
        port=port,
        api_key=api_key,
        without_key=without_key,
        limits=Limits(rows=rows, queue=queue),
    )
