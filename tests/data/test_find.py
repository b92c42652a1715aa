"""From the name of a source to its files."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hub_server import serving
from parrotlet.data import Documents
from parrotlet.data.find import check_numbering, find_files
from parrotlet.errors import UserError
from parrotlet.hub import Hub, remote


@pytest.fixture
def folder(tmp_path):
    for path in ("a.jsonl", "b.txt", "deep/er/c.jsonl.gz", "picture.png", ".hidden.txt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text('{"text": "x"}\n')
    return tmp_path


def found(source, folder):
    return [file.name.removeprefix(f"{folder}/") for file in find_files(str(source), Hub())]


def test_local_files_patterns_and_folders(folder):
    assert found(folder, folder) == ["a.jsonl", "b.txt", "deep/er/c.jsonl.gz"]
    assert found(folder / "*.jsonl", folder) == ["a.jsonl"]
    assert found(folder / "**" / "*.jsonl*", folder) == ["a.jsonl", "deep/er/c.jsonl.gz"]
    assert found(folder / "b.txt", folder) == ["b.txt"]
    (folder / "[odd].txt").write_text("x")
    assert found(folder / "[odd].txt", folder) == ["[odd].txt"]


def test_folders_behind_links_capitals_and_what_is_hidden(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "BOOK.TXT").write_text("a book")
    (elsewhere / "back").symlink_to(folder)
    (folder / "linked").symlink_to(elsewhere)
    (folder / ".checkpoints").mkdir()
    (folder / ".checkpoints" / "b.txt").write_text("a copy")
    assert found(folder, folder) == ["a.jsonl", "b.txt", "deep/er/c.jsonl.gz", "linked/BOOK.TXT"]
    assert list(Documents("book", find_files(str(folder / "linked" / "BOOK.TXT"), Hub()))) == ["a book"]


def test_nothing_there(folder):
    with pytest.raises(UserError, match=r"z\.txt: no such file"):
        find_files(str(folder / "z.txt"), Hub())
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: no file in it ends in \.parquet, \.jsonl, \.txt, \.md"):
        find_files(str(folder / "empty"), Hub())
    with pytest.raises(UserError, match="which files"):
        find_files("hf://datasets/org/name", Hub())


def test_any_place_that_fsspec_reaches(folder, tmp_path, monkeypatch):
    import fsspec

    monkeypatch.setenv("PARROTLET_CACHE", str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")
    for name in ("00", "01"):
        memory.pipe(f"/bucket/texts/{name}.jsonl", f'{{"text": "text {name}"}}\n'.encode())
    memory.pipe("/bucket/texts/readme.png", b"")
    for source in ("memory://bucket/texts", "memory://bucket/texts/*.jsonl"):
        files = find_files(source, Hub())
        assert [file.name for file in files] == ["memory:///bucket/texts/00.jsonl", "memory:///bucket/texts/01.jsonl"]
        assert list(Documents("m", files)) == ["text 00", "text 01"]
    before = Documents("m", files).fingerprint
    memory.pipe("/bucket/texts/01.jsonl", b'{"text": "another text"}\n')
    files = find_files("memory://bucket/texts", Hub())
    assert list(Documents("m", files)) == ["text 00", "another text"]
    assert Documents("m", files).fingerprint != before
    with pytest.raises(UserError, match=r"memory://bucket/none\*: no such file"):
        find_files("memory://bucket/none*", Hub())
    with pytest.raises(UserError, match=r"nonsense://x: can't be had \(Protocol not known"):
        find_files("nonsense://x", Hub())


def test_two_that_fetch_a_file_at_once_fetch_it_once(tmp_path, monkeypatch):
    """The thread that fetches ahead, and who needs the file now."""
    import fsspec

    monkeypatch.setenv("PARROTLET_CACHE", str(tmp_path / "cache"))
    memory, fetches = fsspec.filesystem("memory"), []
    memory.pipe("/slow/0.txt", b"a text" * 1000)
    (file,) = find_files("memory://slow", Hub())

    def slowly(self, path, to):
        fetches.append(path)
        Path(to).write_bytes(b"a text")
        time.sleep(0.2)
        with Path(to).open("ab") as out:
            out.write(b"a text" * 999)

    monkeypatch.setattr(type(memory), "get_file", slowly)
    with ThreadPoolExecutor(2) as pool:
        paths = [each.result() for each in [pool.submit(file.fetch) for _ in range(2)]]
    assert paths[0] == paths[1]
    assert paths[0].read_bytes() == b"a text" * 1000
    assert len(fetches) == 1


def test_a_file_that_changes_before_it_is_fetched_is_refused(tmp_path, monkeypatch):
    import fsspec

    monkeypatch.setenv("PARROTLET_CACHE", str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")
    memory.pipe("/news/0.txt", b"one text")
    (file,) = find_files("memory://news", Hub())
    memory.pipe("/news/0.txt", b"another text")
    with pytest.raises(UserError, match=r"news/0\.txt: it has changed since it was looked at"):
        file.fetch()
    assert not list((tmp_path / "cache").rglob("0.txt*aside"))


class Place:
    """A file system whose listing tells more of a file than a look at it, as s3fs's; or something new each time."""

    def __init__(self, tag, unsteady=False):
        self.tag, self.unsteady, self.listed, self.looks = tag, unsteady, False, 0

    def invalidate_cache(self):
        self.listed = False

    def ls(self, path):
        self.listed = True

    def _parent(self, path):
        return path

    def info(self, path):
        self.looks += 1
        tag = f"{self.tag} {self.looks}" if self.unsteady else self.tag
        return {"size": 5, "ETag": tag} | ({"Size": 5, "LastModified": "today"} if self.listed else {})


