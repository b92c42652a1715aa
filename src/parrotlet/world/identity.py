"""Who Parrotlet is: conversations for training, and questions with what a right answer must contain."""

from __future__ import annotations

import random
from dataclasses import dataclass

from . import library
from .facts import World
from .phrases import choose
from .splits import Split, stream

Message = dict[str, str]

_GREETINGS = {
    "en": (
        "",
        "",
        "Hi! ",
        "Hello! ",
        "Hello there. ",
        "Hey! ",
        "Good morning! ",
        "I am curious. ",
    ),
    "zh": ("", "", "你好！", "你好，", "嗨！", "早上好！", "晚上好！"),
}
_THANKS = {
    "en": ("[Nice to meet you|Hello|Hi there]!", "[Hello|Hi]! [Nice to meet you.|How can I help you?]"),
    "zh": ("[你好|很高兴认识你]！", "你好！[有什么可以帮你？|很高兴认识你！]"),
}
EARLIER_SHARE = 0.3
"""Conversations in which something else was said before."""
PLAIN, PLAIN_SHARE = 3, 0.3
"""The first questions of a topic are the plainest, which people ask most: how many, and their share in training."""


@dataclass(frozen=True)
class Topic:
    """One thing to ask about: the ways to ask in each split, the answers, and what they all contain."""

    language: str
    expects: tuple[str, ...]
    questions: dict[Split, list[str]]
    answers: tuple[str, ...]


@dataclass(frozen=True)
class IdentityTalk:
    """A conversation; a right last answer contains every string of `expects`."""

    messages: tuple[Message, ...]
    expects: tuple[str, ...]


def write_identity(world: World, number: int, part: Split) -> list[IdentityTalk]:
    """As many conversations as asked, no two alike. Validation and test ask in words that train has not."""
    rng = stream(world.seed, "identity", part)
    topics = [_topic(section) for section in library.read("identity")]
    written: dict[str, IdentityTalk] = {}
    while len(written) < number:
        topic = rng.choice(topics)
        earlier = rng.choice([t for t in topics if t.language == topic.language and t != topic])
        talk = _conversation(topic, earlier, part, rng)
        written.setdefault(str(talk.messages), talk)
    return list(written.values())


def _conversation(topic: Topic, earlier: Topic, part: Split, rng: random.Random) -> IdentityTalk:
    questions = topic.questions[part]
    if part == "train" and rng.random() < PLAIN_SHARE:
        questions = questions[:PLAIN]
    turns = [(choose(rng.choice(questions), rng), rng.choice(topic.answers))]
    if rng.random() < EARLIER_SHARE:
        hello, reply = (choose(text, rng) for text in _THANKS[topic.language])
        before = (choose(rng.choice(earlier.questions[part]), rng), rng.choice(earlier.answers))
        turns.insert(0, rng.choice([before, (hello, reply)]))
    else:
        turns[0] = (rng.choice(_GREETINGS[topic.language]) + turns[0][0], turns[0][1])
    messages: list[Message] = []
    for user, assistant in turns:
        messages += [{"content": user, "role": "user"}, {"content": assistant, "role": "assistant"}]
    return IdentityTalk(tuple(messages), topic.expects)


def _topic(section: library.Section) -> Topic:
    _, language, expects = section.title
    marks: dict[str, Split] = {"?": "train", "^": "validation", "~": "test"}
    questions: dict[Split, list[str]] = {"train": [], "validation": [], "test": []}
    for line in section.lines:
        if line and line[0] in marks:
            questions[marks[line[0]]].append(line[2:])
    answers = tuple(line[2:] for line in section.lines if line.startswith("= "))
    return Topic(language, tuple(expects.split(" & ")), questions, answers)
