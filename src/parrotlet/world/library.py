"""Reads the texts that lie beside this module in `texts/`: sections under `== title`, `#` for comments."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

_WIDE = re.compile(r"[\u2e80-\u9fff\uff00-\uffef“”]$")


@dataclass(frozen=True)
class Section:
    """Lines under one title; the title's parts are set apart by ` | `."""

    title: tuple[str, ...]
    lines: tuple[str, ...]

    @property
    def body(self) -> str:
        """The lines as one template."""
        return "\n".join(self.lines).strip("\n")


@cache
def read(name: str) -> tuple[Section, ...]:
    """All sections of `texts/NAME.txt`. An indented line goes on with the line above it."""
    text = (resources.files("parrotlet.world") / "texts" / f"{name}.txt").read_text("utf-8")
    titles: list[str] = []
    lines: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if line.startswith("== "):
            titles.append(line[3:])
            lines.append([])
        elif line.startswith("    ") and lines[-1]:
            above = lines[-1][-1]
            joint = "" if _WIDE.search(above) else " "
            lines[-1][-1] = above + joint + line.strip()
        elif lines:
            lines[-1].append(line)
    return tuple(Section(tuple(t.split(" | ")), _trimmed(body)) for t, body in zip(titles, lines, strict=True))


def _trimmed(lines: list[str]) -> tuple[str, ...]:
    """Without the blank lines at the end, and every blank line truly empty."""
    stripped = [line.rstrip() for line in lines]
    while stripped and not stripped[-1]:
        stripped.pop()
    return tuple(stripped)
