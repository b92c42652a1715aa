"""`parrotlet audit`."""

from __future__ import annotations

import time
from typing import Annotated

import tyro

from ..inspect.audit import audit as find_problems
from ..inspect.audit import complaint
from ..train import duration
from .options import RecipeOptions


def audit(options: Annotated[RecipeOptions, tyro.conf.arg(name="")], full: bool = False) -> None:
    """Look for what is wrong with the data of every stage; exit code 2, with a list, if anything is.

    Args:
        full: Look at all conversations, documents and steps, not at a sample (20,000, 2,000 and 8 a stage).
            Of base's steps, the first is looked at.
    """
    began = time.monotonic()
    material = options.material()
    if found := find_problems(material, full=full):
        raise complaint(found)
    print(
        f"{material.name}: nothing found ({'all of it' if full else 'a sample'}, {duration(time.monotonic() - began)})"
    )
