"""One world, written once, for the tests that read it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from parrotlet.world import write_world
from parrotlet.world.building import build_world
from parrotlet.world.documents import Document, write_documents
from parrotlet.world.facts import Fact, World
from parrotlet.world.phrases import capitalised, fill
from parrotlet.world.relations import relations, slots
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


@pytest.fixture(scope="session")
def statements() -> Callable[[Fact], list[str]]:
    """A fact in every wording."""
    return lambda fact: [capitalised(fill(says, slots(fact))) for says in relations()[fact.relation].says]
