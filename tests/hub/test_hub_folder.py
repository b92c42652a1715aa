"""A folder with the Hub's layout."""

from pathlib import Path

import pytest

from parrotlet.errors import UserError
from parrotlet.hub import Hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    dataset = tmp_path / "datasets" / "org" / "name"
    for path in (
        "data/train-00000-of-00002.txt",
        "data/train-00001-of-00002.txt",
        "README.md",
        "deep/er/a.txt",
    ):
        (dataset / path).parent.mkdir(parents=True, exist_ok=True)
        (dataset / path).write_text(path)
    return tmp_path


def test_files_are_listed_sorted_and_found(folder: Path) -> None:
    hub = Hub(folder=folder)
    names = hub.dataset_files("org/name", "data/train-*.txt")
    assert names == ["data/train-00000-of-00002.txt", "data/train-00001-of-00002.txt"]
    assert [hub.dataset_file("org/name", name).read_text() for name in names] == names
    assert hub.dataset_files("org/name", "*.txt") == [*names, "deep/er/a.txt"]


def test_a_missing_part_is_not_passed_over(folder: Path) -> None:
    (folder / "datasets/org/name/data/train-00000-of-00002.txt").unlink()
    with pytest.raises(UserError, match=r"only 1 of the 2 files data/train-\*-of-00002.txt"):
        Hub(folder=folder).dataset_files("org/name", "data/*")


def test_a_part_may_be_asked_for_by_its_name(folder: Path) -> None:
    one = "data/train-00001-of-00002.txt"
    assert Hub(folder=folder).dataset_files("org/name", one) == [one]


def test_nothing_that_matches_says_what_there_is(folder: Path) -> None:
    with pytest.raises(UserError, match=r"no file matches 'data/test-\*'; there are README.md, data/train-00000"):
        Hub(folder=folder).dataset_files("org/name", "data/test-*")


def test_missing_dataset_and_file_name_the_place(folder: Path) -> None:
    hub = Hub(folder=folder)
    for call in (hub.dataset_files, hub.dataset_file):
        with pytest.raises(UserError, match=r"datasets/org/other: no such folder"):
            call("org/other", "x")
    with pytest.raises(UserError, match=r"datasets/org/name/x.txt: no such file"):
        hub.dataset_file("org/name", "x.txt")


def test_own_datasets_come_from_the_world(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    world = tmp_path_factory.mktemp("world")
    own = world / "datasets" / "parrotlet" / "small-talk" / "a.txt"
    own.parent.mkdir(parents=True)
    own.write_text("hello")
    hub = Hub(folder=folder, world=world)
    assert hub.dataset_file("parrotlet/small-talk", "a.txt") == own
    assert hub.dataset_files("org/name", "README.md") == ["README.md"]
