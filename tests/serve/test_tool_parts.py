"""Tool activity goes out and comes in beside the text, and a conversation renders to the ids that training sees."""

import json

from parrotlet.chat import Conversation, render
from parrotlet.serve.protocol import ChatRequest
from weng import WENG

NEXT = {"role": "user", "content": "And for 2 hours?"}


def as_sent(parts):
    """A training message's parts as a client has them from an answer."""
    return {"role": "assistant", "content": "".join(p["text"] for p in parts if p["type"] == "text"), "parts": parts}


def test_a_conversation_with_calls_renders_to_the_ids_of_training(tokenizer):
    user, assistant = WENG
    sent = [{"role": "system", "content": "Be brief."}, user, as_sent(assistant["content"]), NEXT]
    asked = ChatRequest.model_validate({"model": "sft", "messages": sent}).conversation
    answer = {"role": "assistant", "content": "24"}
    trained = [{"role": "system", "content": "Be brief."}, user, assistant, NEXT, answer]
    ids = render(asked, tokenizer).ids
    assert ids == render(Conversation.from_messages(trained, "test"), tokenizer).ids[: len(ids)]


PARTS = [
    {"type": "text", "text": "It is "},
    {"type": "python", "text": "10/4"},
    {"type": "python_output", "text": "2.5"},
    {"type": "text", "text": " 元。"},
]


def test_an_answer_with_a_call_comes_with_clean_text_and_can_be_sent_back(calculating, tokenizer):
    http, prompts = calculating
    messages = [{"role": "user", "content": "Four pay 10. Each?"}]
    answer = http.post("/v1/chat/completions", json={"model": "sft", "messages": messages}).json()
    message = answer["choices"][0]["message"]
    assert (message["content"], message["parts"]) == ("It is  元。", PARTS)
    assert answer["choices"][0]["finish_reason"] == "stop"
    again = [*messages, message, NEXT]
    assert http.post("/v1/chat/completions", json={"model": "sft", "messages": again}).is_success
    trained = [*messages, {"role": "assistant", "content": PARTS}, NEXT, {"role": "assistant", "content": "5"}]
    ids = render(prompts[-1], tokenizer).ids
    assert ids == render(Conversation.from_messages(trained, "test"), tokenizer).ids[: len(ids)]


def test_in_a_stream_a_call_comes_with_its_result(calculating):
    """And a character of several tokens comes whole."""
    http, _ = calculating
    asked = {"model": "sft", "messages": [NEXT], "stream": True}
    deltas = [choice["delta"] for piece in stream(http, asked) for choice in piece["choices"]]
    assert "".join(delta.get("content", "") for delta in deltas) == "It is  元。"
    assert [delta["parts"] for delta in deltas if "parts" in delta] == [PARTS[1:3]]
    assert all("\ufffd" not in delta.get("content", "") for delta in deltas)


def test_injected_tokens_are_told_from_sampled_ones(calculating, run):
    http, _ = calculating
    asked = {"model": "sft", "messages": [NEXT], "logprobs": True, "top_logprobs": 1}
    tokens = http.post("/v1/chat/completions", json=asked).json()["choices"][0]["logprobs"]["content"]
    injected = [token["token"] for token in tokens if token["injected"]]
    assert all(token["injected"] == (token["logprob"] is None) != bool(token["top_logprobs"]) for token in tokens)
    assert (injected[0], "".join(injected[1:-1]), injected[-1]) == ("<|output_start|>", "2.5", "<|output_end|>")


def test_without_the_calculator_no_call_is_made(calculating):
    http, _ = calculating
    asked = {"model": "sft", "messages": [NEXT], "calculator": False, "max_tokens": 20}
    parts = http.post("/v1/chat/completions", json=asked).json()["choices"][0]["message"]["parts"]
    assert {part["type"] for part in parts} == {"text"}


def stream(http, asked):
    with http.stream("POST", "/v1/chat/completions", json=asked) as response:
        lines = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]
