"""Answers as JSON, in OpenAI's forms: for chats and for completions, as a stream and whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import accumulate
from typing import Any

from ..chat import Conversation, render_prompt
from ..engine import Completion, Event
from ..tokenizer import Tokenizer
from .models import Served
from .protocol import ChatRequest, CompletionRequest
from .token_facts import TokenFact, token_facts

Json = dict[str, Any]


class ChatForm:
    """The tool's activity is in `parts`, the text alone in `content`.

    In a stream, text comes as `content`; a call comes together with its result, as two `parts` in one delta. Where
    exchanges were left out, `left_out` says how many, and log-probabilities are those that follow what was left.
    """

    whole, streamed, id_prefix = "chat.completion", "chat.completion.chunk", "chatcmpl"

    def __init__(self, served: Served, body: ChatRequest, conversation: Conversation) -> None:
        self._served, self._body, self._conversation = served, body, conversation
        self._calls: dict[int, str] = {}

    def opening(self) -> Json:
        """Fields of a choice's first piece, before anything is written."""
        return {"delta": {"role": "assistant", "content": ""}, "logprobs": None}

    def piece(self, index: int, event: Event) -> Json | None:
        """Fields of a piece; None if there is nothing to tell yet."""
        if event.kind == "call":
            self._calls[index] = event.text
            return None
        delta: Json = {"content": event.text}
        if event.kind == "result":
            call, result = self._calls.pop(index), event.text
            delta = {"parts": [{"type": "python", "text": call}, {"type": "python_output", "text": result}]}
        return {"delta": delta, "logprobs": None}

    def closing(self, index: int, completion: Completion) -> Json:
        """Fields of the last piece. Computes; not for the event loop."""
        return {"delta": {}, **self._ending(completion)}

    def choice(self, index: int, completion: Completion) -> Json:
        """Fields of a whole answer. Computes; not for the event loop."""
        parts = [asdict(part) for part in completion.parts]
        message = {"role": "assistant", "content": completion.text, "refusal": None, "parts": parts}
        return {"message": message, **self._ending(completion)}

    def _ending(self, completion: Completion) -> Json:
        ending: Json = {"finish_reason": completion.finish, "logprobs": None}
        if completion.left_out:
            ending["left_out"] = completion.left_out
        if self._body.logprobs:
            prompt = render_prompt(_shortened(self._conversation, completion.left_out), self._served.tokenizer)
            facts = token_facts(self._served.model, prompt, completion.ids, self._body.top_logprobs or 0)
            ending["logprobs"] = {"content": self._tokens(facts, completion.injected), "refusal": None}
        return ending

    def _tokens(self, facts: list[TokenFact], injected: Sequence[bool]) -> list[Json]:
        tokenizer = self._served.tokenizer
        return [
            {
                **_token(tokenizer, fact.id, fact.logprob),
                "injected": by_engine,
                "top_logprobs": [_token(tokenizer, id, logprob) for id, logprob in fact.top],
            }
            for fact, by_engine in zip(facts, injected, strict=True)
        ]


class CompletionForm:
    """Text that follows a text; no tool is called."""

    whole = streamed = "text_completion"
    id_prefix = "cmpl"

    def __init__(self, served: Served, body: CompletionRequest, prompts: Sequence[list[int]]) -> None:
        self._served, self._body, self._prompts = served, body, prompts

    def opening(self) -> None:
        """Nothing: a stream begins with text."""

    def piece(self, index: int, event: Event) -> Json:
        """Fields of a piece."""
        return {"text": event.text, "finish_reason": None, "logprobs": None}

    def closing(self, index: int, completion: Completion) -> Json:
        """Fields of the last piece. Computes; not for the event loop."""
        return {"text": "", **self._ending(index, completion)}

    def choice(self, index: int, completion: Completion) -> Json:
        """Fields of a whole answer. Computes; not for the event loop."""
        return {"text": completion.text, **self._ending(index, completion)}

    def _ending(self, index: int, completion: Completion) -> Json:
        logprobs = None
        if self._body.logprobs is not None:
            facts = token_facts(self._served.model, self._prompts[index], completion.ids, self._body.logprobs)
            logprobs = _columns(facts, self._served.tokenizer)
        return {"finish_reason": completion.finish, "logprobs": logprobs}


def _columns(facts: list[TokenFact], tokenizer: Tokenizer) -> Json:
    texts = [tokenizer.token_text(fact.id) for fact in facts]
    return {
        "tokens": texts,
        "token_logprobs": [fact.logprob for fact in facts],
        "top_logprobs": [{tokenizer.token_text(id): logprob for id, logprob in fact.top} for fact in facts],
        "text_offset": [0, *accumulate(map(len, texts))][: len(texts)],
    }


def _token(tokenizer: Tokenizer, id: int, logprob: float) -> Json:
    return {
        "id": id,
        "token": tokenizer.token_text(id),
        "bytes": list(tokenizer.token_bytes(id)),
        "logprob": logprob,
    }


def _shortened(conversation: Conversation, left_out: int) -> Conversation:
    head = 1 if conversation.messages[0].role == "system" else 0
    messages = conversation.messages
    return replace(conversation, messages=messages[:head] + messages[head + 2 * left_out :])
