"""Work ahead in a thread, without changing the order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from typing import TypeVar

T = TypeVar("T")


def prefetch(items: Iterator[T], ahead: int = 4) -> Generator[T]:
    """The same items; up to `ahead` of them are made by a thread before they are asked for.

    An exception of `items` is raised where its item would have come. The thread ends when the consumer
    closes this iterator.
    """
    ready: queue.Queue[tuple[str, T | BaseException | None]] = queue.Queue(ahead)
    closed = threading.Event()

    def put(kind: str, value: T | BaseException | None) -> None:
        while not closed.is_set():
            try:
                ready.put((kind, value), timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put("item", item)
                if closed.is_set():
                    return
            put("end", None)
        except BaseException as error:
            put("error", error)

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "end":
                return
            if kind == "error":
                assert isinstance(value, BaseException)
                raise value
            yield value  # pyright: ignore[reportReturnType]
    finally:
        closed.set()
        thread.join(timeout=5)
