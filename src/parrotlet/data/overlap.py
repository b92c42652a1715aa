"""Contamination: what an evaluation asks and a training text already holds, by shared n-grams of words.

An item is found in a training document if most of its n-grams stand in it, or as many as a stretch of twenty words has.
(GPT-3, arXiv:2005.14165, appendix C, took any one n-gram of 13 words; asking for more raises fewer false alarms.)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..chat import Conversation
from ..tasks import Task
from ..tasks.choice import question_of
from .order import TextSource

NGRAM = 10
"""Words."""
SHARE = 0.7
"""Of an item's n-grams that one document has to hold, if that is fewer than `ENOUGH`."""
ENOUGH = 11
"""n-grams: what a stretch of twenty words has of ten words each."""
COMMON = 0.01
"""An n-gram that more of the items share than this belongs to the way of asking, not to the item."""

_WORD = re.compile(r"[㐀-䶿一-鿿぀-ヿ]|[^\W_㐀-䶿一-鿿぀-ヿ]+")
"""A run of letters and digits; of Chinese and Japanese, which have no blanks, each character."""


@dataclass(frozen=True)
class Passage:
    """An item of an evaluation that stands in a training text."""

    item: str
    """Where the item is from."""
    document: str
    """Where it stands in the training data."""
    share: float
    """How many of the item's n-grams are there, from 0 to 1."""
    text: str
    """The passage of the training text."""


@dataclass
class Overlap:
    """A training source against an evaluation set."""

    source: str
    task: str
    items: int
    too_short: int
    """Items with fewer words than an n-gram: nothing can be said of them."""
    found: dict[int, Passage] = field(default_factory=dict)
    """By the number of the item: where most of it stands."""


class Questions:
    """The n-grams of what some evaluations ask, to look for in texts."""

    def __init__(self, tasks: Sequence[Task], ngram: int = NGRAM) -> None:
        self.tasks, self.ngram = tasks, ngram
        self._numbers: dict[str, int] = {}
        """Of every word that is asked, from 1; 0 is any other."""
        self._factors = np.random.default_rng(0).integers(1, 2**63, ngram, dtype=np.uint64) | np.uint64(1)
        items = [(t, i, asked(task[i])) for t, task in enumerate(tasks) for i in range(len(task))]
        for _, _, text in items:
            for word in words(text):
                self._numbers.setdefault(word, len(self._numbers) + 1)
        hashes = {(t, i): np.unique(self._hashes(text)) for t, i, text in items}
        self._of_hash: dict[int, list[tuple[int, int]]] = {}
        self._size: Counter[tuple[int, int]] = Counter()
        for t, task in enumerate(tasks):
            self._index(hashes, t, max(3, int(COMMON * len(task))))
        self._wanted = np.array(sorted(self._of_hash), dtype=np.uint64)

    def _index(self, hashes: dict[tuple[int, int], np.ndarray], task: int, most: int) -> None:
        own = {key: found for key, found in hashes.items() if key[0] == task}
        often = Counter(int(h) for found in own.values() for h in found)
        for key, found in own.items():
            for h in map(int, found):
                if often[h] <= most:
                    self._of_hash.setdefault(h, []).append(key)
                    self._size[key] += 1

    def overlaps(self, source: str, documents: Iterable[tuple[Callable[[], str], str]]) -> list[Overlap]:
        """Look for every task's items in the documents of a source, each given as its place and its text."""
        pairs = [
            Overlap(source, task.name, len(task), sum(not self._size[t, i] for i in range(len(task))))
            for t, task in enumerate(self.tasks)
        ]
        for where, text in documents:
            for (t, i), count in self._counts(text).items():
                before, share = pairs[t].found.get(i), count / self._size[t, i]
                if (share >= SHARE or count >= ENOUGH) and (before is None or share > before.share):
                    pairs[t].found[i] = Passage(self.tasks[t].where(i), where(), share, self._passage(text, (t, i)))
        return pairs

    def _hashes(self, text: str) -> np.ndarray:
        """(N,) uint64: one hash for every n-gram of the text."""
        numbers = np.array([self._numbers.get(word, 0) for word in words(text)], dtype=np.uint64)
        if len(numbers) < self.ngram:
            return np.empty(0, dtype=np.uint64)
        windows = np.lib.stride_tricks.sliding_window_view(numbers, self.ngram)
        hashes = (windows * self._factors).sum(axis=1, dtype=np.uint64)
        return hashes ^ (hashes >> np.uint64(29))

    def _counts(self, text: str) -> Counter[tuple[int, int]]:
        """How many n-grams of which items stand in a text."""
        hashes = np.unique(self._hashes(text))
        places = np.searchsorted(self._wanted, hashes)
        hits = hashes[self._wanted[np.minimum(places, len(self._wanted) - 1)] == hashes] if len(self._wanted) else []
        return Counter(key for h in hits for key in self._of_hash[int(h)])

    def _passage(self, text: str, key: tuple[int, int]) -> str:
        spans = [match.span() for match in _WORD.finditer(text.lower())]
        at = [n for n, h in enumerate(self._hashes(text)) if key in self._of_hash.get(int(h), ())]
        return text[spans[at[0]][0] : spans[at[-1] + self.ngram - 1][1]]


def words(text: str) -> list[str]:
    """The words of a text in small letters, without punctuation."""
    return _WORD.findall(text.lower())


def asked(conversation: Conversation) -> str:
    """What the user says: the question, without its answer; of multiple choice, without the choices, too."""
    if conversation.letters:
        return question_of(conversation)
    return "\n".join(message.text for message in conversation.messages if message.role == "user")


def documents_of(source: TextSource) -> Iterator[tuple[Callable[[], str], str]]:
    """Place and text of every document of a source that is trained on."""
    for i in range(len(source.documents)):
        text = source.documents[i]
        if source.keep(text):
            yield lambda i=i: source.documents.where(i), text


def conversations_of(task: Task) -> Iterator[tuple[Callable[[], str], str]]:
    """Place and text of every conversation of a task."""
    for i in range(len(task)):
        parts = (part.text for message in task[i].messages for part in message.parts)
        yield lambda i=i: task.where(i), "\n".join(parts)
