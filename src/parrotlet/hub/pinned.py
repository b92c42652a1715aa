"""The few files that are not on the Hub: each known by its SHA-256, wherever it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..files import cache_folder, first_line, sha256
from . import client


@dataclass(frozen=True, kw_only=True)
class PinnedFile:
    """A file that is always the same."""

    name: str
    sha256: str
    bytes: int | None
    """None: not known; then a download that broke off begins anew."""
    urls: tuple[str, ...]
    """Where to get it, the first choice first."""


WORD_LISTS = {
    "english": PinnedFile(
        name="words_alpha.txt",
        sha256="3ed0c94610d8bcf7c11bbb49c56aa49c7234d32b66824df91f554169e572da48",
        bytes=4_234_910,
        urls=(
            "https://raw.githubusercontent.com/dwyl/english-words/8179fe68775df3f553ef19520db065228e65d1d3/words_alpha.txt",
            "https://cdn.jsdelivr.net/gh/dwyl/english-words@8179fe68775df3f553ef19520db065228e65d1d3/words_alpha.txt",
        ),
    ),
}
"""370,105 English words in small letters (dwyl/english-words, Unlicense)."""
CORE_BUNDLE = PinnedFile(
    name="eval_bundle.zip",
    sha256="90a7c19e28ee7a52b4f6e1f87658deb9fde7f63deba2379045bdb1fe9ea5d200",
    bytes=None,
    urls=("https://karpathy-public.s3.us-west-2.amazonaws.com/eval_bundle.zip",),
)
"""The evaluation bundle of CORE, by the SHA-256 that several projects have recorded of it."""


def fetch_pinned(file: PinnedFile) -> Path:
    """The cached copy of a file, downloaded if there is none: from where it broke off, or from the next place.

    Raises `UserError` if no place gives the right content; nothing wrong is ever left under the file's name.
    """
    path = cache_folder() / "files" / file.sha256[:16] / file.name
    if path.exists() and sha256(path) == file.sha256:
        return path
    if client.offline():
        raise UserError(
            f"{file.name} is not in the cache, and HF_HUB_OFFLINE is set; unset it, or put the file at {path}"
        )
    from huggingface_hub.utils import WeakFileLock

    failures: list[str] = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(path.with_name(f"{path.name}.lock")):
            if path.exists() and sha256(path) == file.sha256:  # another process was faster
                return path
            for url in file.urls:
                try:
                    _download(url, file, path)
                    return path
                except Exception as error:  # the HTTP client has errors of its own; the next place may do
                    failures.append(f"{url}: {first_line(error)}")
    except OSError as error:
        failures.append(f"{path}: {first_line(error)}")
    raise UserError(
        f"{file.name} can't be had:\n  " + "\n  ".join(failures) + f"\nCheck the network, or put the file at {path}"
    )


def _download(url: str, file: PinnedFile, path: Path) -> None:
    from huggingface_hub.file_download import http_get

    part = path.with_name(f"{path.name}.part")
    with part.open("wb" if file.bytes is None else "ab") as out:
        done = out.tell()
        if file.bytes is None or done < file.bytes:
            http_get(url, out, resume_size=done, expected_size=file.bytes, displayed_filename=file.name)
    if (found := sha256(part)) != file.sha256:
        part.unlink()
        raise ValueError(f"its SHA-256 is {found}, not {file.sha256}")
    part.replace(path)
