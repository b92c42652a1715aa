"""A small run, and a server of it."""

import httpx
import pytest

from parrotlet.engine import Engine
from parrotlet.recipe import Recipe
from parrotlet.train import Run, train_stage, train_tokenizer
from scripted import decoder_that, script
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


@pytest.fixture
def answers_with(run, monkeypatch):
    """Makes all stages answer with a text, a call and another text, whatever they are asked."""
    tokenizer = run.tokenizer()

    def last_question(row):
        return len(row) - row[::-1].index(tokenizer.assistant_start)

    def answer(before, call, after):
        ids = [*tokenizer.encode(before), tokenizer.python_start, *tokenizer.encode(call), tokenizer.python_end]
        ids += [*tokenizer.encode(after), tokenizer.assistant_end]
        monkeypatch.setattr("parrotlet.engine.engine.Decoder", decoder_that(script(tokenizer, ids, last_question)))

    return answer


@pytest.fixture
def calculating(run, monkeypatch, answers_with):
    """A server whose model answers with a call, whatever it is asked; and the prompts that its engine gets."""
    prompts = []

    def submit(self, prompt, sampling, **options):
        prompts.append(prompt)
        return plain(self, prompt, sampling, **options)

    plain = Engine.submit
    monkeypatch.setattr(Engine, "submit", submit)
    answers_with("It is ", "10/4", " 元。")
    with serving(run) as url, httpx.Client(base_url=url, timeout=60) as http:
        yield http, prompts


@pytest.fixture
def opened(visit, server):
    """Opens the page."""

    def open_page(**context):
        page = visit(server, locale="en-GB", **context)
        page.wait_for_selector("#stages input")
        return page

    return open_page
