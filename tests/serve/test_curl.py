"""The commands in docs/serving.md, as they stand there."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from serving import serving

PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text("utf-8")
COMMANDS = dict(re.findall(r"^\*\*(.+?)\*\*.*?^```sh\n(curl .*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
ANSWER = "224 + 372 = 596.\n#### 596"

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


def printed(name, url):
    """What a command prints."""
    command = COMMANDS[name].replace("http://127.0.0.1:8000", url).replace("curl", "curl -sS", 1)
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def adding(run, answers_with):
    """A server whose stages answer as the documentation says, by a script."""
    answers_with("224 + 372 = ", "224+372", "596.\n#### 596")
    with serving(run) as url:
        yield url


def test_chat(adding):
    message = json.loads(printed("Chat", adding))["choices"][0]["message"]
    assert message["content"] == ANSWER
    sent_back = json.loads(re.search(r"-d '(.*)'", COMMANDS["Tools"], re.DOTALL)[1])["messages"][1]
    assert sent_back == {key: message[key] for key in ("role", "content", "parts")}, "an answer as it came"


def test_stream(adding):
    *pieces, done = (line.removeprefix("data: ") for line in printed("Stream", adding).splitlines() if line)
    pieces = [json.loads(piece) for piece in pieces]
    told = [choice["delta"].get("content", "") for piece in pieces for choice in piece["choices"]]
    assert (done, "".join(told)) == ("[DONE]", ANSWER)
    assert pieces[-1]["usage"]["completion_tokens"] > len(told) > 5


def test_seed_and_several(server):
    first, second = (json.loads(printed("Seed", server)) for _ in range(2))
    assert first["choices"] == second["choices"]
    assert first["system_fingerprint"] == second["system_fingerprint"]
    several = json.loads(printed("Several", server))["choices"]
    assert several[0] == first["choices"][0]
    assert len({choice["message"]["content"] for choice in several}) == 3


def test_stop(adding):
    choice = json.loads(printed("Stop", adding))["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("224 + 372 = 596.\n", "stop")


def test_log_probabilities(adding):
    tokens = json.loads(printed("Log-probabilities", adding))["choices"][0]["logprobs"]["content"]
    assert {len(token["top_logprobs"]) for token in tokens} == {0, 2}, "none where the engine wrote"


def test_tools(adding):
    assert json.loads(printed("Tools", adding))["choices"][0]["message"]["content"] == ANSWER


def test_completion(server):
    assert json.loads(printed("Completion", server))["choices"][0]["text"]


def test_error(server, run):
    shown = PAGE.partition("**Error**")[2].partition("```json\n")[2].partition("\n```")[0]
    named = shown.replace("runs/tiny has sft, mid, base", f"{run.folder} has sft, base")
    assert json.loads(printed("Error", server)) == json.loads(named)
