"""Where the commands print."""

from __future__ import annotations

from rich.console import Console


def plain_console(*, soft_wrap: bool = False) -> Console:
    """Prints text as it is: brackets, colons and numbers in texts of models and users mean nothing to it."""
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=soft_wrap)
