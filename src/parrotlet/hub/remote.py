"""Files by fsspec: s3://, gs://, https:// and what else it has a package for. Copied into the cache when needed."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .. import ranks
from ..errors import UserError
from ..files import cache_folder, first_line, written_aside
from .listings import remember, remembered

IDENTIFYING = (
    "size",
    "etag",
    "content-md5",
    "md5hash",
    "mtime",
    "last-modified",
    "lastmodified",
    "created",
    "generation",
)
"""Properties of a file that change when its content does, as the file systems call them, in small letters."""


def find(pattern: str, wanted: Callable[[str], bool]) -> dict[str, str]:
    """URLs of the files that match a pattern, or of the `wanted` ones in a folder, each with its identity.

    An identity changes when the file does. Where there is none, or the place can't be reached, those that were there
    when it was looked at last; `UserError` if it never was.
    """
    try:
        urls = _look(pattern, wanted)
    except UserError as error:
        if (urls := remembered(pattern)) is None:
            raise
        if ranks.is_first():
            print(f"{error}. Going on with the {len(urls)} files that were found there last", file=sys.stderr)
    else:
        remember(pattern, urls)
    return urls


def _look(pattern: str, wanted: Callable[[str], bool]) -> dict[str, str]:
    import fsspec

    with _user_errors(pattern):
        fs, path = fsspec.url_to_fs(pattern)
        if fs.isdir(path):
            found = [file for file in fs.find(path) if wanted(file)]
        else:
            found = [path] if fs.exists(path) else fs.glob(path)
        urls = {fs.unstrip_protocol(file): _identity(fs.info(file)) for file in sorted(found)}
    if not urls:
        raise UserError(f"{pattern}: no such file")
    return urls


def fetch(url: str, identity: str) -> Path:
    """The cached copy of a file, brought here if there is none of this identity. Raises `UserError` if it can't be had,
    or has another identity by now."""
    name = url.rstrip("/").rsplit("/", 1)[-1]
    if url.startswith(("http://", "https://")) and Path(path := urlsplit(url).path).suffix:
        name = Path(path).name
    key = hashlib.sha256(f"{url}\0{identity}".encode()).hexdigest()[:32]
    cached = cache_folder() / "remote" / key / name
    if not cached.exists():
        from huggingface_hub.utils import WeakFileLock

        with _user_errors(url):
            cached.parent.mkdir(parents=True, exist_ok=True)
            with WeakFileLock(cached.with_name(f"{name}.lock")):
                if not cached.exists():  # nobody else, another thread or another rank, was faster
                    _get(url, identity, cached)
    return cached


def _get(url: str, identity: str, cached: Path) -> None:
    import fsspec

    fs, path = fsspec.url_to_fs(url)
    with written_aside(cached) as aside:
        fs.get_file(path, str(aside))
        if fs.info(path).get("size") not in (None, aside.stat().st_size):
            raise OSError(f"it ended after {aside.stat().st_size} bytes")
        if _has_changed(fs, path, identity):
            raise UserError(f"{url}: it has changed since it was looked at; give the same command again")


def _has_changed(fs: Any, path: str, identity: str) -> bool:
    """Whether a file has another identity by now, as far as can be told: some servers tell a new one each time, and a
    listing, from which it may come, tells more of a file than a look at it alone."""
    looks: list[str] = []
    for _ in range(2):
        fs.invalidate_cache()
        looks.append(_identity(fs.info(path)))
    with contextlib.suppress(Exception):  # a place without listings
        fs.ls(fs._parent(path))
    return looks[0] == looks[1] and identity not in (looks[0], _identity(fs.info(path)))


def _identity(info: dict[str, Any]) -> str:
    properties = sorted((name.lower(), str(value)) for name, value in info.items() if name.lower() in IDENTIFYING)
    return hashlib.sha256(repr(properties).encode()).hexdigest()


@contextlib.contextmanager
def _user_errors(url: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except ImportError as error:
        raise UserError(f"{url}: fsspec needs a package for this: {first_line(error)}") from None
    except Exception as error:  # every file system has errors of its own
        raise UserError(
            f"{url}: can't be had ({first_line(error)}); check the address, the network and its keys"
        ) from None
