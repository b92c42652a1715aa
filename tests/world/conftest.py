"""One world, written once, for the tests that read it."""

from pathlib import Path

import pytest

from parrotlet.world import write_world
from parrotlet.world.building import build_world
from parrotlet.world.documents import Document, write_documents
from parrotlet.world.facts import World
from parrotlet.world.words import word_list


@pytest.fixture(scope="session")
def world() -> World:
    return build_world(0)


@pytest.fixture(scope="session")
def documents(world: World) -> list[Document]:
    """Half as many as by default."""
    return write_documents(world, 10_000, word_list(0)[1])


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default world's folder."""
    folder = tmp_path_factory.mktemp("world")
    write_world(folder)
    return folder
