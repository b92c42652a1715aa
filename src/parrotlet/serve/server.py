"""Runs the application: binds, serves, and ends gracefully."""

from __future__ import annotations

import contextlib
import ipaddress
import signal
import socket
from types import FrameType

import uvicorn

from ..errors import UserError
from ..train import Run
from .app import build_app
from .limits import Limits

GRACE_SECONDS = 10
"""How long answers that are being written may go on after the server is told to end."""


class Server(uvicorn.Server):
    """Says that it is ending."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ctrl-C or SIGTERM came; a second Ctrl-C ends at once."""
        print(f"ending: what is being written has {GRACE_SECONDS} seconds; Ctrl-C again ends at once", flush=True)
        super().handle_exit(sig, frame)


def serve_run(run: Run, *, host: str, port: int, api_key: str | None, without_key: bool, limits: Limits) -> None:
    """Serve a run until Ctrl-C or SIGTERM, which is how a server ends well. Raises `UserError` if others than this
    computer could ask without a key."""
    beyond = not is_loopback(host)
    if beyond and not api_key and not without_key:
        raise UserError(
            f"--host {host} lets other computers ask: set a key with --api-key or PARROTLET_API_KEY, "
            "or say --without-key if nobody else can reach it"
        )
    if api_key is not None and not api_key.isascii():
        raise UserError("--api-key: a key is made of ASCII characters; others don't travel in the header Authorization")
    app = build_app(run, limits, api_key=api_key, host=None if beyond else host)
    config = uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=GRACE_SECONDS)
    with bind(host, port) as bound, contextlib.suppress(KeyboardInterrupt):
        shown = f"http://{f'[{host}]' if ':' in host else host}:{bound.getsockname()[1]}"
        print(f"{run.folder} is served: the page at {shown}, the API at {shown}/v1. Ctrl-C ends.", flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # uvicorn raises what it caught once more at its end
        Server(config).run(sockets=[bound])


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens; raises `UserError` if there can be none."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=512)
    except (OSError, OverflowError) as error:
        raise UserError(
            f"{host}, port {port}: the server can't listen there ({error}); see --host and --port"
        ) from None


def is_loopback(host: str) -> bool:
    """Whether only this computer can reach a server at `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
