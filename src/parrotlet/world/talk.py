"""Small talk of several turns, in the shape of SmolTalk: some written out, some about the world's facts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from . import library
from .cast import Cast
from .facts import World
from .phrases import capitalised, choose, prose
from .relations import Question, asked_openly, question_zh, statement, statement_zh
from .splits import Split, split_of, stream

Message = dict[str, str]
ROLES = {"S": "system", "U": "user", "A": "assistant"}

FACTS_SHARE = 0.45
"""Conversations that ask for facts of the world; the others are written out in `texts/talk.txt`."""
CHINESE_SHARE = 0.13
"""Conversations in Chinese."""
SYSTEM_SHARE = 0.1
"""English conversations about facts that begin with a system prompt."""

_OPENINGS = ("", "", "", "[Hello|Hi]! ", "[A question|Please tell me]: ", "I want to know something. ")
_CLOSINGS = (
    ("[Thank you|Thanks]!", "[You are welcome|My pleasure|Any time]!"),
    ("[That is all|No more questions]. [Bye|Goodbye]!", "[Goodbye|Bye]! [Have a nice day|See you]."),
)
_CLOSINGS_ZH = (("[谢谢|谢谢你]！", "[不客气|不用谢]！"),)


@dataclass(frozen=True)
class Talk:
    """A conversation; `source` names its kind."""

    messages: tuple[Message, ...]
    source: str


def write_talk(world: World, number: int, part: Split) -> list[Talk]:
    """As many conversations as asked, no two alike. No part repeats a talk or an English question of another."""
    rng = stream(world.seed, "talk", part)
    asked = asked_openly(world, part)
    sections = library.read("talk")
    english = [section for section in sections if section.title[-1] != "zh"]
    chinese = [section for section in sections if section.title[-1] == "zh"]
    written: dict[str, Talk] = {}
    while len(written) < number:
        in_chinese = rng.random() < CHINESE_SHARE
        if rng.random() < FACTS_SHARE:
            talk = (_facts_zh if in_chinese else _facts)(asked, rng)
        else:
            talk = _written_out(rng.choice(chinese if in_chinese else english), world, rng)
        text = str(talk.messages)
        if talk.source == "world/facts" or split_of(world.seed, "talk", text) == part:
            written.setdefault(text, talk)
    return list(written.values())


def _written_out(section: library.Section, world: World, rng: random.Random) -> Talk:
    cast = Cast(world, rng)
    messages = [{"content": prose(line[3:], rng, cast), "role": ROLES[line[0]]} for line in filter(None, section.lines)]
    return Talk(tuple(messages), f"world/{section.title[0]}")


def _facts(asked: Sequence[Question], rng: random.Random) -> Talk:
    """One to three questions, each answered in a sentence; or as a system prompt wants it."""
    chosen = rng.sample(asked, rng.choice((1, 2, 2, 3)))
    turns = [(question.text, statement(question.fact, rng, direct=True)) for question in chosen]
    system = None
    if rng.random() < SYSTEM_SHARE:
        system, turns = _styled(chosen, turns, rng)
    else:
        turns[0] = (choose(rng.choice(_OPENINGS), rng) + turns[0][0], turns[0][1])
        turns += _closing(_CLOSINGS, rng)
    return conversation(turns, system)


def _styled(
    chosen: Sequence[Question], turns: list[tuple[str, str]], rng: random.Random
) -> tuple[str, list[tuple[str, str]]]:
    match rng.randrange(3):
        case 0:
            return "Answer in a full sentence.", turns
        case 1:
            return "Answer briefly, without a sentence.", [(q.text, capitalised(q.answer)) for q in chosen]
        case _:
            return "Please answer in Chinese.", [(q.text, statement_zh(q.fact, rng, direct=True)) for q in chosen]


def _facts_zh(asked: Sequence[Question], rng: random.Random) -> Talk:
    facts = [question.fact for question in rng.sample(asked, rng.choice((1, 2, 2, 3)))]
    turns = [(question_zh(fact, rng), statement_zh(fact, rng, direct=True)) for fact in facts]
    return conversation([*turns, *_closing(_CLOSINGS_ZH, rng)], source="world/facts-zh")


def _closing(closings: Sequence[tuple[str, str]], rng: random.Random) -> list[tuple[str, str]]:
    if rng.random() < 0.6:
        return []
    user, assistant = rng.choice(closings)
    return [(prose(user, rng, {}), prose(assistant, rng, {}))]


def conversation(turns: Sequence[tuple[str, str]], system: str | None = None, source: str = "world/facts") -> Talk:
    """What the user and the assistant say in turn, after a system prompt if there is one."""
    messages = [{"content": system, "role": "system"}] if system else []
    for user, assistant in turns:
        messages += [{"content": user, "role": "user"}, {"content": assistant, "role": "assistant"}]
    return Talk(tuple(messages), source)
