"""The stages of a run as models that can be asked; each is loaded when it is first asked for."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass

from ..engine import Engine
from ..model import GPT
from ..stages import StageName
from ..tokenizer import Tokenizer
from ..train import Run, load_model
from .errors import Refusal
from .limits import Limits
from .worker import Worker


@dataclass(frozen=True, kw_only=True)
class Served:
    """A stage in memory. `model` and the engine's copy of it are the weights at the time of loading."""

    name: StageName
    model: GPT
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

    async def get(self, name: str) -> Served:
        """The stage of this name, loaded beside the event loop if need be. Raises `Refusal` (404) if there is none."""
        names = await asyncio.to_thread(self.names)
        stage: StageName | None = next((there for there in names if there == name), None)
        if stage is None:
            has = f"has {', '.join(names)}" if names else "has no trained stage yet"
            raise Refusal(404, f"no model {name!r}: {self.run.folder} {has}", param="model", code="model_not_found")
        async with self._locks[stage]:
            if stage not in self.loaded:
                self.loaded[stage] = await self._load(stage)
        return self.loaded[stage]

    async def _load(self, stage: StageName) -> Served:
        model, engine = await asyncio.to_thread(self._read, stage)
        return Served(name=stage, model=model, worker=Worker(engine, self.limits.rows + self.limits.queue))

    def _read(self, stage: StageName) -> tuple[GPT, Engine]:
        model = load_model(self.run, stage)
        return model, Engine(model, self.run.tokenizer(), rows=self.limits.rows)

    async def stop(self) -> None:
        """End all engines."""
        for served in self.loaded.values():
            await asyncio.to_thread(served.worker.stop)
