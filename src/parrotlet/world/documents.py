"""The documents that base training reads: a mixture of kinds, each written from templates and facts."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from . import library, portraits, sheets
from .cast import Cast
from .facts import World
from .phrases import prose
from .relations import Question, asked, asked_openly, question_zh, statement_zh
from .splits import stream

Told = tuple[str, str]
"""Title and text."""
Kind = Callable[[random.Random], Told]


@dataclass(frozen=True)
class Document:
    """A text with a title; `source` names its kind."""

    text: str
    title: str
    source: str


def write_documents(
    world: World,
    number: int,
    spelled: Sequence[str],
    *,
    part: str = "train",
    without: Collection[str] = (),
    on_document: Callable[[int], None] = lambda written: None,
) -> list[Document]:
    """As many documents as asked, no two alike, and none of `without`. Each `part` has chances of its own.

    `spelled` are the words that spelling sheets may use.
    """
    kinds = _kinds(world, spelled)
    names = list(kinds)
    weights = [kinds[name][0] for name in names]
    rng = stream(world.seed, "documents", part)
    written: dict[str, Document] = {}
    while len(written) < number:
        name = rng.choices(names, weights)[0]
        title, text = kinds[name][1](rng)
        if text not in without:
            written.setdefault(text, Document(text, title, f"world/{name}"))
            on_document(len(written))
    return list(written.values())


def _kinds(world: World, spelled: Sequence[str]) -> dict[str, tuple[float, Kind]]:
    """Every kind of document with its weight: how often it is drawn."""
    choosing, openly = asked(world, "train"), asked_openly(world, "train")
    return {
        "people": (13, lambda rng: portraits.person(world, rng)),
        "pairs": (6, lambda rng: portraits.pair(world, rng)),
        "register": (3, lambda rng: portraits.register(world, rng)),
        "groups": (3, lambda rng: portraits.groups(world, rng)),
        "animals": (6, lambda rng: portraits.animal(world, rng)),
        "towns": (6, lambda rng: portraits.town(world, rng)),
        "shops": (6, lambda rng: portraits.shop(world, rng)),
        "facts": (11, lambda rng: portraits.same_relation(world, rng)),
        "stories": (9, _from_templates(world, "stories")),
        "scenes": (13, _from_templates(world, "scenes")),
        "how": (3, _from_templates(world, "how")),
        "answers": (7, lambda rng: sheets.answers(rng, openly)),
        "quiz": (12, lambda rng: sheets.quiz(world, rng, choosing)),
        "letters": (12, lambda rng: sheets.bound_list(world, rng)),
        "echoes": (10, lambda rng: sheets.echo(world, rng, spelled)),
        "sums": (5, sheets.sums),
        "tables": (1, sheets.table),
        "counting": (2, sheets.counting),
        "spelling": (5, lambda rng: sheets.spelling(rng, spelled)),
        "chinese": (9, _from_templates(world, "chinese")),
        "chinese-facts": (7, _chinese_facts(world, openly)),
    }


def _from_templates(world: World, file: str) -> Kind:
    """Texts of a file of templates, each section as likely as any other."""
    sections = library.read(file)

    def write(rng: random.Random) -> Told:
        section = rng.choice(sections)
        cast = Cast(world, rng)
        text = prose(section.body, rng, cast)
        return prose(section.title[-1], rng, cast), text

    return write


def _chinese_facts(world: World, asked: Sequence[Question]) -> Kind:
    portrayed = (
        portraits.person,
        portraits.person,
        portraits.animal,
        portraits.town,
        portraits.shop,
        portraits.same_relation,
    )

    def write(rng: random.Random) -> Told:
        if rng.random() < 0.25:
            facts = dict.fromkeys(question.fact for question in rng.sample(asked, rng.randint(3, 5)))
            return "问答", "\n".join(
                f"问：{question_zh(f, rng)}\n答：{statement_zh(f, rng, direct=True)}" for f in facts
            )
        return rng.choice(portrayed)(world, rng, True)

    return write