@pytest.mark.parametrize(
    ("listed", "tag_now", "unsteady", "changed"),
    [
        (True, "a", False, False),
        (False, "a", False, False),
        (True, "b", False, True),
        (False, "b", False, True),
        (False, "a", True, False),
    ],
)
def test_a_file_is_known_again_by_its_listing_or_by_itself(listed, tag_now, unsteady, changed):
    before, now = Place("a"), Place(tag_now, unsteady)
    if listed:
        before.ls("")
    assert remote._has_changed(now, "f", remote._identity(before.info("f"))) == changed


def test_what_was_fetched_is_there_when_its_place_is_not(tmp_path, monkeypatch, capsys):
    import fsspec

    monkeypatch.setenv("PARROTLET_CACHE", str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")
    for name in ("00", "01"):
        memory.pipe(f"/away/{name}.jsonl", f'{{"text": "text {name}"}}\n'.encode())
    online = Documents("m", find_files("memory://away", Hub()))
    assert list(online) == ["text 00", "text 01"]
    memory.rm("/away", recursive=True)
    offline = Documents("m", find_files("memory://away", Hub()))
    assert (list(offline), offline.fingerprint) == (list(online), online.fingerprint)
    assert (
        "memory://away: no such file. Going on with the 2 files that were found there last" in capsys.readouterr().err
    )
    for file in (tmp_path / "cache" / "remote").rglob("*.jsonl"):
        file.unlink()
    with pytest.raises(UserError, match=r"00\.jsonl: can't be had"):
        Documents("m", find_files("memory://away", Hub()))


def test_an_address_with_a_query_is_named_by_its_path(tmp_path, monkeypatch):
    pytest.importorskip("aiohttp", reason="fsspec's https:// needs aiohttp")
    monkeypatch.setenv("PARROTLET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    file = tmp_path / "hub" / "datasets" / "org" / "name" / "0.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text('{"text": "a text"}\n')
    with serving(tmp_path / "hub") as server:
        address = f"{server.url}/datasets/org/name/resolve/main/0.jsonl?download=true&key={'x' * 300}"
        assert list(Documents("m", find_files(address, Hub()))) == ["a text"]


def test_a_hub_and_a_folder_with_its_layout_give_the_same(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    dataset = tmp_path / "hub" / "datasets" / "org" / "name"
    dataset.mkdir(parents=True)
    for i in range(3):
        (dataset / f"{i}.jsonl").write_text(f'{{"text": "text {i}"}}\n')
    source = "hf://datasets/org/name/*.jsonl"
    local = Documents(source, find_files(source, Hub(folder=tmp_path / "hub")))
    with serving(tmp_path / "hub") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        files = find_files(source, Hub())
        assert not [asked for asked in server.asked if "/resolve/" in asked.path]
        remote = Documents(source, files)
        assert list(remote) == list(local) == ["text 0", "text 1", "text 2"]
    assert remote.fingerprint == local.fingerprint


def test_a_number_that_is_left_out_is_missed():
    check_numbering([f"shard_{i:05d}.parquet" for i in range(12)], "s")
    check_numbering(["2019.txt", "2023.txt", "b_1.txt", "b_7.txt"], "s")
    check_numbering(["news_20240131.jsonl", "news_20240201.jsonl", "pg10034.txt", "pg10057.txt"], "s")
    with pytest.raises(UserError, match=r"s: of the files shard_N\.parquet with N from 0 to 11, 2 are missing: 3, 7\."):
        check_numbering([f"shard_{i:05d}.parquet" for i in range(12) if i not in (3, 7)], "s")
    check_numbering([f"train-{i:05d}-of-00010.parquet" for i in range(4)], "s")  # the first ones, as asked
    with pytest.raises(UserError, match=r"train-N-of-00010\.parquet with N from 0 to 3, 1 are missing: 2\."):
        check_numbering([f"train-{i:05d}-of-00010.parquet" for i in (0, 1, 3)], "s")
