"""A small local server that speaks the Hugging Face Hub's protocol, as far as downloads of datasets need it.

It serves a folder with the Hub's layout, `FOLDER/datasets/<org>/<name>/<path>`, to the real client:

    python tests/hub_server.py FOLDER --port 8123
    HF_ENDPOINT=http://127.0.0.1:8123 parrotlet run --recipe speedrun

Tests use `serving(folder)`. The commit of a dataset is a hash of its files, so it moves when one changes.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

_INFO = re.compile(r"/api/datasets/(?P<repo>[^/]+/[^/]+)(?:/revision/(?P<revision>[^/]+))?")
_TREE = re.compile(r"/api/datasets/(?P<repo>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)")
_RESOLVE = re.compile(r"/datasets/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
_RANGE = re.compile(r"bytes=(?P<start>\d+)-(?P<end>\d*)")
_CHUNK = 1 << 20


class Refusal(Exception):
    """An answer that is an error, with the code that the client turns into an exception of its own."""

    def __init__(self, status: HTTPStatus, code: str | None = None, **headers: str) -> None:
        super().__init__(code or status.phrase)
        self.status = status
        self.headers = headers | ({"X-Error-Code": code} if code else {})


Fault = Literal["none", "500", "429", "drop", "short", "corrupt", "etag"]
"""An error of the server; too many requests; the connection breaks in the middle; the body ends early, as its length
says; a byte of it is wrong; the file is called by the hash of another. `none`: all goes well."""


@dataclass
class Asked:
    """A request that the server has seen."""

    method: str
    path: str
    range: str | None


class HubServer(ThreadingHTTPServer):
    """Serves the datasets of a folder on the loopback interface. Port 0: any that is free."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.folder = folder.resolve()
        self.asked: list[Asked] = []
        """Every request so far."""
        self.gated: set[str] = set()
        """Datasets that are only for those who have consented: nobody here."""
        self.break_next_after: int | None = None
        """Break the connection of the next download after so many bytes."""
        self.faults: list[Fault] = []
        """What goes wrong with the coming requests for files, one each."""

    @property
    def url(self) -> str:
        """What to set HF_ENDPOINT to."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def dataset(self, repo: str, revision: str | None) -> Dataset:
        """A dataset at a revision; only the present one is there."""
        folder = self.folder / "datasets" / repo
        if ".." in repo.split("/") or not folder.is_dir():
            raise Refusal(HTTPStatus.NOT_FOUND, "RepoNotFound")
        if repo in self.gated:
            raise Refusal(HTTPStatus.FORBIDDEN, "GatedRepo")
        dataset = Dataset(repo, folder)
        if revision not in (None, "main", dataset.commit):
            raise Refusal(HTTPStatus.NOT_FOUND, "RevisionNotFound")
        return dataset


@dataclass
class Dataset:
    """A dataset repository: a folder of files."""

    repo: str
    folder: Path
    files: dict[str, Path] = field(init=False)
    commit: str = field(init=False)
    """40 hex digits, as a git commit has them."""

    def __post_init__(self) -> None:
        files = sorted(file for file in self.folder.rglob("*") if file.is_file())
        self.files = {file.relative_to(self.folder).as_posix(): file for file in files}
        content = "\n".join(f"{path}:{etag(file)}" for path, file in self.files.items())
        self.commit = hashlib.sha1(content.encode()).hexdigest()

    def info(self) -> dict[str, object]:
        """What `/api/datasets/<repo>` says."""
        siblings = [{"rfilename": path} for path in self.files]
        return {"id": self.repo, "sha": self.commit, "private": False, "tags": [], "siblings": siblings}

    def tree(self) -> list[dict[str, object]]:
        """What `/tree` lists."""
        return [
            {
                "type": "file",
                "path": path,
                "size": file.stat().st_size,
                "oid": etag(file)[:40],
                "lfs": {"oid": etag(file), "size": file.stat().st_size, "pointerSize": 134},
            }
            for path, file in self.files.items()
        ]


def etag(file: Path) -> str:
    """SHA-256 of the content, as the Hub gives for large files."""
    stat = file.stat()
    return _content_hash(file, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _content_hash(file: Path, size: int, changed: int) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


class _Handler(BaseHTTPRequestHandler):
    server: HubServer  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(Asked(self.command, path, self.headers.get("Range")))
        try:
            if match := _TREE.fullmatch(path):
                self._send_json(self.server.dataset(match["repo"], match["revision"]).tree())
            elif match := _INFO.fullmatch(path):
                self._send_json(self.server.dataset(match["repo"], match["revision"]).info())
            elif match := _RESOLVE.fullmatch(path):
                self._send_file(self.server.dataset(match["repo"], match["revision"]), match["path"])
            else:
                raise Refusal(HTTPStatus.NOT_FOUND)
        except Refusal as refusal:
            self._send_head(refusal.status, {"Content-Length": "0", **refusal.headers})

    def _send_json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self._send_head(HTTPStatus.OK, {"Content-Type": "application/json", "Content-Length": str(len(body))})
        if self.command == "GET":
            self.wfile.write(body)

    def _send_file(self, dataset: Dataset, path: str) -> None:
        file = dataset.files.get(path)
        if file is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "EntryNotFound", **{"X-Repo-Commit": dataset.commit})
        fault = self.server.faults.pop(0) if self.server.faults else "none"
        if fault == "500":
            raise Refusal(HTTPStatus.INTERNAL_SERVER_ERROR)
        if fault == "429":
            raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, **{"Retry-After": "0"})
        size = file.stat().st_size
        span = self._span(size)
        if fault == "short":
            span = span[: len(span) // 2]
        if fault == "drop":
            self.server.break_next_after = len(span) // 2
        headers = {
            "X-Repo-Commit": dataset.commit,
            "ETag": f'"{etag(file) if fault != "etag" else "0" * 64}"',
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
            "Content-Length": str(len(span)),
        }
        if len(span) == size:
            self._send_head(HTTPStatus.OK, headers)
        else:
            headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{size}"
            self._send_head(HTTPStatus.PARTIAL_CONTENT, headers)
        if self.command == "GET":
            self._send_bytes(file, span, corrupt=fault == "corrupt")

    def _span(self, size: int) -> range:
        """The bytes asked for."""
        match = _RANGE.fullmatch(self.headers.get("Range", ""))
        if match is None:
            return range(size)
        start, end = int(match["start"]), min(int(match["end"] or size - 1), size - 1)
        if start > end:
            raise Refusal(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, **{"Content-Range": f"bytes */{size}"})
        return range(start, end + 1)

    def _send_bytes(self, file: Path, span: range, corrupt: bool) -> None:
        broken, self.server.break_next_after = self.server.break_next_after, None
        left = len(span) if broken is None else min(broken, len(span))
        with file.open("rb") as handle:
            handle.seek(span.start)
            while left:
                chunk = handle.read(min(left, _CHUNK))
                if corrupt:
                    chunk = bytes([chunk[0] ^ 1]) + chunk[1:]
                self.wfile.write(chunk)
                left -= len(chunk)
        if broken is not None:
            self.close_connection = True

    def _send_head(self, status: HTTPStatus, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


@contextlib.contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[HubServer]:
    """A server that runs in a thread until the block ends."""
    server = HubServer(folder, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="hub-server")
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="Serve a folder with the Hugging Face Hub's layout.")
    parser.add_argument("folder", type=Path, help="folder that holds datasets/<org>/<name>/<path>")
    parser.add_argument("--port", type=int, default=8123, help="port on 127.0.0.1 (default: 8123; 0: any)")
    arguments = parser.parse_args()
    if not (arguments.folder / "datasets").is_dir():
        parser.error(f"{arguments.folder} holds no folder 'datasets'")
    with HubServer(arguments.folder, arguments.port) as server, contextlib.suppress(KeyboardInterrupt):
        print(f"export HF_ENDPOINT={server.url}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
