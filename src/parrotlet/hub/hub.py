"""`Hub`: the files of a dataset, by the dataset's id and the file's path in it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

from ..errors import UserError
from . import client

T = TypeVar("T")

WORLD_PREFIX = "parrotlet/"
"""Datasets that this project generates itself have ids that start so."""

_SHARD = re.compile(r"(?P<stem>.*)-\d{5}-of-(?P<total>\d{5})(?P<ending>\.\w+)")


@dataclass(frozen=True, kw_only=True)
class Hub:
    """Finds the files of datasets, and downloads them if need be."""

    folder: Path | None = None
    """A folder that holds `datasets/<org>/<name>/<path>`. None: the Hugging Face Hub, where `HF_ENDPOINT`
    names a mirror and `HF_HUB_OFFLINE=1` keeps to what is cached."""
    world: Path | None = None
    """A folder of the same layout for the datasets of `parrotlet/`, wherever the others come from."""
    _made: dict[Hashable, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` makes of the files, made the first time and kept: tasks that read the same share it."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def dataset_files(self, repo: str, pattern: str) -> list[str]:
        """Paths in the dataset `repo` that match the glob `pattern`, sorted; at least one.

        `*` matches any characters, `/` too. Raises `UserError` if there is no such dataset, none of its files
        matches, or of those numbered `-00001-of-00004` some are missing in the dataset.
        """
        folder = self._folder(repo)
        paths = client.list_files(repo, pattern) if folder is None else _files_in(folder, repo)
        matching = sorted(path for path in paths if fnmatchcase(path, pattern))
        where = client.endpoint() if folder is None else str(folder)
        if not matching:
            raise UserError(f"dataset {repo} at {where}: no file matches {pattern!r}; {_some_of(paths)}")
        _check_all_there(matching, paths, f"dataset {repo} at {where}")
        return matching

    def identities(self, repo: str, pattern: str) -> dict[str, str]:
        """The paths of a remote dataset, each with a hash of its content, known without downloading it."""
        return client.list_files(repo, pattern)

    def is_remote(self, repo: str) -> bool:
        """Whether the files of a dataset have to be downloaded."""
        return self._folder(repo) is None

    def dataset_file(self, repo: str, path: str, identity: str | None = None) -> Path:
        """The local copy of a file of a dataset, downloaded if need be; `UserError` if it can't be had, or if it has
        changed on the Hub since `identities` told its own."""
        folder = self._folder(repo)
        if folder is None:
            return client.download(repo, path, identity)
        file = _dataset_folder(folder, repo) / path
        if not file.is_file():
            raise UserError(f"{file}: no such file; the dataset {repo} is looked for in {folder}")
        return file

    def _folder(self, repo: str) -> Path | None:
        return self.world if self.world is not None and repo.startswith(WORLD_PREFIX) else self.folder


def _dataset_folder(folder: Path, repo: str) -> Path:
    dataset = folder / "datasets" / repo
    if not dataset.is_dir():
        raise UserError(
            f"{dataset}: no such folder; the dataset {repo} is looked for in {folder}. Put its files there, "
            "or take data from the Hub"
        )
    return dataset


def _files_in(folder: Path, repo: str) -> list[str]:
    dataset = _dataset_folder(folder, repo)
    return [file.relative_to(dataset).as_posix() for file in dataset.rglob("*") if file.is_file()]


def _some_of(paths: Iterable[str], limit: int = 5) -> str:
    names = sorted(paths)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"there are {', '.join(names[:limit])}{more}" if names else "there are no files"


def _check_all_there(wanted: Iterable[str], paths: Iterable[str], where: str) -> None:
    """A dataset of which a part is missing would be trained on without a word. (Who wants a part may have it.)"""
    found, asked = (
        Counter(m.group("stem", "total", "ending") for path in some if (m := _SHARD.fullmatch(path)))
        for some in (paths, wanted)
    )
    for (stem, total, ending), count in found.items():
        if (stem, total, ending) in asked and count < int(total):
            raise UserError(
                f"{where}: only {count} of the {int(total)} files {stem}-*-of-{total}{ending} are there; add the others"
            )
