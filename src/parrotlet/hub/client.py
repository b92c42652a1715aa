"""Datasets on the Hugging Face Hub, by `huggingface_hub`: resume, checksums, cache, mirror and offline mode.

The environment is read at each call; `huggingface_hub` itself reads it once, when it is imported. It is
imported where it is needed: that takes a third of a second, and most commands need no network.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..files import sha256
from .listings import remember, remembered

if TYPE_CHECKING:
    from huggingface_hub import RepoFile


def endpoint() -> str:
    """The address of the Hub or of its mirror."""
    from huggingface_hub import constants

    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


def offline() -> bool:
    """Whether only what is cached may be used."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def list_files(repo: str, pattern: str) -> dict[str, str]:
    """Paths of the files in a dataset, each with the hash of its content; offline, as they were when last listed.

    Where that was never done (another program has filled the cache), offline those that are cached. `pattern`: which
    are needed.
    """
    from huggingface_hub import HfApi, RepoFile

    api = HfApi(endpoint=endpoint())
    with _user_errors(repo, pattern):
        if not offline():
            tree = api.list_repo_tree(repo, repo_type="dataset", recursive=True)
            files = {file.path: _hash_of(file) for file in tree if isinstance(file, RepoFile)}
            remember(_place(repo), files)
            return files
        if (files := remembered(_place(repo))) is not None:
            return files
        cached = Path(api.snapshot_download(repo, repo_type="dataset", allow_patterns=pattern, local_files_only=True))
        files = [file for file in cached.rglob("*") if file.is_file()]
        return {file.relative_to(cached).as_posix(): _stored_hash(file) or sha256(file) for file in files}


def download(repo: str, path: str, identity: str | None = None) -> Path:
    """The cached copy of a file of a dataset, fetched if there is none or the file has changed.

    Its content is checked against the hash that the Hub names it by. Raises `UserError` if that is not `identity`, what
    it was when the files were listed.
    """
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint())
    with _user_errors(repo, path):
        file = Path(api.hf_hub_download(repo, path, repo_type="dataset", local_files_only=offline()))
        _check_content(file, f"dataset {repo}: {path} from {endpoint()}")
    listed = identity or ((remembered(_place(repo)) or {}).get(path) if offline() else None)
    stored = _stored_hash(file)
    if listed and stored and len(stored) == len(listed) and stored != listed:
        if offline():
            raise UserError(
                f"dataset {repo}: the cached {path} is of another revision than was listed last, and HF_HUB_OFFLINE is "
                "set; unset it once"
            )
        raise UserError(f"dataset {repo}: {path} has changed since it was looked at; give the same command again")
    return file


def _place(repo: str) -> str:
    """A dataset as this cache knows it."""
    from huggingface_hub import constants

    return f"{constants.HF_HUB_CACHE}\0{repo}"


def _hash_of(file: RepoFile) -> str:
    """SHA-256 of a large file; of a small one, the SHA-1 that git knows it by. The cache calls files so, too."""
    return file.lfs.sha256 if file.lfs else file.blob_id


def _check_content(file: Path, what: str) -> None:
    """Raise `UserError`, after removing the file, if the cache calls it by another hash than its content has."""
    expected = _stored_hash(file)
    if expected is None:  # a mirror that names files otherwise, or a cache without links: nothing to check against
        return
    found = sha256(file.resolve())
    if len(expected) == 40:
        content = file.read_bytes()
        found = hashlib.sha1(b"blob %d\0%s" % (len(content), content)).hexdigest()
    if found != expected:
        file.resolve().unlink()
        raise UserError(f"{what} is damaged: its hash is {found}, not {expected}. It is removed; get it again")


def _stored_hash(file: Path) -> str | None:
    """The hash that the cache calls a file by, if it does."""
    name = file.resolve().name
    return name if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", name) else None


@contextlib.contextmanager
def _user_errors(repo: str, path: str) -> Iterator[None]:
    """Say in a `UserError` what could not be had, from where, and what to do."""
    from huggingface_hub import errors

    # The base of all errors of the HTTP client that huggingface_hub uses: httpx before 2.0, httpx2 since.
    http_error: type[Exception] = errors.HTTPError
    try:
        yield
    except UserError:
        raise
    except errors.HFValidationError as error:
        raise UserError(f"{repo!r} is not the id of a dataset, ORG/NAME: {error}") from None
    except errors.GatedRepoError:
        raise UserError(
            f"dataset {repo} at {endpoint()} asks for consent: give it on the dataset's page and set HF_TOKEN"
        ) from None
    except errors.RepositoryNotFoundError:
        raise UserError(
            f"there is no dataset {repo} at {endpoint()}; check its name (if it is private, set HF_TOKEN)"
        ) from None
    except errors.LocalEntryNotFoundError as error:
        raise UserError(_out_of_reach(repo, path, error.__cause__ or error)) from None
    except errors.EntryNotFoundError:
        raise UserError(f"dataset {repo} at {endpoint()} has no file {path}") from None
    except json.JSONDecodeError:
        raise UserError(_out_of_reach(repo, path, "its answer is not a Hub's")) from None
    except (http_error, OSError, RuntimeError, ValueError) as error:  # the last two: hf_xet
        raise UserError(_out_of_reach(repo, path, error)) from None


def _out_of_reach(repo: str, path: str, reason: object) -> str:
    full = isinstance(reason, OSError) and reason.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or os.strerror(errno.ENOSPC) in str(reason):
        from huggingface_hub import constants

        return f"dataset {repo}: no room for {path} in {constants.HF_HUB_CACHE}; make room, or set HF_HOME elsewhere"
    if offline():
        return (
            f"dataset {repo}: {path} is not in the cache, or not all of it, and HF_HUB_OFFLINE is set; "
            "unset it, or use a folder with the Hub's layout"
        )
    line = (str(reason) or type(reason).__name__).splitlines()[0]
    return (
        f"dataset {repo}: can't get {path} from {endpoint()} ({line}). Check the network; or set HF_ENDPOINT "
        "to a mirror; or HF_HUB_OFFLINE=1, to use what is cached; or use a folder with the Hub's layout"
    )
