"""Writes the outputs in the documentation anew: each command, and what it prints.

python docs/outputs.py     # in all pages of docs/
"""

import contextlib
import functools
import io
import os
import re
import runpy
import shlex
import sys
from pathlib import Path
from unittest import mock

from parrotlet.cli import main

DOCS = Path(__file__).parent
BLOCK = re.compile(r"^```console\n\$ ((?:parrotlet|python docs/) ?[^\n]+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
WIDTH = "80"


def regenerated(page: str) -> str:
    """The page with the output of each of its commands as it is now."""
    return BLOCK.sub(lambda block: f"```console\n$ {block[1]}\n{output(block[1])}```", page)


@functools.cache
def output(command: str) -> str:
    """What a command prints on a terminal of 80 columns without colour."""
    printed = io.StringIO()
    argv, environment = shlex.split(command), {"COLUMNS": WIDTH, "NO_COLOR": "1"}
    called = mock.patch.object(sys, "argv", argv), mock.patch.dict(os.environ, environment)
    with called[0], called[1], contextlib.redirect_stdout(printed):
        main() if argv[0] == "parrotlet" else runpy.run_path(str(DOCS.parent / argv[1]), run_name="__main__")
    return "".join(line.rstrip() + "\n" for line in printed.getvalue().strip("\n").split("\n"))


def rewrite() -> None:
    """Rewrite every page whose outputs have changed."""
    for path in sorted(DOCS.glob("*.md")):
        before = path.read_text("utf-8")
        after = regenerated(before)
        if after != before:
            path.write_text(after, "utf-8")
            print(f"{path.name}: outputs rewritten")


if __name__ == "__main__":
    rewrite()
