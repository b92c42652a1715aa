"""Fixtures shared by all tests."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from parrotlet.tokenizer import Tokenizer

settings.register_profile("fixed", derandomize=True)
settings.register_profile("explore", derandomize=False, max_examples=1000)
settings.load_profile("fixed")
"""The same examples in every run; `pytest --hypothesis-profile=explore` looks for new ones."""


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
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the command line does


SAMPLE_TEXT = """Weng earns $12 an hour for babysitting. Yesterday, she just did 50 minutes of babysitting. How much did
she earn? The parrot flew over the river, sat down on the old oak tree and said good morning to everyone there.
小鹦鹉飞过河，落在老橡树上，向大家说早上好。0.2 per minute, working 10 minutes, 3.5 apples and 12 pears cost $7.
"""


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """A small tokenizer: 256 bytes, some merges, nine special tokens."""
    return Tokenizer.train([SAMPLE_TEXT] * 3, 400)
