"""The routes of the API: chats, completions, models, health, metrics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from ..stages import StageName
from ..train.checkpoint import read_state
from .answers import Answers
from .errors import Refusal
from .forms import ChatForm, CompletionForm
from .metrics import Metrics
from .models import Models
from .protocol import ChatRequest, CompletionRequest
from .respond import respond


def answer_routes(models: Models, metrics: Metrics) -> APIRouter:
    """Chats and completions."""
    router = APIRouter()

    @router.post("/v1/chat/completions", response_model=None)
    async def chat_completions(request: Request, body: ChatRequest) -> Response:
        """Answer the last message of a conversation."""
        _check_room("messages", len(body.messages), models.limits.messages)
        _check_room("n", body.n, models.limits.choices)
        conversation = body.conversation
        served = await models.get(body.model)
        answers = Answers(served, metrics, [conversation] * body.n, body.sampling())
        return await respond(
            request, answers, ChatForm(served.tokenizer), body, tools=body.calculator, slide=body.slide
        )

    @router.post("/v1/completions", response_model=None)
    async def completions(request: Request, body: CompletionRequest) -> Response:
        """Go on with a text, or with token ids."""
        _check_room("n, times the prompts,", body.n * len(body.prompts), models.limits.choices)
        served = await models.get(body.model)
        prompts = [prompt for prompt in body.prompts for _ in range(body.n)]
        answers = Answers(served, metrics, prompts, body.sampling())
        return await respond(request, answers, CompletionForm(served.tokenizer), body, tools=False, slide=False)

    return router


def state_routes(models: Models, metrics: Metrics) -> APIRouter:
    """Which models there are, and how the server is."""
    router = APIRouter()

    @router.get("/v1/models")
    def list_models() -> dict[str, Any]:
        """Every trained stage of the run, the latest first."""
        return {"object": "list", "data": [_model(models, name) for name in models.names()]}

    @router.get("/v1/models/{name}")
    def retrieve_model(name: str) -> dict[str, Any]:
        """One stage."""
        return _model(models, models.find(name))

    @router.get("/health")
    def health() -> dict[str, Any]:
        """That the server is there, and which stages are in memory."""
        return {"status": "ok", "loaded": list(models.loaded)}

    @router.get("/metrics", response_class=PlainTextResponse)
    def prometheus() -> PlainTextResponse:
        """Figures for Prometheus."""
        return PlainTextResponse(metrics.text(models), media_type="text/plain; version=0.0.4")

    return router


def _model(models: Models, name: StageName) -> dict[str, Any]:
    folder = models.run.newest(name)
    step = read_state(folder)["step"]
    created, owner = int((folder / "state.json").stat().st_mtime), models.run.recipe.name
    return {"id": name, "object": "model", "created": created, "owned_by": owner, "step": step}


def _check_room(what: str, count: int, most: int) -> None:
    if count > most:
        raise Refusal(400, f"{what} may be {most} at most; found {count}")
