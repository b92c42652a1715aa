"""Spelling: a word, letter by letter.

A word inside a sentence is one or two tokens, and each of its letters is another one: nothing in the tokens
says how a word is spelled, so a model has to learn it. The answer repeats the word, then gives its letters, each
with the blank before it a token of its own.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Sequence

from ..chat import Conversation, Message
from .base import Split, Task, digest
from .judge import same_spelling
from .words import Draw

CHINESE_ONE_IN = 6
"""One in so many questions is asked, and answered, in Chinese."""

ENGLISH = (
    "Spell {word}",
    "Spell {word}.",
    "Spell the word {word}",
    "Spell the word {word}.",
    "Please spell {word}",
    "Please spell the word {word} for me.",
    "Can you spell {word}?",
    "Could you spell {word} for me?",
    "How do you spell {word}?",
    "How is {word} spelled?",
    "How is the word {word} spelled?",
    "What is the spelling of {word}?",
    "What letters are in {word}, in order?",
    "Which letters make up the word {word}?",
    "Spell out {word}, letter by letter.",
    "Spell {word} one letter at a time",
    "Break the word {word} into letters.",
    "Write {word} letter by letter",
    "List the letters of {word}.",
    "Give me the letters of {word}",
)
CHINESE = (
    "{word} 怎么拼？",
    "{word} 怎么拼写",
    "请拼写单词 {word}",
    "请把 {word} 逐个字母拼出来。",
    "单词 {word} 由哪些字母组成？",
    "帮我拼一下 {word}",
)
QUOTES = (*[""] * 6, "'", '"')
"""What people put around a word: mostly nothing."""
CASUAL_ONE_IN = 3
"""One in so many questions is typed without a capital and without a mark at the end."""


class WordTask(Task):
    """Items made from the words of a split: item i is a function of (split, i) and the words alone.

    Each word is used once before any is used again, then with another wording.
    """

    kind = "generative"

    def __init__(self, words: Sequence[str], split: Split, size: int | None = None) -> None:
        self.words, self.split = words, split
        self.size = len(words) if size is None else size
        self.dataset = f"made from {len(words):,} words"

    @property
    def fingerprint(self) -> str:
        """Of the words, the split and the number of items."""
        words = hashlib.sha256("\n".join(self.words).encode()).hexdigest()
        return digest(type(self).__name__, self.split, self.size, words)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Conversation:
        if not 0 <= index < self.size:
            raise IndexError(f"item {index} of {self.size}")
        return self.make(self.words[index % len(self.words)], Draw(type(self).__name__, self.split, index))

    def where(self, index: int) -> str:
        """Which item, and of which word."""
        return f"{self.name}, {self.split} item {index} ({self.words[index % len(self.words)]})"

    @abstractmethod
    def make(self, word: str, draw: Draw) -> Conversation:
        """A conversation about a word."""


class Spelling(WordTask):
    """Spell a word."""

    name = "spelling"

    def make(self, word: str, draw: Draw) -> Conversation:
        """One of many wordings; the answer is the same for all."""
        wording = draw.one_of(ENGLISH if draw.below(CHINESE_ONE_IN) else CHINESE)
        quote = draw.one_of(QUOTES)
        question = typed(wording.format(word=f"{quote}{word}{quote}"), draw)
        return Conversation((Message("user", question), Message("assistant", spell(word))))

    def judge(self, conversation: Conversation, answer: str) -> bool:
        """Whether the letters named are the word's."""
        return same_spelling(conversation.messages[-1].text, answer)


def typed(question: str, draw: Draw) -> str:
    """The question as people type it: now and then in a hurry."""
    return question if draw.below(CASUAL_ONE_IN) else question[0].lower() + question[1:].rstrip("?.？。")


def spell(word: str) -> str:
    """`cat` as `cat: c a t`."""
    return f"{word}: {' '.join(word)}"
