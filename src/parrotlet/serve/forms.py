"""Answers as JSON, in OpenAI's forms: for chats and for completions, as a stream and whole."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ..engine import Completion, Event
from ..tokenizer import ShownAnswer, Tokenizer

Json = dict[str, Any]


class ChatForm:
    """The tool's activity is in `parts`, the text alone in `content`.

    In a stream, text comes as `content`; a call comes together with its result, as two `parts` in one delta. Where
    exchanges were left out, `left_out` says how many.
    """

    whole, streamed, id_prefix = "chat.completion", "chat.completion.chunk", "chatcmpl"

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
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

    def closing(self, completion: Completion) -> Json:
        """Fields of the last piece. Many tokens take a while; not for the event loop."""
        return {"delta": {}, **self._ending(completion)}

    def choice(self, completion: Completion) -> Json:
        """Fields of a whole answer. Many tokens take a while; not for the event loop."""
        parts = [asdict(part) for part in completion.parts]
        message = {"role": "assistant", "content": completion.text, "refusal": None, "parts": parts}
        return {"message": message, **self._ending(completion)}

    def _ending(self, completion: Completion) -> Json:
        left_out = {"left_out": completion.left_out} if completion.left_out else {}
        tokens = self._tokens(completion)
        logprobs = None if tokens is None else {"content": tokens, "refusal": None}
        return {"finish_reason": completion.finish, "logprobs": logprobs, **left_out}

    def _tokens(self, completion: Completion) -> list[Json] | None:
        if completion.logprobs is None:
            return None
        shown = ShownAnswer(completion.ids, self._tokenizer)
        return [
            {
                **self._token(id, shown.texts[place], None if logprob is None else logprob.value),
                "injected": logprob is None,
                "top_logprobs": [self._token(other, shown.instead(place, other), value) for other, value in logprob.top]
                if logprob
                else [],
            }
            for place, (id, logprob) in enumerate(zip(completion.ids, completion.logprobs, strict=True))
        ]

    def _token(self, id: int, shown: str, logprob: float | None) -> Json:
        text, spelled = self._tokenizer.token_text(id), list(self._tokenizer.token_bytes(id))
        return {"id": id, "token": text, "shown": shown, "bytes": spelled, "logprob": logprob}


class CompletionForm:
    """Text that follows a text; no tool is called."""

    whole = streamed = "text_completion"
    id_prefix = "cmpl"

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def opening(self) -> None:
        """Nothing: a stream begins with text."""

    def piece(self, index: int, event: Event) -> Json:
        """Fields of a piece."""
        return {"text": event.text, "finish_reason": None, "logprobs": None}

    def closing(self, completion: Completion) -> Json:
        """Fields of the last piece. Many tokens take a while; not for the event loop."""
        return {"text": "", "finish_reason": completion.finish, "logprobs": self._columns(completion)}

    def choice(self, completion: Completion) -> Json:
        """Fields of a whole answer. Many tokens take a while; not for the event loop."""
        return {**self.closing(completion), "text": completion.text}

    def _columns(self, completion: Completion) -> Json | None:
        if completion.logprobs is None:
            return None
        logprobs = [logprob for logprob in completion.logprobs if logprob is not None]
        texts = [self._tokenizer.token_text(id) for id in completion.ids]
        return {
            "tokens": texts,
            "token_logprobs": [logprob.value for logprob in logprobs],
            "top_logprobs": [{self._tokenizer.token_text(id): p for id, p in logprob.top} for logprob in logprobs],
            "text_offset": list(self._offsets(completion.ids)),
        }

    def _offsets(self, ids: Sequence[int]) -> Iterator[int]:
        """Where in the text each token begins, in characters; what goes on with one, where that begins."""
        decoder, at = codecs.getincrementaldecoder("utf-8")("replace"), 0
        for id in ids:
            yield at
            at += len(decoder.decode(self._tokenizer.token_bytes(id)))
