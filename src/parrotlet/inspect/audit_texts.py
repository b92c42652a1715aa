"""What can be wrong in the conversations and documents, before they are rows."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator

import numpy as np

from ..chat import Conversation
from ..data import Documents, TextSource
from ..errors import MOST_BAD_ROWS, BadRows, UserError
from ..stages import STAGES, Stage
from ..tasks import Task, TaskMixture
from ..tokenizer.stored import SPECIAL_TOKENS
from ..train import Sources, askable
from .findings import Finding, Kind, Places

ITEMS = 20_000
"""Conversations of a stage that a sample looks at: the first of the shuffled mixture."""
DOCUMENTS = 2_000
"""Documents of a source that a sample looks at, evenly spread."""
DUPLICATES_BOUND = 0.02
"""Share of the conversations that may be a copy of another: people do say the same now and then."""
TALK_BOUND = 0.05
"""Share of a validation set without a judge that training may hold word for word: greetings are the same everywhere."""
BAD_CHARACTERS_BOUND = 0.002
"""Share of a document's characters that may be signs of a wrong encoding."""

OTHERS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|eot_id|>", "<|end|>")
SPECIAL = re.compile("|".join(map(re.escape, (*SPECIAL_TOKENS, *OTHERS))))
BAD_CHARACTERS = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ufffd\ud800-\udfff]"  # control characters, replacements, lone surrogates
    r"|[\u00c2-\u00c3][\u00a0-\u00bf]|\u00e2\u20ac"  # UTF-8 that was read as Latin-1 or Windows-1252
)


ROWS_NAMED = 20
"""Rows that can't be read which a finding names, each with what is wrong."""


def audit_texts(sources: Sources, stage: Stage, *, full: bool) -> list[Finding]:
    """Look at the documents or conversations of a stage, and at what is held out from it."""
    try:
        return _documents(sources, full) if stage.reads == "documents" else _conversations(sources, stage, full)
    except BadRows as first:
        files = sources.bad_files(stage) or [first]
        messages = [message for file in files for message in file.messages.values()]
        kind: Kind = "malformed document" if stage.reads == "documents" else "malformed conversation"
        more = " or more" * any(len(file.messages) == MOST_BAD_ROWS for file in files)
        what = f"rows that can't be read: {len(messages):,}{more}"
        return [Finding(stage.name, kind, what, messages[:ROWS_NAMED], len(messages))]


def _conversations(sources: Sources, stage: Stage, full: bool) -> list[Finding]:
    recipe, settings = sources.recipe, sources.recipe.stage(stage.name)
    mixture = sources.mixture(settings.train)
    asked = dict.fromkeys((*settings.validation, *settings.tasks, *askable(recipe.eval.tasks)))
    held_out = [sources.task(spec) for spec in asked]
    audit = _ConversationAudit(mixture)
    for item in range(len(mixture) if full else min(len(mixture), ITEMS)):
        audit.look_at(item)
    return [*audit.findings(stage.name), *_leaks(stage.name, audit, held_out)]


class _ConversationAudit:
    def __init__(self, mixture: TaskMixture) -> None:
        self.mixture = mixture
        self.malformed, self.special, self.copies = Places(), Places(), Places()
        self.first_error = ""
        self.seen: set[tuple[int, int]] = set()
        self.whole: dict[bytes, str] = {}
        self.prompts: dict[bytes, str] = {}

    def look_at(self, item: int) -> None:
        place = self.mixture.locate(item)
        if place in self.seen:  # repeated on purpose
            return
        self.seen.add(place)
        task, of_task = self.mixture.tasks[place[0]], place[1]
        where = task.where(of_task)
        try:
            conversation = task[of_task]
        except UserError as error:
            self.first_error = self.first_error or str(error)
            self.malformed.add(where)
            return
        for number, message in enumerate(conversation.messages, start=1):
            if found := SPECIAL.search("".join(part.text for part in message.parts)):
                self.special.add(f"{where}, message {number} ({message.role}): {found[0]}")
        self._compare(conversation, where)

    def _compare(self, conversation: Conversation, where: str) -> None:
        key = _digest(conversation)
        if key in self.whole:
            self.copies.add(f"{where} is {self.whole[key]}")
        self.whole.setdefault(key, where)
        self.prompts.setdefault(_digest(conversation, prompt=True), where)

    def findings(self, stage: str) -> Iterator[Finding]:
        yield from self.malformed.finding(stage, "malformed conversation", self.first_error)
        what = f"messages with text that spells a special token: {self.special.count}"
        yield from self.special.finding(stage, "special-token text", what)
        if self.copies.count > DUPLICATES_BOUND * len(self.seen):
            what = f"{self.copies.count} of {len(self.seen)} conversations are the same as another"
            yield from self.copies.finding(stage, "duplicated conversations", what)


def _leaks(stage: str, audit: _ConversationAudit, held_out: Iterable[Task]) -> Iterator[Finding]:
    """A question that is judged must not be trained on at all; talk without a judge not word for word."""
    for task in held_out:
        trained = audit.whole if task.kind is None else audit.prompts
        places = Places()
        for index, conversation in enumerate(task):
            where = trained.get(_digest(conversation, prompt=task.kind is not None))
            if where is not None:
                places.add(f"{where} is {task.where(index)}")
        if places.count > (TALK_BOUND * len(task) if task.kind is None else 0):
            what = f"{places.count} of {len(task)} items of {task.name}, {task.split}, are trained on"
            yield from places.finding(stage, "held-out items in training", what)


def _digest(conversation: Conversation, prompt: bool = False) -> bytes:
    """Of the messages, or of all but the last answer; blanks and capitals make no difference."""
    messages = conversation.messages[:-1] if prompt else conversation.messages
    said = [(m.role, " ".join("".join(part.text for part in m.parts).lower().split())) for m in messages]
    return hashlib.blake2b(repr(said).encode(), digest_size=16).digest()


def _documents(sources: Sources, full: bool) -> list[Finding]:
    """What is wrong with the documents of base training, and whether validation documents are among them."""
    name, places, trained = STAGES["base"].name, Places(), set()
    for documents, index, text in _looked_at(sources.training_texts, full):
        if len(BAD_CHARACTERS.findall(text)) > BAD_CHARACTERS_BOUND * len(text):
            places.add(documents.where(index))
        trained.add(_text_digest(text))
    held_out = Places()
    for documents, index, text in _looked_at(sources.validation_texts, full):
        if _text_digest(text) in trained:
            held_out.add(documents.where(index))
    what = f"documents full of characters that a wrong encoding leaves: {places.count}"
    leaks = f"validation documents that are trained on: {held_out.count}"
    return [
        *places.finding(name, "unexpected encoding", what),
        *held_out.finding(name, "held-out items in training", leaks),
    ]


def _looked_at(sources: Iterable[TextSource], full: bool) -> Iterator[tuple[Documents, int, str]]:
    """The documents that are kept for this purpose, of all of them or of some of every source.

    Of remote files, a sample is of those that are here: a look before training must not fetch what training fetches.
    """
    for source in sources:
        for index in _spread(len(source.documents) if full else source.documents.known, full):
            if source.keep(text := source.documents[index]):
                yield source.documents, index, text


def _spread(size: int, full: bool) -> Iterable[int]:
    return range(size) if full or size <= DOCUMENTS else np.linspace(0, size - 1, DOCUMENTS).astype(int).tolist()


def _text_digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
