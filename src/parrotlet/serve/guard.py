"""Who may ask, and how much may be sent: looked at before anything else."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import Refusal

LOOPBACK = ("localhost", "127.0.0.1", "::1")
GUARDED = ("/v1/", "/api/", "/metrics")


class Guard:
    """Refuses bodies that are too large (413), wrong keys (401) and, without a key, foreign names of this computer
    (403): a web page elsewhere could otherwise have its name point here and read the answers.

    `hosts`: names under which the server may be asked; None: any.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        body_bytes: int,
        api_key: str | None,
        hosts: tuple[str, ...] | None,
        count: Callable[[str, int], None],
    ) -> None:
        self._app, self._body_bytes, self._hosts, self._count = app, body_bytes, hosts, count
        self._expected = None if api_key is None else f"Bearer {api_key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._count(scope["path"], message["status"])
            await send(message)

        refusal = self._refusal(scope["path"], Headers(scope=scope))
        await (refusal.response if refusal else self._app)(scope, self._bounded(receive), counted)

    def _refusal(self, path: str, headers: Headers) -> Refusal | None:
        if self._hosts is not None and _name(headers.get("host", "")) not in self._hosts:
            return Refusal(403, f"this server answers to {', '.join(self._hosts)} only")
        if path.startswith(GUARDED) and self._expected is not None:
            given = headers.get("authorization", "").encode()
            if not secrets.compare_digest(given, self._expected):
                return Refusal(401, "a key is needed: Authorization: Bearer KEY", code="invalid_api_key")
        length = headers.get("content-length", "0")
        return self._too_large if length.isdecimal() and int(length) > self._body_bytes else None

    @property
    def _too_large(self) -> Refusal:
        return Refusal(413, f"the request is larger than {self._body_bytes} bytes")

    def _bounded(self, receive: Receive) -> Receive:
        """For bodies that don't say how long they are."""
        read = 0

        async def bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._body_bytes:
                raise HTTPException(413, str(self._too_large))
            return message

        return bounded


def _name(host: str) -> str:
    """Without the port; IPv6 without its brackets."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
