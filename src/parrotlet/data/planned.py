"""What a training will read, told before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

NAME_WIDTH = 26


@dataclass(frozen=True)
class Planned:
    """What a training takes from a source."""

    name: str
    documents: int | None
    """Documents or conversations; None: not known before more of them are fetched."""
    tokens: int
    supervised: int
    epochs: float | None
    """How many times all of the source is read."""
    exact: bool = True
    """Whether documents and epochs are counted; else they are estimated from a sample."""


def plan_lines(planned: Sequence[Planned]) -> list[str]:
    """The sources as a tree, for people: at most 69 columns wide."""
    total = Planned(
        "in all",
        sum(each.documents for each in planned if each.documents is not None),
        sum(each.tokens for each in planned),
        sum(each.supervised for each in planned),
        None,
        all(each.exact for each in planned),
    )
    branches = ["├─ "] * (len(planned) - 1) + ["└─ "]
    return [
        f"{'reads':<{NAME_WIDTH}} {'documents':>10} {'tokens':>9} {'supervised':>10} {'epochs':>8}",
        _line("", total),
        *(_line(branch, each) for branch, each in zip(branches, planned, strict=True)),
        *(_again(each) for each in planned if each.epochs is not None and each.epochs > 1),
    ]


def _line(branch: str, each: Planned) -> str:
    about = "" if each.exact else "≈"
    documents = "?" if each.documents is None else about + short(each.documents)
    epochs = "" if each.epochs is None else about + f"{each.epochs:.3g}"
    name = branch + shortened(each.name, NAME_WIDTH - len(branch))
    name += " " * (NAME_WIDTH - cell_len(name))
    return (f"{name} {documents:>10} {short(each.tokens):>9} {short(each.supervised):>10} {epochs:>8}").rstrip()


def shortened(name: str, width: int) -> str:
    """The end of a name that is too long: it tells more than the beginning. In columns of a terminal."""
    if cell_len(name) <= width:
        return name
    while cell_len(name) > width - 1:
        name = name[1:]
    return f"…{name}"


def _again(each: Planned) -> str:
    return f"{each.name} is read {'about ' if not each.exact else ''}{each.epochs:.3g} times"


def short(number: int) -> str:
    """A number in at most seven characters: 12,345 or 1.23 M."""
    if number < 100_000:
        return f"{number:,}"
    power = 1 if number < 999_500 else 2 if number < 999_500_000 else 3
    return f"{number / 1000**power:.3g} {' KMG'[power]}"
