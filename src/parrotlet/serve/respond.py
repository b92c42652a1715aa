"""Sends answers: as a stream of server-sent events, or whole."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing, closing
from typing import Any

from fastapi import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from ..engine import Completion
from .answers import Answers
from .errors import Refusal, error_body
from .forms import ChatForm, CompletionForm
from .protocol import Request as Asked

CLIENT_GONE = 499


async def respond(
    request: Request, answers: Answers, form: ChatForm | CompletionForm, body: Asked, *, tools: bool, slide: bool
) -> Response:
    """Ask for the answers and send them, as a stream or whole; they are closed however that ends."""
    head = {
        "id": f"{form.id_prefix}-{secrets.token_hex(12)}",
        "created": int(time.time()),
        "model": body.model,
        "system_fingerprint": answers.served.checkpoint,
    }
    try:
        await answers.submit(tools=tools, slide=slide)
    except BaseException:
        answers.close()
        raise
    if body.stream:
        return EventStream(_stream(answers, form, body, head), answers)
    with closing(answers):
        return await _unless_gone(request, _whole(answers, form, head))


async def _unless_gone(request: Request, response: Coroutine[Any, Any, Response]) -> Response:
    """The response, unless the client goes away before it is there."""
    answering, gone = asyncio.ensure_future(response), asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((answering, gone), return_when=asyncio.FIRST_COMPLETED)
        return answering.result() if answering.done() else Response(status_code=CLIENT_GONE)
    finally:
        answering.cancel()
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _whole(answers: Answers, form: ChatForm | CompletionForm, head: dict[str, Any]) -> Response:
    completions: dict[int, Completion] = {}
    async with aclosing(answers.events()) as events:
        async for index, event in events:
            if event.completion is not None:
                completions[index] = event.completion
    choices = [
        {"index": index, **await asyncio.to_thread(form.choice, completion)}
        for index, completion in sorted(completions.items())
    ]
    usage = _usage(list(completions.values()))
    return JSONResponse({**head, "object": form.whole, "choices": choices, "usage": usage})


async def _stream(
    answers: Answers, form: ChatForm | CompletionForm, body: Asked, head: dict[str, Any]
) -> AsyncIterator[str]:
    head = {**head, "object": form.streamed}
    if opening := form.opening():
        for index in range(answers.count):
            yield _data({**head, "choices": [{"index": index, "finish_reason": None, **opening}]})
    completions: list[Completion] = []
    try:
        async with aclosing(answers.events()) as events:
            async for index, event in events:
                if event.completion is not None:
                    completions.append(event.completion)
                    piece = await asyncio.to_thread(form.closing, event.completion)
                else:
                    piece = form.piece(index, event)
                if piece is not None:
                    yield _data({**head, "choices": [{"index": index, "finish_reason": None, **piece}]})
        if body.stream_options and body.stream_options.include_usage:
            yield _data({**head, "choices": [], "usage": _usage(completions)})
        yield "data: [DONE]\n\n"
    except Refusal as refusal:  # too late for a status
        yield _data(error_body(refusal))


def _data(piece: dict[str, Any]) -> str:
    return f"data: {json.dumps(piece, ensure_ascii=False, separators=(',', ':'))}\n\n"


def _usage(completions: list[Completion]) -> dict[str, Any]:
    """Prompts count once an answer, since each is read; what was in memory already is told apart."""
    prompt = sum(completion.prompt_tokens for completion in completions)
    answer = sum(len(completion.ids) for completion in completions)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
        "prompt_tokens_details": {"cached_tokens": sum(completion.reused for completion in completions)},
    }


class EventStream(StreamingResponse):
    """A stream of server-sent events; its answers are closed however it ends."""

    def __init__(self, content: AsyncIterator[str], answers: Answers) -> None:
        super().__init__(content, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        with closing(self._answers):
            await super().__call__(scope, receive, send)
