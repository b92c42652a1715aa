"""The answers to one request, from asking the engine to the end of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from ..chat import Conversation
from ..engine import Event, Sampling
from ..engine.engine import Prompt
from .errors import Refusal
from .metrics import Metrics
from .models import Served

Asked = str | list[int] | Conversation
"""A text is put after `<|bos|>`; token ids are taken as they are."""


class Answers:
    """Opens a ticket for each of `prompts`; raises `Refusal` if the queue is full. `close` when nobody listens any
    more, however that came about."""

    def __init__(self, served: Served, metrics: Metrics, prompts: Sequence[Asked], sampling: Sampling) -> None:
        self.served, self.count = served, len(prompts)
        self._metrics, self._prompts, self._sampling = metrics, prompts, sampling
        self._tickets = served.worker.open(self.count)
        self._begun = time.monotonic()

    async def submit(self, *, tools: bool, slide: bool) -> None:
        """Ask the engine, beside the event loop. Each answer has its own seed. Raises `UserError` for a long prompt,
        and `Refusal` for a token that there is not."""
        await asyncio.to_thread(self._submit, tools, slide)

    async def events(self) -> AsyncGenerator[tuple[int, Event]]:
        """What is told, with the number of the answer, until all have ended. Raises `Refusal` if the engine fails."""
        silent = {ticket.index for ticket in self._tickets}
        while not all(ticket.over for ticket in self._tickets):
            ticket, event = await self._tickets[0].events.get()
            if isinstance(event, Exception):
                raise Refusal(500, f"the engine failed ({type(event).__name__}); the server's log says where")
            if ticket.index in silent:
                silent.remove(ticket.index)
                self._metrics.begun(self.served.name, time.monotonic() - self._begun)
            if event.completion is not None:
                ticket.over = True
                self._metrics.ended(self.served.name, time.monotonic() - self._begun, event.completion)
            yield ticket.index, event

    def close(self) -> None:
        """What has not ended is cancelled."""
        for ticket in self._tickets:
            if not ticket.over and not ticket.closed:
                self._metrics.cancelled(self.served.name)
            self.served.worker.close(ticket)

    def _submit(self, tools: bool, slide: bool) -> None:
        prompts = [self._encoded(asked) for asked in self._prompts]
        for ticket, prompt in zip(self._tickets, prompts, strict=True):
            sampling = replace(self._sampling, seed=self._sampling.seed + ticket.index)
            self.served.worker.submit(ticket, prompt, sampling, tools=tools, slide=slide)

    def _encoded(self, asked: Asked) -> Prompt:
        tokenizer = self.served.tokenizer
        if isinstance(asked, str):
            return [tokenizer.bos, *tokenizer.encode(asked)]
        if isinstance(asked, list) and (unknown := max(asked)) >= tokenizer.vocab_size:
            raise Refusal(
                400, f"prompt: there is no token {unknown}; the vocabulary has {tokenizer.vocab_size}", param="prompt"
            )
        return asked
