"""Files that are not on the Hub: from a plain URL, known by their content, with a second place to get them from."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from hub_server import HubServer, serving
from parrotlet.errors import UserError
from parrotlet.files import cache_folder
from parrotlet.hub.pinned import WORD_LISTS, PinnedFile, fetch_pinned

CONTENT = bytes(range(256)) * 500


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    for name, content in (("right.txt", CONTENT), ("wrong.txt", CONTENT[::-1])):
        file = tmp_path / "served" / "datasets" / "a" / "b" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    monkeypatch.setenv("PARROTLET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with serving(tmp_path / "served") as server:
        yield server


def pinned(server: HubServer, *names: str) -> PinnedFile:
    urls = tuple(f"{server.url}/datasets/a/b/resolve/main/{name}" for name in names)
    digest = hashlib.sha256(CONTENT).hexdigest()
    return PinnedFile(name="list.txt", sha256=digest, bytes=len(CONTENT), urls=urls)


def test_is_downloaded_once(server: HubServer) -> None:
    file = pinned(server, "right.txt")
    assert fetch_pinned(file).read_bytes() == CONTENT
    asked = len(server.asked)
    assert fetch_pinned(file).read_bytes() == CONTENT
    assert len(server.asked) == asked


@pytest.mark.parametrize("first", ["wrong.txt", "gone.txt"])
def test_the_second_place_serves_where_the_first_does_not(server: HubServer, first: str) -> None:
    assert fetch_pinned(pinned(server, first, "right.txt")).read_bytes() == CONTENT


def test_no_place_that_serves(server: HubServer) -> None:
    with pytest.raises(UserError, match=r"(?s)list\.txt can't be had:.*wrong\.txt: its SHA-256 is .*gone\.txt: .*404"):
        fetch_pinned(pinned(server, "wrong.txt", "gone.txt"))
    assert not [file for file in cache_folder().rglob("list.txt*") if file.stat().st_size]


def test_goes_on_where_it_broke_off(server: HubServer) -> None:
    file = pinned(server, "right.txt")
    part = cache_folder() / "files" / file.sha256[:16] / "list.txt.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:1000])
    assert fetch_pinned(file).read_bytes() == CONTENT
    assert server.asked[-1].range == "bytes=1000-"
    assert not part.exists()


def test_a_file_of_unknown_size_begins_anew(server: HubServer) -> None:
    """What stands there may be more than the whole file: it could not be gone on with."""
    file = replace(pinned(server, "right.txt"), bytes=None)
    part = cache_folder() / "files" / file.sha256[:16] / "list.txt.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT + b"more")
    assert fetch_pinned(file).read_bytes() == CONTENT
    assert server.asked[-1].range is None


def test_a_changed_copy_is_noticed(server: HubServer) -> None:
    file = pinned(server, "right.txt")
    fetch_pinned(file).write_bytes(b"something else")
    assert fetch_pinned(file).read_bytes() == CONTENT


def test_several_that_need_it_at_once_fetch_it_once(server: HubServer) -> None:
    file = pinned(server, "right.txt")
    with ThreadPoolExecutor(4) as pool:
        assert {path.read_bytes() for path in pool.map(fetch_pinned, [file] * 4)} == {CONTENT}
    assert sum(asked.method == "GET" for asked in server.asked) == 1


def test_a_cache_that_can_not_be_written(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("PARROTLET_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"(?s)list\.txt can't be had:.*file/files/.*Not a directory"):
        fetch_pinned(pinned(server, "right.txt"))


def test_offline(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=r"list\.txt is not in the cache, and HF_HUB_OFFLINE is set.*put the file at"):
        fetch_pinned(pinned(server, "right.txt"))


@pytest.mark.real_data
def test_the_word_list_is_the_one_that_is_pinned(real_data: Path) -> None:
    content = (real_data / "files" / "words_alpha.txt").read_bytes()
    known = WORD_LISTS["english"]
    assert (hashlib.sha256(content).hexdigest(), len(content)) == (known.sha256, known.bytes)
    assert all(word.isalpha() for word in content.decode().split())
