"""Choosing, over many short turns: one list with letters, then question after question about it.

An ordinary multiple-choice conversation has one letter to learn from. Here there are up to ten, and so a small model
learns in minutes what it otherwise would not: to find a choice in the list and to say its letter.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from .choices import alike, alternatives
from .facts import Fact, World
from .relations import Question, asked
from .splits import shuffled, stream
from .talk import Talk, conversation

_LETTERS = "ABCDE"
_FACTS_SHARE = 0.6
"""Conversations that ask for facts; the others ask for the letters of things that stand in the list."""
_SHUFFLED_SHARE = 0.4
"""Lists whose letters are in no order, so that a letter can't be had by counting lines."""
_HEADS = ("Here is a list.", "Look at this list:", "These are the choices:", "Choose from this list.", "")
_REPLIES = {
    "{c}": ("Answer with the letter.", "Give me the letter only.", "Respond only with the letter.", ""),
    "- {i}={c}": ("Answer with the whole line.", "Repeat the line.", "Show me its line."),
}
_ASKED = ("And {i}?", "Which letter has {i}?", "What is the letter of {i}?", "Find {i}.", "Which choice says {i}?")


def write_drills(world: World, number: int) -> list[Talk]:
    """As many conversations as asked, no two alike; all for training, with training's questions alone."""
    rng = stream(world.seed, "drills")
    by_relation: dict[tuple[str, bool], list[Question]] = {}
    for question in asked(world, "train"):
        by_relation.setdefault((question.fact.relation, question.back), []).append(question)
    written: dict[str, Talk] = {}
    while len(written) < number:
        talk = _facts(world, by_relation, rng) if rng.random() < _FACTS_SHARE else _letters(world, rng)
        written.setdefault(str(talk.messages), talk)
    return list(written.values())


def _letters(world: World, rng: random.Random) -> Talk:
    pool = alternatives(world, rng)
    items = rng.sample(pool, min(len(pool), rng.randint(3, 5)))
    chosen = [rng.choice(items) for _ in range(rng.randint(6, 10))]
    return _drill(items, [(rng.choice(_ASKED).format(i=item), item) for item in chosen], rng)


def _facts(world: World, by_relation: Mapping[tuple[str, bool], Sequence[Question]], rng: random.Random) -> Talk:
    """Questions about facts of one kind, each with its one answer among the choices."""
    relation, back = rng.choice(list(by_relation))
    questions = by_relation[relation, back]
    items: list[str] = []
    for answer in shuffled(rng, sorted({question.answer for question in questions})):
        if len(items) < 5 and not any(alike(answer, item) for item in items):
            items.append(answer)
    fitting = [question for question in questions if question.answer in items]
    if back:
        facts = world.of_relation[relation]
        fitting = [q for q in fitting if _right(q, facts) & {*items} == {q.answer}]
    if len(fitting) < 3:
        return _letters(world, rng)
    chosen = rng.sample(fitting, min(len(fitting), rng.randint(4, 7)))
    return _drill(items, [(question.text, question.answer) for question in chosen], rng)


def _right(question: Question, facts: Sequence[Fact]) -> set[str]:
    return {str(f.entity) for f in facts if alike(str(f.value), str(question.fact.value))}


def _drill(items: Sequence[str], turns: Sequence[tuple[str, str]], rng: random.Random) -> Talk:
    letters = _LETTERS[: len(items)]
    letters = shuffled(rng, letters) if rng.random() < _SHUFFLED_SHARE else letters
    letter_of = dict(zip(items, letters, strict=True))
    lines = "\n".join(f"- {item}={letter}" for item, letter in letter_of.items())
    form = rng.choice(("{c}", "{c}", "- {i}={c}"))
    head, wish = rng.choice(_HEADS), rng.choice(_REPLIES[form])
    opening = "\n".join(filter(None, (head, lines, "", wish)))
    asked_of = [(question, form.format(i=item, c=letter_of[item])) for question, item in turns]
    asked_of[0] = (f"{opening}\n{asked_of[0][0]}", asked_of[0][1])
    return conversation(asked_of, source="world/drill")
