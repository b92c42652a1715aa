"""What is refused, with which status and which reason; and that nothing else suffers from it."""

import json

import httpx
import pytest

from parrotlet.errors import UserError
from parrotlet.serve.limits import Limits
from parrotlet.serve.server import is_loopback, serve_run
from serving import serving

USER = {"role": "user", "content": "hello"}
CALL = [{"type": "python", "text": "1+1"}, {"type": "python_output", "text": "2"}]


def answered(*parts):
    return [USER, {"role": "assistant", "parts": list(parts)}, USER]


@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        ({"messages": []}, 400, "messages: List should have at least 1 item"),
        ({"messages": [USER, USER]}, 400, "message 2 has the role 'user' where 'assistant' is due"),
        ({"messages": [USER, {"role": "assistant", "content": "hi"}]}, 400, "must be the user's"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, 400, "a message needs content"),
        ({"messages": [{"role": "user", "parts": CALL}]}, 400, "only an assistant's message has parts"),
        ({"messages": answered(CALL[0])}, 400, "each python is followed by its python_output"),
        ({"messages": answered(CALL[1])}, 400, "each python is followed by its python_output"),
        ({"messages": [USER] * 300}, 400, "messages may be 256 at most; found 300"),
        ({"messages": [{"role": "user", "content": "long " * 300}]}, 400, "the model's context 192"),
        ({"n": 17}, 400, "n may be 16 at most"),
        ({"n": 9}, 429, "8 are the most"),
        ({"temperature": "hot"}, 400, "temperature"),
        ({"temperature": 1e-40}, 400, "temperature"),
        ({"top_logprobs": 3}, 400, "top_logprobs needs logprobs"),
        ({"presence_penalty": 1}, 400, "presence_penalty"),
        ({"tools": []}, 400, "tools: Extra inputs are not permitted"),
        ({"stop": [""]}, 400, "stop"),
        ({"model": "\ud800"}, 404, "no model"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 400, "differ"),
    ],
)
def test_a_bad_chat_request_is_told_what_is_wrong(http, fields, status, reason):
    body = {"model": "sft", "messages": [USER], "max_tokens": 4} | fields
    response = http.post("/v1/chat/completions", content=ascii_json(body), headers=JSON)
    assert (response.status_code, response.json()["error"]["type"]) == (status, "invalid_request_error")
    assert reason in response.json()["error"]["message"]
    assert http.post("/v1/chat/completions", json={"model": "sft", "messages": [USER], "max_tokens": 4}).is_success


JSON = {"content-type": "application/json"}


def ascii_json(body):
    return json.dumps(body).encode()


def test_content_and_parts_must_agree(http):
    parts = [{"type": "text", "text": "It is "}, *CALL, {"type": "text", "text": "2."}]
    agree, differ = ({"role": "assistant", "content": text, "parts": parts} for text in ("It is 2.", "It is 3."))
    fields = {"model": "sft", "max_tokens": 4}
    assert http.post("/v1/chat/completions", json={"messages": [USER, agree, USER], **fields}).is_success
    refused = http.post("/v1/chat/completions", json={"messages": [USER, differ, USER], **fields})
    assert "differ" in refused.json()["error"]["message"]


def test_an_xray_of_a_step_that_no_training_has(http):
    """It would have to read data for ever."""
    response = http.get("/api/xray/base", params={"step": 10**9})
    assert (response.status_code, "base has 12 steps" in response.json()["error"]["message"]) == (400, True)


def test_a_token_that_there_is_not(http):
    response = http.post("/v1/completions", json={"model": "sft", "prompt": [300]})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "prompt")


def test_too_large_a_body_is_refused_however_it_is_sent(http):
    large = b" " * ((1 << 20) + 1)
    assert http.post("/v1/chat/completions", content=large, headers=JSON).status_code == 413
    in_pieces = http.post("/v1/chat/completions", content=iter([large[:9], large[9:]]), headers=JSON)
    assert in_pieces.status_code == 413
    assert "larger than 1048576 bytes" in in_pieces.json()["error"]["message"]


def test_a_web_page_that_has_its_name_point_here_is_refused(http):
    for host, status in (("evil.example", 403), ("localhost:99", 200), ("[::1]:80", 200), ("", 403)):
        assert http.get("/v1/models", headers={"host": host}).status_code == status


def test_whatever_loopback_address_is_listened_at_is_answered(run):
    with serving(run, host="127.0.0.2") as url:
        assert httpx.get(f"{url}/v1/models").status_code == 200
        assert httpx.get(f"{url}/v1/models", headers={"host": "127.0.0.3"}).status_code == 403


def test_with_a_key_nothing_but_the_page_and_the_health_is_open(run):
    with serving(run, api_key="secret") as url:
        for path, status in (("/health", 200), ("/v1/models", 401), ("/metrics", 401), ("/api/run", 401)):
            assert httpx.get(url + path).status_code == status, path
        wrong, right = ({"authorization": f"Bearer {key}"} for key in ("secreT", "secret"))
        assert httpx.get(f"{url}/v1/models", headers=wrong).status_code == 401
        assert httpx.get(f"{url}/v1/models", headers=right).status_code == 200


def test_beyond_loopback_a_key_is_needed(run):
    with pytest.raises(UserError, match="set a key with --api-key or PARROTLET_API_KEY"):
        serve_run(run, host="0.0.0.0", port=0, api_key=None, without_key=False, limits=Limits())
    with pytest.raises(UserError, match="ASCII"):
        serve_run(run, host="127.0.0.1", port=0, api_key="鹦鹉", without_key=False, limits=Limits())
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "::", "example.org")] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_a_port_that_is_taken_is_told(run, server):
    with pytest.raises(UserError, match="can't listen there"):
        serve_run(
            run, host="127.0.0.1", port=int(server.split(":")[2]), api_key=None, without_key=False, limits=Limits()
        )
