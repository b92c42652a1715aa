"""From a recipe to its data: texts, tasks, orders, validation batches, and their fingerprint."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ..chat import RENDER_VERSION
from ..data import (
    Batch,
    Documents,
    Order,
    PlanOrder,
    Row,
    Shuffle,
    SourceFile,
    StreamOrder,
    TextSource,
    held_out,
    keep_all,
    measure_pieces,
    plan_rows,
    validation_rows,
)
from ..data.find import check_numbering, find_files
from ..data.order import ORDER_VERSION
from ..data.plan import PIECES_VERSION, Pieces
from ..data.text_files import open_texts
from ..errors import BadRows, UserError
from ..evals.core_bundle import CoreTask, bundle_folder, read_bundle
from ..files import cache_folder, read_text, written_aside
from ..hub import Hub
from ..hub.pinned import WORD_LISTS, fetch_pinned
from ..progress import ProgressLine
from ..recipe import DocumentSettings, Recipe
from ..stages import Stage
from ..tasks import Task, TaskMixture, TaskSpec, build_task
from ..tasks.build import MADE
from ..tokenizer import Tokenizer
from ..world import WORLD_VERSION, write_world

WORLDS_WORDS = {"world": "words.txt", "world-common": "common_words.txt"}
"""The world's word lists, and their files."""
VALIDATION = "validation: "
"""Begins the name of a part of the data that is measured on."""


@functools.cache
def world_folder(documents: int) -> Path:
    """The embedded world, written into the cache folder the first time."""
    folder = cache_folder() / f"world-{WORLD_VERSION}-{documents}"
    if not folder.exists():
        line = ProgressLine("world", 0)
        with written_aside(folder) as aside:
            write_world(aside, documents=documents, on_progress=line)
        line.close()
    return folder


