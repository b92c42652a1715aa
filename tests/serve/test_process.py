"""`parrotlet serve` as a process of its own."""

import json
import signal
import subprocess
import sys

import httpx
import pytest

ASK = {"model": "sft", "messages": [{"role": "user", "content": "What is 3 and 3?"}], "max_tokens": 150, "n": 16}


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_it_finishes_what_it_writes_and_ends_well(run, ending):
    command = [sys.executable, "-m", "parrotlet", "serve", "--run", run.folder, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            said = server.stdout.readline()
            url = said.split("the API at ")[1].split("/v1")[0]
            with httpx.stream("POST", f"{url}/v1/chat/completions", json=ASK | {"stream": True}, timeout=120) as answer:
                lines = filter(None, answer.iter_lines())
                first = next(lines)
                server.send_signal(ending)
                assert server.stdout.readline().startswith("ending: ")
                *told, last = [first, *lines]
            out, complaints = server.communicate(timeout=60)
        finally:
            server.kill()
    choices = [choice for line in told for choice in json.loads(line.removeprefix("data: "))["choices"]]
    assert sorted(choice["index"] for choice in choices if choice["finish_reason"]) == list(range(16))
    assert last == "data: [DONE]"
    assert (server.returncode, out, complaints) == (0, "", "")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")
