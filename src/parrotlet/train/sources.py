"""From a recipe to its data: texts, tasks, orders, validation batches, and their fingerprint."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from ..chat import RENDER_VERSION
from ..data import (
    Batch,
    Documents,
    Order,
    PlanOrder,
    Row,
    Shuffle,
    StreamOrder,
    held_out,
    measure_pieces,
    plan_rows,
    validation_rows,
)
from ..data.plan import Pieces
from ..errors import UserError
from ..files import cache_folder, written_aside
from ..hub import Hub
from ..recipe import DocumentSettings, Recipe
from ..stages import Stage
from ..tasks import Task, TaskMixture, TaskSpec, build_task
from ..tokenizer import Tokenizer
from ..world import WORLD_VERSION, write_world
from .progress import ProgressLine

HUB_PREFIX = "hf://datasets/"


@functools.cache
def world_folder() -> Path:
    """The embedded world, written into the cache folder the first time."""
    folder = cache_folder() / f"world-{WORLD_VERSION}"
    if not folder.exists():
        with written_aside(folder) as aside:
            write_world(aside)
    return folder


class Sources:
    """The data of a recipe."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    @functools.cached_property
    def hub(self) -> Hub:
        """Where datasets are read from."""
        chosen = self.recipe.data.hub
        return Hub(folder=None if chosen == "hub" else Path(chosen), world=world_folder())

    @functools.cached_property
    def words(self) -> list[str]:
        """The word list of the spelling tasks."""
        chosen = self.recipe.data.words
        path = world_folder() / "files" / "words.txt" if chosen == "world" else Path(chosen)
        if not path.is_file():
            raise UserError(f"{path}: no such word list (data.words)")
        return path.read_text("utf-8").split()

    def task(self, spec: TaskSpec) -> Task:
        """A task of the recipe."""
        return build_task(spec, self.hub, self.words)

    def mixture(self, specs: tuple[TaskSpec, ...]) -> TaskMixture:
        """Tasks shuffled together by the recipe's seed."""
        return TaskMixture([self.task(spec) for spec in specs], self.recipe.seed)

    def documents(self, validation: bool) -> tuple[Documents, Callable[[str], bool]]:
        """The training or the validation texts, and which of their documents to keep."""
        settings = self.recipe.base.documents
        assert settings is not None
        files = self._files(settings)
        named = [name for name in files if Path(name).name in settings.validation]
        if missing := set(settings.validation) - {Path(name).name for name in named}:
            raise UserError(f"{settings.source}: validation names {', '.join(sorted(missing))}, which is not there")
        rest = [name for name in files if name not in named][: settings.max_files]
        chosen = named if validation and named else rest
        documents = Documents(settings.source, [files[name]() for name in chosen], settings.text)
        if named:
            return documents, lambda text: True
        return documents, lambda text: held_out(text, settings.holdout) == validation

    def _files(self, settings: DocumentSettings) -> dict[str, Callable[[], Path]]:
        """Names of the files of a source in order, each with what brings it here."""
        if settings.source.startswith(HUB_PREFIX):
            parts = settings.source.removeprefix(HUB_PREFIX).split("/", 2)
            if len(parts) < 3:
                raise UserError(f"{settings.source}: which files? Such as {settings.source.rstrip('/')}/*.parquet")
            org, name, pattern = parts
            repo = f"{org}/{name}"
            paths = self.hub.dataset_files(repo, pattern)
            return {path: functools.partial(self.hub.dataset_file, repo, path) for path in paths}
        folder = Path(settings.source)
        found = sorted(folder.parent.glob(folder.name)) if not folder.is_dir() else sorted(folder.iterdir())
        if not found:
            raise UserError(f"{settings.source}: no such file")
        return {str(path): functools.partial(Path, path) for path in found}

    def tokenizer_texts(self) -> Iterator[str]:
        """The texts that the tokenizer is trained on: training documents, shuffled, up to the recipe's bounds."""
        documents, keep = self.documents(validation=False)
        settings = self.recipe.tokenizer
        shuffle = Shuffle(documents, self.recipe.seed)
        left = settings.max_chars
        for number in range(len(documents)):
            text = documents[shuffle[number]]
            if left <= 0:
                return
            if keep(text):
                text = text[: settings.max_chars_per_document]
                left -= len(text)
                yield text

    def order(self, stage: Stage, tokenizer: Tokenizer) -> Order:
        """The training order of a stage."""
        settings, length = self.recipe.stage(stage.name), self.recipe.model.sequence_len
        if stage.reads == "documents":
            documents, keep = self.documents(validation=False)
            assert settings.tokens_per_step is not None
            return StreamOrder(
                documents,
                tokenizer,
                length=length,
                rows_per_step=settings.tokens_per_step // length,
                streams=self.recipe.data.streams,
                seed=self.recipe.seed,
                keep=keep,
                attends=stage.attends,
            )
        mixture = self.mixture(settings.train)
        pieces = self._pieces(mixture, tokenizer, stage.name)
        plan = plan_rows(
            pieces.length,
            row_length=length,
            rows_per_step=settings.tokens_per_step // length if settings.tokens_per_step else None,
            conversations_per_step=settings.conversations_per_step,
            epochs=settings.epochs,
            seed=self.recipe.seed,
        )
        return PlanOrder(
            mixture, tokenizer, pieces, plan, length=length, supervision=stage.supervision, attends=stage.attends
        )

    def validation_batches(self, stage: Stage, tokenizer: Tokenizer) -> list[Batch]:
        """What a stage's validation loss is measured on, the same at every step and in every run."""
        settings, length = self.recipe.stage(stage.name), self.recipe.model.sequence_len
        if stage.reads == "documents":
            documents, keep = self.documents(validation=True)
            rows = validation_rows(documents, tokenizer, length=length, max_tokens=settings.eval_tokens, keep=keep)
        else:
            rows = self._conversation_rows(stage, tokenizer)
        size = settings.device_batch_size
        return [Batch.from_rows(rows[i : i + size], stage.attends) for i in range(0, len(rows), size)]

    def _conversation_rows(self, stage: Stage, tokenizer: Tokenizer) -> list[Row]:
        settings, length = self.recipe.stage(stage.name), self.recipe.model.sequence_len
        if not settings.validation:
            return []
        mixture = self.mixture(settings.validation)
        pieces = self._pieces(mixture, tokenizer, f"{stage.name} validation")
        plan = plan_rows(pieces.length, row_length=length, rows_per_step=1, seed=self.recipe.seed)
        order = PlanOrder(mixture, tokenizer, pieces, plan, length=length, supervision=stage.supervision)
        return [order.row(i) for i in range(min(plan.steps, -(-settings.eval_tokens // length)))]

    def _pieces(self, mixture: TaskMixture, tokenizer: Tokenizer, label: str) -> Pieces:
        """The lengths of a mixture's conversations, computed once and cached by fingerprint."""
        length = self.recipe.model.sequence_len
        key = f"{mixture.fingerprint}:{tokenizer.fingerprint}:{length}:{RENDER_VERSION}"
        path = cache_folder() / "plans" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"
        if path.exists():
            return Pieces.load(path)
        line = ProgressLine(label, len(mixture))
        pieces = measure_pieces(mixture, tokenizer, length, line)
        line.close()
        path.parent.mkdir(parents=True, exist_ok=True)
        pieces.save(path)
        return pieces

    def fingerprint(self, stage: Stage, tokenizer: Tokenizer) -> str:
        """Changes when a stage's training data, its tokenizer or the rendering do."""
        settings = self.recipe.stage(stage.name)
        if stage.reads == "documents":
            data = self.documents(validation=False)[0].fingerprint
        else:
            data = self.mixture(settings.train).fingerprint
        shape = [self.recipe.seed, self.recipe.data.streams, self.recipe.model.sequence_len, RENDER_VERSION]
        return hashlib.sha256(json.dumps([data, tokenizer.fingerprint, shape]).encode()).hexdigest()
