"""What a place held when it was looked at last: for when it can't be reached."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from ..files import cache_folder, write_json


def remember(place: str, files: Mapping[str, str]) -> None:
    """Keep the names of the files there, each with its identity; where the cache can't be written, nothing is kept."""
    with contextlib.suppress(OSError, ValueError):
        write_json(_path(place), files)


def remembered(place: str) -> dict[str, str] | None:
    """What was kept of this place; None: nothing that can be read."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads(_path(place).read_text("utf-8"))
    return None


def _path(place: str) -> Path:
    return (
        cache_folder() / "listings" / f"{hashlib.sha256(place.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}.json"
    )
