"""Fixtures shared by all tests."""

import os
import tempfile
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data; tests that ask for it skip where PARROTLET_REAL_DATA does not name one."""
    folder = os.environ.get("PARROTLET_REAL_DATA")
    if not folder:
        pytest.skip("PARROTLET_REAL_DATA does not name the folder of real data")
    assert Path(folder).is_dir(), f"PARROTLET_REAL_DATA={folder} is not a folder"
    return Path(folder)


def pytest_configure(config: pytest.Config) -> None:
    """Keep what tests cache (the world, plans, tokenizers) out of the user's cache, and share it within a run."""
    folder = tempfile.TemporaryDirectory(prefix="parrotlet-tests-")
    config.add_cleanup(folder.cleanup)
    os.environ.setdefault("PARROTLET_CACHE", folder.name)
