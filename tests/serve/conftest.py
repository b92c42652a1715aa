"""A small run, and a server of it."""

import httpx
import pytest

from parrotlet.recipe import Recipe
from parrotlet.train import Run, train_stage, train_tokenizer
from serving import serving
from small_run import write_small_run


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Run:
    """A run with base and sft trained; its context holds 192 tokens."""
    folder = tmp_path_factory.mktemp("served")
    changes = {"model.sequence_len": 192, "base.tokens_per_step": 384, "mid.tokens_per_step": 384}
    run = Run.begin(folder / "run", Recipe.parse(write_small_run(folder), "test", changes))
    train_tokenizer(run)
    train_stage(run, "base")
    train_stage(run, "sft", "base")
    return run


@pytest.fixture(scope="session")
def server(run):
    with serving(run) as url:
        yield url


@pytest.fixture
def http(server):
    with httpx.Client(base_url=server, timeout=60) as client:
        yield client
