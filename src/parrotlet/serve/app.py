"""The application: API, the run's figures, and the page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from ..train import Run
from .errors import add_error_handlers
from .guard import LOOPBACK, Guard
from .limits import Limits
from .metrics import Metrics
from .models import Models
from .routes import answer_routes, state_routes
from .views import view_routes

PAGE = Path(__file__).parent / "page"


CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
)
"""Nothing is fetched from elsewhere. Inline: x-rays, in their frame, are pages of one file."""


class PageFiles(StaticFiles):
    """The page's files; browsers ask whether they have changed each time, since a server may be a newer version."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """One file."""
        response = super().file_response(*args, **kwargs)
        response.headers["Content-Security-Policy"] = CONTENT_POLICY
        response.headers["Cache-Control"] = "no-cache"
        return response


def build_app(run: Run, limits: Limits, *, api_key: str | None = None, host: str | None = LOOPBACK[0]) -> FastAPI:
    """The application that serves a run.

    `api_key`: what clients must send. `host`: without a key, answer only where asked under this name or those of the
    loopback; None: under whatever name.
    """
    models, metrics = Models(run, limits), Metrics()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await models.stop()

    app = FastAPI(title="Parrotlet", lifespan=lifespan, docs_url=None, redoc_url=None)
    add_error_handlers(app)
    for router in (answer_routes(models, metrics), state_routes(models, metrics), view_routes(run)):
        app.include_router(router)
    known = set(app.openapi()["paths"])
    app.mount("/", PageFiles(directory=PAGE, html=True))

    def count(path: str, status: int) -> None:
        metrics.requests.labels(path if path in known else "other", str(status)).inc()

    hosts = None if host is None or api_key else tuple(dict.fromkeys((*LOOPBACK, host)))
    app.add_middleware(Guard, body_bytes=limits.body_bytes, api_key=api_key, hosts=hosts, count=count)
    return app
