"""The table of results and a few sample conversations."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from ..train import Run, duration
from .console import plain_console

SHOWN_TASKS = 4


def print_table(results: dict[str, Any]) -> None:
    """One row a task, one column a stage, with 95 % intervals, and what guessing would reach."""
    stages = results["stages"]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    for stage in stages:
        table.add_column(stage, justify="right", no_wrap=True)
    table.add_column("chance", justify="right")
    for label, key in (("val bits/byte", "val_bpb"), ("val loss", "val_loss")):
        table.add_row(label, *("–" if entry[key] is None else f"{entry[key]:.3f}" for entry in stages.values()), "")
    for task in {name: None for entry in stages.values() for name in entry["tasks"]}:
        cells = [entry["tasks"].get(task) for entry in stages.values()]
        chance = next(cell["chance"] for cell in cells if cell)
        table.add_row(task, *map(accuracy, cells), f"{100 * chance:.0f} %")
        if any(cell and cell["without_tool"] for cell in cells):
            without = [cell["without_tool"] if cell else None for cell in cells]
            table.add_row("  no calculator", *map(accuracy, without), "", style="dim")
    if any(entry.get("chat_core") for entry in stages.values()):
        table.add_row("ChatCORE", *(_chat_core(entry.get("chat_core")) for entry in stages.values()), "0")
    console = plain_console()
    console.print()
    console.print(table)
    console.print(
        f"accuracy in % [95 % interval]; validation of each stage on its own data; "
        f"{duration(results['wall_seconds'])} in all",
        style="dim",
    )


def accuracy(cell: dict[str, Any] | None) -> str:
    """In %, with its interval."""
    if cell is None:
        return "–"
    interval = f" [{100 * cell['low']:.0f}–{100 * cell['high']:.0f}]" if "low" in cell else ""
    return f"{100 * cell['accuracy']:.0f}{interval}"


def _chat_core(measured: dict[str, float] | None) -> str:
    return f"{measured['value']:.3f} ± {measured['high'] - measured['value']:.3f}" if measured else "–"


def print_conversations(run: Run) -> None:
    """The first answer to each of some tasks by the last stage, as it was given, right or wrong."""
    first: dict[str, dict[str, Any]] = {}
    for answer in run.answers(run.stages()[-1]):
        first.setdefault(answer["task"], answer)
    console = plain_console()
    for task, answer in list(first.items())[:SHOWN_TASKS]:
        verdict = ("right", "green") if answer["correct"] else ("wrong", "red")
        console.print()
        console.print(Text.assemble((f"{task}: ", "dim"), verdict))
        said = Table.grid(padding=(0, 2))
        said.add_row(Text("user", "bold"), Text(answer["prompt"]))
        said.add_row(Text("assistant", "bold"), parts_as_text(answer["answer"]))
        console.print(said)


def parts_as_text(parts: list[dict[str, str]]) -> Text:
    """An assistant's parts, with calls and results told apart by colour and by brackets."""
    styles = {"text": "", "python": "cyan", "python_output": "yellow"}
    marks = {"text": ("", ""), "python": ("⟦", ""), "python_output": (" → ", "⟧")}
    out = Text()
    for part in parts:
        before, after = marks[part["type"]]
        out.append(before + part["text"] + after, style=styles[part["type"]])
    return out
