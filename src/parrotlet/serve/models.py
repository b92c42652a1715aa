"""The stages of a run as models that can be asked; each is loaded when it is first asked for, and anew when it has a
newer checkpoint."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass

from ..engine import Engine
from ..errors import UserError
from ..stages import StageName
from ..tokenizer import Tokenizer
from ..train import Run, load_model
from .errors import Refusal
from .limits import Limits
from .worker import Worker


@dataclass(frozen=True, kw_only=True)
class Served:
    """A stage in memory."""

    name: StageName
    checkpoint: str
    """Whose weights these are: `Run.identity`."""
    worker: Worker

    @property
    def tokenizer(self) -> Tokenizer:
        """The run's."""
        return self.worker.engine.tokenizer


class Models:
    """The stages of a run."""

    def __init__(self, run: Run, limits: Limits) -> None:
        self.run, self.limits = run, limits
        self.loaded: dict[StageName, Served] = {}
        self._locks: defaultdict[StageName, asyncio.Lock] = defaultdict(asyncio.Lock)

    def names(self) -> list[StageName]:
        """The stages that there are, the latest first."""
        return self.run.stages()[::-1]

    def find(self, name: str) -> StageName:
        """The stage of this name; raises `Refusal` (404) if it is not trained."""
        names = self.names()
        stage: StageName | None = next((there for there in names if there == name), None)
        if stage is None:
            has = f"has {', '.join(names)}" if names else "has no trained stage yet"
            raise Refusal(404, f"no model {name!r}: {self.run.folder} {has}", param="model", code="model_not_found")
        return stage

    async def get(self, name: str) -> Served:
        """The stage of this name as its last checkpoint is, loaded beside the event loop if need be.

        Open tickets before anything else is awaited: a worker whose stage is loaded anew ends with its last ticket.
        Raises `Refusal`: 404 if there is no such stage, 503 if its checkpoint can't be read.
        """
        stage = await asyncio.to_thread(self.find, name)
        async with self._locks[stage]:
            before = self.loaded.get(stage)
            checkpoint = await asyncio.to_thread(self.run.identity, stage)
            if before is None or before.checkpoint != checkpoint:
                engine = await asyncio.to_thread(self._read, stage)
                worker = Worker(engine, self.limits.rows + self.limits.queue)
                self.loaded[stage] = Served(name=stage, checkpoint=checkpoint, worker=worker)
                if before is not None:
                    before.worker.retire()
        return self.loaded[stage]

    def _read(self, stage: StageName) -> Engine:
        try:
            return Engine(load_model(self.run, stage), self.run.tokenizer(), rows=self.limits.rows)
        except UserError as error:
            raise Refusal(503, str(error)) from None

    async def stop(self) -> None:
        """End all engines."""
        for served in self.loaded.values():
            await asyncio.to_thread(served.worker.stop)
