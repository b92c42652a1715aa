"""A stage's engine in a thread of its own, and answers that coroutines wait for.

The event loop never computes: it opens tickets, and gets their events from the thread.
"""

from __future__ import annotations

import asyncio
import logging
import threading

from ..engine import Engine, Event, Sampling
from ..engine.engine import Prompt
from .errors import Refusal

LOG = logging.getLogger("parrotlet.serve")
IDLE_SECONDS = 0.2
"""How long the thread sleeps at most before it looks whether it shall end."""


Told = Event | Exception


class Ticket:
    """One answer that is waited for. Belongs to the event loop that opened it."""

    def __init__(self, index: int, events: asyncio.Queue[tuple[Ticket, Told]]) -> None:
        self.index, self.events = index, events
        """Its number among those of one request, which share their events."""
        self.request: int | None = None
        self.closed = self.over = False


class Worker:
    """Steps an engine for as long as there is something to do.

    `capacity`: tickets that may be open at a time. `open` and `close` belong to the event loop that makes the worker;
    `submit` may be called from any thread, since it renders and encodes, which takes time.
    """

    def __init__(self, engine: Engine, capacity: int) -> None:
        self.engine, self.open_tickets = engine, 0
        self._capacity = capacity
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._tickets: dict[int, Ticket] = {}
        self._early: dict[int, list[Told]] = {}
        """Events of requests whose ticket is not known yet: the engine may begin before `submit` is back."""
        self._given_up: set[int] = set()
        """Requests that a failure of the engine has ended, but not for the engine yet."""
        self._retired = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def open(self, count: int) -> list[Ticket]:
        """Tickets for so many answers to one request, all or none; raises `Refusal` (429) if there is no room."""
        if self.open_tickets + count > self._capacity:
            raise Refusal(
                429,
                f"{self.open_tickets} answers are being written or wait, and {self._capacity} are the most; try again",
                code="queue_full",
            )
        self.open_tickets += count
        events: asyncio.Queue[tuple[Ticket, Told]] = asyncio.Queue()
        return [Ticket(index, events) for index in range(count)]

    def submit(self, ticket: Ticket, prompt: Prompt, sampling: Sampling, *, tools: bool, slide: bool = False) -> None:
        """Ask the engine. Raises `UserError` if the prompt leaves no room in the context."""
        request = self.engine.submit(prompt, sampling, tools=tools, slide=slide)
        with self._lock:
            self._tickets[request] = ticket
            early = self._early.pop(request, [])
            self._send([(ticket, event) for event in early])
        ticket.request = request
        if ticket.closed:
            self.engine.cancel(request)

    def close(self, ticket: Ticket) -> None:
        """Nobody waits for it any more: the engine ends what it has not ended."""
        if ticket.closed:
            return
        ticket.closed = True
        self.open_tickets -= 1
        if ticket.request is not None and not ticket.over:
            self.engine.cancel(ticket.request)
        self._end_if_retired()

    def retire(self) -> None:
        """End the thread once the tickets that are open are closed; no other is opened."""
        self._retired = True
        self._end_if_retired()

    def stop(self) -> None:
        """End the thread, after the step that it is in."""
        self._stopping.set()
        self._thread.join()

    def _end_if_retired(self) -> None:
        if self._retired and not self.open_tickets:
            self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            if self.engine.wait(IDLE_SECONDS):
                try:
                    events = self.engine.step()
                except Exception as error:  # a bug; without this every later request would wait for ever
                    LOG.exception("the engine failed; what it was writing is given up")
                    self._fail(error)
                    self._stopping.wait(IDLE_SECONDS)  # what fails for good must not fill the log and the core
                else:
                    self._tell(events)

    def _tell(self, events: list[Event]) -> None:
        told: list[tuple[Ticket, Told]] = []
        with self._lock:
            for event in events:
                if event.request in self._given_up:
                    if event.kind == "end":
                        self._given_up.remove(event.request)
                    continue
                ticket = self._tickets.get(event.request)
                if ticket is None:
                    self._early.setdefault(event.request, []).append(event)
                    continue
                told.append((ticket, event))
                if event.kind == "end":
                    del self._tickets[event.request]
            self._send(told)

    def _fail(self, error: Exception) -> None:
        with self._lock:
            for request in self._tickets:
                self.engine.cancel(request)
            self._send([(ticket, error) for ticket in self._tickets.values()])
            self._given_up |= self._tickets.keys()
            self._tickets.clear()

    def _send(self, told: list[tuple[Ticket, Told]]) -> None:
        """To the event loop, in one go; in the order of the calls, since the lock is held."""
        if told:
            self._loop.call_soon_threadsafe(_put, told)


def _put(told: list[tuple[Ticket, Told]]) -> None:
    for ticket, event in told:
        ticket.events.put_nowait((ticket, event))
