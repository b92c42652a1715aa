"""What `--help` shows of options that are None by default."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, get_type_hints

import tyro

UNSAID = tyro.conf.arg(help_behavior_hint="")
"""For an option that is None by default: its text says what happens then."""


def leave_none_unsaid(command: Callable[..., None]) -> Callable[..., None]:
    """Have the help of a command not show `(default: None)`."""
    hints = get_type_hints(command, include_extras=True)
    for name, parameter in inspect.signature(command).parameters.items():
        if parameter.default is None:
            command.__annotations__[name] = Annotated[hints[name], UNSAID]
    return command
