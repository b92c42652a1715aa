"""From the name of a source in a recipe to its files: here, on the Hub, or wherever fsspec reaches."""

from __future__ import annotations

import functools
import glob
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from ..errors import UserError
from ..files import files_below, sha256
from ..hub import Hub, remote
from .documents import SourceFile
from .text_files import ENDINGS, is_text_file

T = TypeVar("T")

HUB_PREFIX = "hf://datasets/"
_NUMBERED = re.compile(r"(?P<stem>.*?)(?<!\d)(?P<number>0\d{3,})(?P<ending>(-of-\d+)?(\.\w+)+)")


def find_files(source: str, hub: Hub) -> list[SourceFile]:
    """The files of a source in the order of their names; `UserError` if there are none, or it can't be reached."""
    if source.startswith(HUB_PREFIX):
        return _on_the_hub(source, hub)
    if "://" in source:
        return [
            SourceFile(
                name=url, fetch=functools.partial(remote.fetch, url, identity), identity=_always(identity), remote=True
            )
            for url, identity in remote.find(source, is_text_file).items()
        ]
    return [SourceFile.local(path) for path in _here(source)]


def check_numbering(names: Iterable[str], source: str) -> None:
    """Raise `UserError` if files are numbered with leading zeros (`shard_00003.parquet`) and a number is left out.

    A part that is missing would be trained without, and nobody told.
    """
    series: dict[tuple[str, str], list[int]] = defaultdict(list)
    for name in names:
        if match := _NUMBERED.fullmatch(name):
            series[match["stem"], match["ending"]].append(int(match["number"]))
    for (stem, ending), numbers in series.items():
        if missing := sorted(set(range(min(numbers), max(numbers))) - set(numbers)):
            shown = ", ".join(map(str, missing[:5])) + (", …" if len(missing) > 5 else "")
            raise UserError(
                f"{source}: of the files {stem}N{ending} with N from {min(numbers)} to {max(numbers)}, {len(missing)} "
                f"are missing: {shown}. Add them, or name a pattern or max_files that leaves no gap"
            )


def _on_the_hub(source: str, hub: Hub) -> list[SourceFile]:
    parts = source.removeprefix(HUB_PREFIX).split("/", 2)
    if len(parts) < 3:
        raise UserError(f"{source}: which files? Such as {source.rstrip('/')}/*.parquet")
    org, name, pattern = parts
    repo = f"{org}/{name}"
    paths = hub.dataset_files(repo, pattern)
    if not hub.is_remote(repo):
        files = {path: hub.dataset_file(repo, path) for path in paths}
        return [
            SourceFile(name=path, fetch=_always(file), identity=functools.partial(sha256, file))
            for path, file in files.items()
        ]
    identities = hub.identities(repo, pattern)
    return [
        SourceFile(
            name=path,
            fetch=functools.partial(hub.dataset_file, repo, path, identities[path]),
            identity=_always(identities[path]),
            remote=True,
        )
        for path in paths
    ]


def _here(source: str) -> list[Path]:
    path = Path(source).expanduser()
    if path.is_dir():
        found = [file for file in files_below(path) if is_text_file(file.name)]
        what = f"no file in it ends in {', '.join(ENDINGS)}"
    else:
        matching = [path] if path.exists() else map(Path, glob.glob(str(path), recursive=True))  # noqa: PTH207 (the folder may be a pattern, too)
        found, what = [file for file in matching if file.is_file()], "no such file"
    if not found:
        raise UserError(f"{source}: {what}")
    return sorted(found)


def _always(value: T) -> Callable[[], T]:
    return lambda: value
