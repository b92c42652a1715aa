"""Files: written whole or not at all, identified by their content, read line by line.

Lies below all layers, as `errors` does.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import secrets
import shutil
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from .errors import UserError

ASIDE = ".aside"
"""Ending of what is not whole yet."""
SETTLED_SECONDS = 2
"""A file that changed more recently is hashed anew: its time stamp may not tell its next change."""


def cache_folder() -> Path:
    """Where what can be made again is kept: PARROTLET_CACHE, else the user's cache folder."""
    if chosen := os.environ.get("PARROTLET_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "parrotlet"


def read_text(path: Path) -> str:
    """The text of a file that a user wrote. Raises `UserError` if it can't be read, or is not UTF-8."""
    try:
        return path.read_text("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A path to write to, a file or a folder, that becomes `path` when the block ends well; nothing is left otherwise.

    `path` holds the old content or the new, whole, whenever the process or the machine stops. A folder that has
    appeared at `path` meanwhile (another process was faster) stays.
    """
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}{ASIDE}")  # machines may share the folder
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield aside
        for path_inside in aside.rglob("*") if aside.is_dir() else ():
            sync(path_inside)
        sync(aside)
        try:
            aside.replace(path)
        except OSError:
            if not (aside.is_dir() and path.is_dir()):
                raise
        sync(path.parent)
    finally:
        remove(aside)


def write_text(path: Path, text: str) -> None:
    """Replace the content of `path`, whole."""
    with written_aside(path) as aside:
        aside.write_text(text, "utf-8")


def write_json(path: Path, value: object) -> None:
    """Replace the content of `path` with a value as JSON, whole."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def sync(path: Path) -> None:
    """Wait until a file or the entries of a folder are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hex; remembered in the cache folder for as long as the file is not touched."""
    stat = path.stat()
    key = f"{path.resolve()}:{stat.st_ino}:{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ctime_ns}"
    known = cache_folder() / "hashes" / hashlib.sha256(key.encode()).hexdigest()[:32]
    if known.exists():
        return known.read_text("ascii")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if time.time() - max(stat.st_mtime, stat.st_ctime) > SETTLED_SECONDS:
        with contextlib.suppress(OSError):
            write_text(known, digest)
    return digest


def plain_suffix(path: Path) -> str:
    """The ending of a file's name, in small letters, without that of its compression: `.jsonl` of `A.JSONL.zst`."""
    return (Path(path.stem).suffix if path.suffix.lower() in COMPRESSED else path.suffix).lower()


def files_below(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """The files in a folder and in those below it, through links, too, unless they lead back to a folder `above`; what
    begins with a dot is passed over."""
    above = (*above, folder.resolve())
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_file():
            yield path
        elif path.is_dir() and path.resolve() not in above:
            yield from files_below(path, above)


def read_lines(path: Path, name: str | Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that are not blank, unpacked if need be, each with its number from 1.

    Raises `UserError`, which calls the file `name`, if it can't be read or is damaged.
    """
    with reading(name), open_plain(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line


@contextlib.contextmanager
def reading(name: str | Path, wrong: str = "can't be read") -> Iterator[None]:
    """Make whatever damaged files lead to a `UserError` that calls the file `name` and says what is `wrong`."""
    try:
        yield
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, MemoryError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise UserError(f"{name}: {wrong} ({reason}); check the path, or get the file again") from None


def parse_json_line(name: str | Path, number: int, line: bytes, expected: str) -> Any:
    """The value of a line; `UserError` with the line's number and what is `expected` if it is not JSON."""
    try:
        return json.loads(line.decode("utf-8-sig", "surrogatepass"))  # bytes it would take for UTF-16 now and then
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{name}, line {number}: not JSON ({first_line(error)}); each line must be {expected}"
        ) from None


def open_plain(path: Path) -> IO[bytes]:
    """Open a file for reading bytes, unpacking .gz and .zst."""
    return COMPRESSED.get(path.suffix.lower(), Path.open)(path, "rb")


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return (str(error) or type(error).__name__).splitlines()[0]


def _open_zst(path: Path, mode: str) -> IO[bytes]:
    return io.BufferedReader(pa.input_stream(str(path), compression="zstd"))


COMPRESSED = {".gz": gzip.open, ".zst": _open_zst}
