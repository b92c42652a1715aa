"""`parrotlet export`."""

from __future__ import annotations

import sys
from pathlib import Path

from ..export import export_stage
from ..stages import StageName
from ..train import Run
from .options import choose_stage, latest_run


def export(to: Path, run: Path | None = None, stage: StageName | None = None, step: int | None = None) -> None:
    """Write a trained stage as a folder that Hugging Face's libraries load.

    Args:
        to: The folder to write; it must not be there yet.
        run: Folder of the run. Default: the newest.
        stage: Which stage. Default: the last one trained.
        step: Which of its checkpoints. Default: the last.
    """
    opened = Run.open(run or latest_run())
    name = choose_stage(opened, stage)
    print(f"{opened.folder}, stage {name}: writing {to}", file=sys.stderr, flush=True)
    for path in export_stage(opened, name, to, step):
        print(f"{path.stat().st_size:>14,} bytes  {path}")
    if (to / "modeling_parrotlet.py").exists():
        print("the model takes code of its own (modeling_parrotlet.py): load it with trust_remote_code=True")
