"""Many clients, clients that vanish, engines that fail: the others are served."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from parrotlet.engine import Engine
from parrotlet.serve import models
from parrotlet.serve.limits import Limits
from parrotlet.serve.worker import Worker
from serving import serving

MANY = Limits(rows=4, queue=28)


def body(**fields):
    return {"model": "sft", "messages": [{"role": "user", "content": "What is 3 and 3?"}], "temperature": 0} | fields


@pytest.fixture
def slow_steps(monkeypatch):
    """The engine takes its time over every token."""
    step = Engine.step

    def slowly(self):
        time.sleep(0.02)
        return step(self)

    monkeypatch.setattr(Engine, "step", slowly)


@pytest.fixture
def slow(run, slow_steps):
    """A client of a server whose engine is slow."""
    with serving(run, MANY) as url, httpx.Client(base_url=url, timeout=60) as http:
        http.post("/v1/chat/completions", json=body(max_tokens=1))
        yield http


def open_answers(http):
    lines = http.get("/metrics").text.splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith('parrotlet_open_answers{model="sft"}')))


def eventually(holds, seconds=5.0):
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.02)
    return holds()


def test_when_a_client_is_gone_its_answer_ends(slow):
    with slow.stream("POST", "/v1/chat/completions", json=body(max_tokens=150, stream=True)) as response:
        lines = response.iter_lines()
        next(lines)
        assert open_answers(slow) == 1
    assert eventually(lambda: open_answers(slow) == 0, 1.5), "150 tokens would take 3 seconds"
    assert 'parrotlet_answers_total{finish="cancelled",model="sft"} 1.0' in slow.get("/metrics").text


def test_when_a_client_that_does_not_stream_is_gone_its_answers_end(slow):
    with pytest.raises(httpx.ReadTimeout):
        slow.post("/v1/chat/completions", json=body(max_tokens=150, n=3), timeout=0.3)
    assert eventually(lambda: open_answers(slow) == 0, 1.5)
    assert 'parrotlet_answers_total{finish="cancelled",model="sft"} 3.0' in slow.get("/metrics").text


def test_while_answers_are_written_and_wait_everything_else_is_answered_at_once(slow):
    """And what is more than the queue holds is refused."""
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(slow.post, "/v1/chat/completions", json=body(max_tokens=30, n=16)) for _ in range(2)]
        assert eventually(lambda: open_answers(slow) == 32)
        begun = time.monotonic()
        refused = slow.post("/v1/chat/completions", json=body(max_tokens=1))
        assert slow.get("/health").is_success
        assert time.monotonic() - begun < 1
        assert not any(answer.done() for answer in asked)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
        assert refused.headers["retry-after"] == "1"
        assert [answer.result().status_code for answer in asked] == [200, 200]


def test_when_the_server_ends_what_is_being_written_is_finished_and_nothing_else_is_taken(run, slow_steps):
    with ThreadPoolExecutor(1) as pool:
        begun = threading.Event()

        def read(url):
            with httpx.stream("POST", f"{url}/v1/chat/completions", json=body(max_tokens=60, stream=True)) as response:
                lines = []
                for line in filter(None, response.iter_lines()):
                    begun.set()
                    lines.append(line)
                return lines[-1]

        with serving(run, MANY) as url:
            reading = pool.submit(read, url)
            assert begun.wait(30)
        assert reading.result() == "data: [DONE]"
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/health")


def test_while_a_stage_is_loaded_others_are_answered(run, monkeypatch):
    """It is loaded once, for all who ask meanwhile."""
    load, loads, go_on = models.load_model, [], threading.Event()

    def held_up(run, stage):
        loads.append(stage)
        assert stage == "sft" or go_on.wait(30)
        return load(run, stage)

    monkeypatch.setattr(models, "load_model", held_up)
    with serving(run) as url, ThreadPoolExecutor(2) as pool:

        def ask(model):
            return httpx.post(
                f"{url}/v1/chat/completions", json=body(max_tokens=2, model=model), timeout=60
            ).status_code

        waiting = [pool.submit(ask, "base") for _ in range(2)]
        assert eventually(lambda: loads == ["base"])
        assert ask("sft") == 200
        assert not any(answer.done() for answer in waiting)
        go_on.set()
        assert [answer.result() for answer in waiting] == [200, 200]
    assert loads == ["base", "sft"]


def test_an_engine_that_fails_fails_what_it_wrote_and_goes_on(run, monkeypatch):
    write, tell, workers = Engine._write, Worker._tell, set()

    def noted(self, events):
        workers.add(self)
        tell(self, events)

    def failing(self, turns):
        if any(turn.sampling.max_tokens == 13 for turn in turns):
            raise RuntimeError("out of memory")
        return write(self, turns)

    monkeypatch.setattr(Engine, "_write", failing)
    monkeypatch.setattr(Worker, "_tell", noted)
    with serving(run) as url:
        responses = [
            httpx.post(f"{url}/v1/chat/completions", json=body(max_tokens=max_tokens), timeout=60)
            for max_tokens in (5, 13, 5)
        ]
    assert [response.status_code for response in responses] == [200, 500, 200]
    assert "RuntimeError" in responses[1].json()["error"]["message"]
    (worker,) = workers
    assert [worker._tickets, worker._early, worker._given_up] == [{}, {}, set()], "kept for nobody"
