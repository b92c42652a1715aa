"""A stage that gets a newer checkpoint while it is served."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest

from parrotlet.engine import Engine
from parrotlet.train import Run
from parrotlet.train.checkpoint import save_checkpoint
from serving import serving

STEP = 500


@pytest.fixture
def copied(run, tmp_path) -> Run:
    shutil.copytree(run.folder, tmp_path / "run")
    return Run.open(tmp_path / "run")


def train_on(run, source):
    """Save a newer checkpoint of sft, with the weights of another stage."""
    checkpoint = run.load(source, optimizer=True)
    save_checkpoint(run.stage_folder("sft"), STEP, replace(checkpoint, state=checkpoint.state | {"step": STEP}))


def ask(url, model="sft"):
    """How likely the first token was, and whose weights said so."""
    body = {"model": model, "messages": [{"role": "user", "content": "What is 3 and 3?"}], "temperature": 0}
    body |= {"logprobs": True, "max_tokens": 3}
    response = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=120)
    response.raise_for_status()
    answer = response.json()
    return answer["choices"][0]["logprobs"]["content"][0]["logprob"], answer["system_fingerprint"]


def engines():
    return sum(thread.name == "engine" for thread in threading.enumerate())


def test_the_next_request_gets_the_new_weights_and_what_is_being_written_keeps_the_old(copied, monkeypatch):
    step, begun, go_on = Engine.step, threading.Event(), threading.Event()

    def held_up(self):
        begun.set()
        assert go_on.wait(60)
        return step(self)

    with serving(copied) as url, ThreadPoolExecutor(1) as pool:
        before, base = ask(url), ask(url, "base")
        assert before[0] != base[0]
        running = engines()
        with monkeypatch.context() as patch:
            patch.setattr(Engine, "step", held_up)
            writing = pool.submit(ask, url)
            assert begun.wait(60)
            train_on(copied, "base")
        assert httpx.get(f"{url}/v1/models/sft").json()["step"] == STEP
        after = ask(url)
        assert engines() == running + 1
        go_on.set()
        assert writing.result() == before
        assert (after[0], after[1] != before[1]) == (base[0], True)
        for thread in threading.enumerate():
            if thread.name == "engine" and engines() > running:
                thread.join(0.5)
        assert engines() == running, "the old engine ends with its last answer"


def test_a_damaged_checkpoint_is_told_and_the_other_stages_are_served(copied):
    weights = copied.newest("sft") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with serving(copied) as url:
        body = {"model": "sft", "messages": [{"role": "user", "content": "hello"}]}
        response = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60)
        assert (response.status_code, "model.safetensors has" in response.json()["error"]["message"]) == (503, True)
        assert ask(url, "base")