class Sources:
    """The data of a recipe."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    @functools.cached_property
    def hub(self) -> Hub:
        """Where datasets are read from."""
        chosen = self.recipe.data.hub
        return Hub(folder=None if chosen == "hub" else Path(chosen), world=self._world)

    @property
    def _world(self) -> Path:
        return world_folder(self.recipe.data.world_documents)

    def words(self, chosen: str) -> list[str]:
        """A word list of the spelling tasks: one of the world's, a pinned one, or a file."""
        if chosen in WORD_LISTS:
            return fetch_pinned(WORD_LISTS[chosen]).read_text("utf-8").split()
        path = self._world / "files" / WORLDS_WORDS[chosen] if chosen in WORLDS_WORDS else Path(chosen)
        if not path.is_file():
            there = ", ".join([*WORD_LISTS, *WORLDS_WORDS])
            raise UserError(f"{path}: no such word list (words); there are {there}, too")
        return read_text(path).split()

    def core_tasks(self) -> tuple[list[CoreTask], list[CoreTask]]:
        """CORE's tasks: those whose file is there, and the others. Raises `UserError` if the bundle can't be had."""
        return read_bundle(bundle_folder(self.recipe.data.core))

    def task(self, spec: TaskSpec) -> Task:
        """A task of the recipe."""
        words = self.words(spec.words or self.recipe.data.words) if spec.task in MADE else None
        return build_task(spec, self.hub, words)

    def mixture(self, specs: tuple[TaskSpec, ...]) -> TaskMixture:
        """Tasks shuffled together by the recipe's seed; made once."""
        return self.hub.once(specs, lambda: TaskMixture([self.task(spec) for spec in specs], self.recipe.seed))

    @functools.cached_property
    def training_texts(self) -> list[TextSource]:
        """What base reads, opened and checked once."""
        return [self._training_texts(settings) for settings in self.recipe.base.texts]

    @functools.cached_property
    def validation_texts(self) -> list[TextSource]:
        """What base is measured on: the files named for it, else the documents held out of the training files."""
        sources = zip(self.recipe.base.texts, self.training_texts, strict=True)
        found = [self._validation_texts(*each) for each in sources if each[0].validation or each[0].holdout]
        if not found:
            raise UserError("[base] documents: nothing to measure on; name files as validation, or give a holdout")
        return found

    def _training_texts(self, settings: DocumentSettings) -> TextSource:
        files = self._files(settings)
        rest = [file for file in files if Path(file.name).name not in settings.validation]
        chosen = rest[: settings.max_files]
        if settings.max_files and len(chosen) < settings.max_files:
            raise UserError(
                f"{settings.source}: max_files = {settings.max_files}, and there are {len(chosen)} files for training. "
                f"Add the others, or train on fewer with max_files = {len(chosen)}"
            )
        if chosen:
            between = files[files.index(chosen[0]) : files.index(chosen[-1]) + 1]
            check_numbering([file.name for file in between], settings.source)
        keep = keep_all if settings.validation else lambda text: not held_out(text, settings.holdout)
        return TextSource(documents=self._open(settings, chosen), weight=settings.weight, keep=keep)

    def _validation_texts(self, settings: DocumentSettings, training: TextSource) -> TextSource:
        if not settings.validation:
            return replace(training, keep=lambda text: held_out(text, settings.holdout))
        named = [file for file in self._files(settings) if Path(file.name).name in settings.validation]
        if missing := set(settings.validation) - {Path(file.name).name for file in named}:
            raise UserError(f"{settings.source}: validation names {', '.join(sorted(missing))}, which is not there")
        return TextSource(documents=self._open(settings, named), weight=settings.weight)

    def _files(self, settings: DocumentSettings) -> list[SourceFile]:
        return self.hub.once(("files", settings.source), lambda: find_files(settings.source, self.hub))

    def _open(self, settings: DocumentSettings, files: Sequence[SourceFile]) -> Documents:
        line = ProgressLine("texts", 0)
        documents = Documents(settings.source, files, settings.text, line)
        line.close()
        return documents

    def tokenizer_texts(self) -> Iterator[str]:
        """The texts that the tokenizer is trained on: training documents, shuffled, up to the recipe's bounds.

        Each source gives as many characters as its weight says.
        """
        settings, weights = self.recipe.tokenizer, sum(source.weight for source in self.training_texts)
        for source in self.training_texts:
            shuffle = Shuffle(source.documents, self.recipe.seed)
            left = settings.max_chars * source.weight / weights
            for number in itertools.count():
                epoch, _ = source.documents.locate(number)
                if left <= 0 or epoch:
                    break
                text = source.documents[shuffle[number]]
                if source.keep(text):
                    text = text[: settings.max_chars_per_document]
                    left -= len(text)
                    yield text

    def order(self, stage: Stage, tokenizer: Tokenizer) -> Order:
        """The training order of a stage."""
        settings, length = self.recipe.stage(stage.name), self.recipe.model.sequence_len
        if stage.reads == "documents":
            assert settings.tokens_per_step is not None
            return StreamOrder(
                self.training_texts,
                tokenizer,
                length=length,
                rows_per_step=settings.tokens_per_step // length,
                streams=self.recipe.data.streams,
                seed=self.recipe.seed,
                attends=stage.attends,
            )
        mixture = self.mixture(settings.train)
        pieces = self._pieces(mixture, tokenizer, stage.name)
        plan = plan_rows(
            pieces.length,
            mixture.phases[pieces.item],
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
        settings = self.recipe.stage(stage.name)
        rows = (
            self._text_rows(stage, tokenizer)
            if stage.reads == "documents"
            else self._conversation_rows(stage, tokenizer)
        )
        size = settings.micro_rows
        return [Batch.from_rows(rows[i : i + size], stage.attends) for i in range(0, len(rows), size)]

    def _text_rows(self, stage: Stage, tokenizer: Tokenizer) -> list[Row]:
        settings, length = self.recipe.stage(stage.name), self.recipe.model.sequence_len
        tokens = settings.eval_tokens / sum(source.weight for source in self.validation_texts)
        return [
            row
            for source in self.validation_texts
            for row in validation_rows(
                source.documents, tokenizer, length=length, max_tokens=tokens * source.weight, keep=source.keep
            )
        ]

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
        key = f"{mixture.fingerprint}:{tokenizer.fingerprint}:{length}:{RENDER_VERSION}:{PIECES_VERSION}"
        path = cache_folder() / "plans" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"
        if path.exists():
            return Pieces.load(path)
        line = ProgressLine(label, len(mixture))
        pieces = measure_pieces(mixture, tokenizer, length, line)
        line.close()
        pieces.save(path)
        return pieces

    def bad_files(self, stage: Stage) -> list[BadRows]:
        """What can't be read in each of a stage's files that are here; opening all of them stops at the first."""
        settings = self.recipe.stage(stage.name)
        if stage.reads == "documents":
            files = [(each, file) for each in self.recipe.base.texts for file in self._files(each) if not file.remote]
            opened = [functools.partial(self._check, *pair) for pair in files]
        else:
            specs = (*settings.train, *settings.validation, *settings.tasks, *self.recipe.eval.tasks)
            opened = [functools.partial(self.task, spec) for spec in specs]
        found = {str(error): error for open_one in opened if (error := _bad_rows(open_one))}
        return list(found.values())

    def _check(self, settings: DocumentSettings, file: SourceFile) -> None:
        line = ProgressLine("texts", 0)
        try:
            open_texts(file.fetch(), settings.text, file.name, line).check(line)
        finally:
            line.close()

    def fingerprints(self, stage: Stage, tokenizer: Tokenizer) -> dict[str, str]:
        """What a stage's batches, of training and of validation, follow from, part by part: one of these changes when
        the batches do."""
        rendering = str(RENDER_VERSION)
        if stage.reads == "documents":
            parts = {source.documents.name: source.documents.fingerprint for source in self.training_texts}
            measured = {source.documents.name: source.documents.fingerprint for source in self.validation_texts}
        else:
            rendering += f", rows {PIECES_VERSION}"
            settings = self.recipe.stage(stage.name)
            parts, measured = (
                {f"{number}. {task.name}": task.fingerprint for number, task in enumerate(tasks, start=1)}
                for tasks in (
                    self.mixture(specs).tasks if specs else () for specs in (settings.train, settings.validation)
                )
            )
        parts |= {f"{VALIDATION}{name}": each for name, each in measured.items() if each not in parts.values()}
        return parts | {
            "the tokenizer": tokenizer.fingerprint,
            "the rendering": rendering,
            "the order": str(ORDER_VERSION),
        }


def _bad_rows(open_one: Callable[[], object]) -> BadRows | None:
    try:
        open_one()
    except BadRows as error:
        return error
    except UserError:  # what else is wrong is said when the rows are mended
        return None
    return None
