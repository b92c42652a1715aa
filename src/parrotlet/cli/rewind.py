"""`parrotlet rewind`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import UserError
from ..inspect.rewind import BEFORE, Scored, hardest, spikes
from ..inspect.rewind import rewind as rewind_step
from ..stages import STAGES, StageName
from ..tokenizer import joined
from ..train import ProgressLine, Run
from .console import plain_console
from .options import choose_stage, latest_run, program

SPIKES = 10
EXCERPT = 160
"""Characters of a segment that are shown, around its hardest token."""


def rewind(
    run: Path | None = None,
    stage: StageName | None = None,
    step: int | None = None,
    worst: int | None = None,
    every: int | None = None,
) -> None:
    """Go back from a loss to the rows behind it: the steps that stand out, a step's rows, a stage's hardest rows.

    A segment's loss is measured with the nearest checkpoint before the step. The list begins with the most
    surprising: far above the average loss, over many tokens.

    Args:
        run: Folder of the run. Default: the newest.
        stage: Which stage. Default: the last one trained.
        step: Show the rows of this step. Default, without --worst: the steps whose loss stands out.
        worst: How many segments to show; without --step the hardest of the whole stage, by its last checkpoint.
        every: With --worst, without --step: look at every Nth step only. Default: 1.
    """
    if (every is not None and every < 1) or (worst is not None and worst < 1):
        raise UserError("--every and --worst count from 1")
    if every is not None and (worst is None or step is not None):
        raise UserError("--every is for the hardest segments of a whole stage: --worst N without --step")
    opened = Run.open(run or latest_run())
    name = choose_stage(opened, stage)
    console = plain_console()
    if step is not None:
        _check_step(opened, name, step)
        scored, checkpoint = rewind_step(opened, STAGES[name], step)
        head = f"{name} step {step} of {opened.folder}: {len(scored)} segments, measured with {checkpoint}"
        console.print(head, soft_wrap=True)
        _print_segments(scored[:worst], console)
    elif worst is not None:
        line = ProgressLine("rewind", 1)
        scored, checkpoint = hardest(opened, STAGES[name], worst, every or 1, line)
        line.close()
        head = f"the hardest segments of {name} in {opened.folder}, measured with {checkpoint}"
        console.print(head, soft_wrap=True)
        _print_segments(scored, console)
    else:
        _print_spikes(opened, name, console)


def _check_step(run: Run, stage: StageName, step: int) -> None:
    trained = len(run.metrics(stage).read())
    if not 0 <= step < trained:
        raise UserError(f"--step {step}: {run.folder} has trained the steps 0 to {trained - 1} of {stage}")


def _print_spikes(run: Run, stage: StageName, console: Console) -> None:
    found = spikes(run.metrics(stage).read(), SPIKES)
    if not found:
        console.print(f"{stage} of {run.folder}: at no step did the loss rise above the steps before", soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("step", "loss", f"above the median of the {BEFORE} steps before"):
        table.add_column(name, justify="right")
    for spike in found:
        table.add_row(str(spike.step), f"{spike.loss:.3f}", f"{spike.above:+.3f}")
    console.print(f"{stage} of {run.folder}: the steps at which the loss rose\n", soft_wrap=True)
    console.print(table)
    console.print(
        f"\nThe rows behind one:  {program()} rewind --run {run.folder} --stage {stage} --step {found[0].step}",
        soft_wrap=True,
    )


def _print_segments(scored: Sequence[Scored], console: Console) -> None:
    console.print(
        "Losses in nats a token. ▸ ◂: the token that was predicted worst, with its loss at the end.\n", style="dim"
    )
    for one in scored:
        segment = one.segment
        head = f"loss {one.loss:6.3f} over {segment.supervised:>4} tokens  "
        place = f"step {one.step}, row {segment.row}, segment {segment.source.segment}: "
        console.print(Text.assemble((head, "bold"), (place + segment.where, "")), soft_wrap=True)
        console.print(_excerpt(one))


def _excerpt(one: Scored) -> Text:
    """The text around what was predicted worst, which is set off with ▸ ◂."""
    texts, at = one.segment.texts, one.hardest + 1
    before, after = (joined(part).replace("\n", "⏎") for part in (texts[:at], texts[at + 1 :]))
    missed = texts[at].replace("\n", "⏎") if at < len(texts) else "(the next document)"
    loss = f" {one.hardest_loss:.1f}"
    return Text.assemble("    ", before[-EXCERPT // 2 :], (f"▸{missed}◂", "red"), after[: EXCERPT // 2], (loss, "dim"))
