"""A server as clients meet it: on a real socket, in a thread."""

import threading
from contextlib import contextmanager

import uvicorn

from parrotlet.serve.app import build_app
from parrotlet.serve.limits import Limits
from parrotlet.serve.server import bind

SMALL = Limits(rows=4, queue=4)


@contextmanager
def serving(run, limits=SMALL, *, host="127.0.0.1", **options):
    """The address of a server of the run."""
    app = build_app(run, limits, host=host, **options)
    config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=5)
    with bind(host, 0) as bound:
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            yield f"http://{host}:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
