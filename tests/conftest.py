"""Fixtures shared by all tests."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from parrotlet.openmp import let_threads_sleep
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
    let_threads_sleep()


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser():
    """A real browser, without a window."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Opens an address; the test fails if its console says anything or something is fetched from elsewhere."""
    complaints = []

    def open_page(url, **context):
        page = browser.new_context(**context).new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith(url) else complaints.append(request.url))
        page.goto(url)
        return page

    yield open_page
    assert complaints == []


SAMPLE_TEXT = """Weng earns $12 an hour for babysitting. Yesterday, she just did 50 minutes of babysitting. How much did
she earn? The parrot flew over the river, sat down on the old oak tree and said good morning to everyone there.
小鹦鹉飞过河，落在老橡树上，向大家说早上好。0.2 per minute, working 10 minutes, 3.5 apples and 12 pears cost $7.
"""


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """A small tokenizer: 256 bytes, some merges, nine special tokens."""
    return Tokenizer.train([SAMPLE_TEXT] * 3, 400)
