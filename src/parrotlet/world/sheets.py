"""Documents for practice: sums in words, spelled words, questions with answers, choices bound to letters."""

from __future__ import annotations

import random
from collections.abc import Sequence

from .choices import alternatives, ask, exercise
from .facts import World
from .phrases import capitalised, in_words
from .relations import Question, statement
from .splits import shuffled

_LETTERS = "ABCDE"
_TIMES = {1: "once", 2: "twice"}
_BOUND = ("The letter of {i} is {c}.", "For {i} take {c}.", "Here {i} has the letter {c}.", "Next to {i} stands {c}.")
"""The thing before its letter, as in the list, and with a blank before it, so that it is the same tokens."""
_ECHOES = (
    "{p} said: {t}. The parrot repeated: {t}.",
    "{p} reads the list: {t}. And once more, slowly: {t}.",
    "The parrot heard {t}, and all day long it said {t}.",
    "On the note of {p} stood: {t}.\nAnd the parrot knew it by heart: {t}.",
)
_ECHOES_ZH = ("{p}说：{t}。鹦鹉跟着说：{t}。", "{p}念道：{t}。鹦鹉又念了一遍：{t}。")
_SIGNS = tuple("abcdefghijklmnopqrstuvwxyz0123456789")


def sums(rng: random.Random) -> tuple[str, str]:
    """A few sums, in words or in digits."""
    kind = rng.choice((_plus, _minus, _times, _shared))
    return "Sums", "\n".join(kind(rng) for _ in range(rng.randint(3, 8)))


def table(rng: random.Random) -> tuple[str, str]:
    """A row of the multiplication table."""
    n = rng.randint(2, 25)
    form = rng.choice(("{k} times {n} is {p}", "{k} x {n} = {p}", "{n} taken {k} times is {p}"))
    end = rng.choice((". ", "\n"))
    return f"Table of {n}", end.join([*(form.format(k=k, n=n, p=k * n) for k in range(1, 11)), ""]).rstrip()


def counting(rng: random.Random) -> tuple[str, str]:
    """Counting up or down in steps."""
    first, step, number = rng.randint(0, 60), rng.randint(1, 12), rng.randint(8, 14)
    values = [first + i * step for i in range(number)]
    head = f"Count by {in_words(step)} from {in_words(first)}: "
    if rng.random() < 0.3:
        values.reverse()
        head = f"Count down by {in_words(step)} from {in_words(values[0])}: "
    shown = map(in_words, values) if rng.random() < 0.4 else map(str, values)
    return "Counting", head + ", ".join(shown) + "."


def spelling(rng: random.Random, words: Sequence[str]) -> tuple[str, str]:
    """Some words, letter by letter, and how often a letter is in them."""
    form = rng.choice((_spelled, _apart, _letter_count, _letter_count, _ends))
    return "Spelling", "\n".join(form(word, rng) for word in rng.sample(words, rng.randint(3, 7)))


def answers(rng: random.Random, asked: Sequence[Question]) -> tuple[str, str]:
    """Questions and their answers, in a sentence or short."""
    lines: list[str] = []
    brief = rng.random() < 0.4
    chosen = {question.fact: question for question in rng.sample(asked, rng.randint(3, 6))}
    for question in chosen.values():
        reply = capitalised(question.answer) + "." if brief else statement(question.fact, rng, direct=True)
        lines.append(f"Question: {question.text}\nAnswer: {reply}")
    return "Questions and answers", "\n".join(lines)


def bound_list(world: World, rng: random.Random) -> tuple[str, str]:
    """Things with letters, then which letter each of them has, twice."""
    pool = alternatives(world, rng)
    items = rng.sample(pool, min(len(pool), rng.randint(3, 5)))
    lines = [f"- {item}={letter}" for item, letter in zip(items, _LETTERS, strict=False)]
    form = rng.choice(_BOUND)
    bound = [form.format(c=_LETTERS[i], i=item) for i, item in enumerate(items)]
    return "Letters", "\n".join([*lines, "", *shuffled(rng, bound * 2)])


def echo(world: World, rng: random.Random, words: Sequence[str]) -> tuple[str, str]:
    """A list that a parrot says again. Nothing but the text itself foretells it, so it teaches to look back."""
    chinese = rng.random() < 0.15
    pool = world.names_zh if chinese else rng.choice((world.names, world.names, words, _SIGNS))
    said = ("、" if chinese else rng.choice((", ", " ", " and "))).join(rng.sample(pool, rng.randint(4, 12)))
    person = rng.choice(world.people)
    form = rng.choice(_ECHOES_ZH if chinese else _ECHOES)
    return "鹦鹉学舌" if chinese else "The parrot", form.format(p=person.zh if chinese else person, t=said)


def quiz(world: World, rng: random.Random, asked: Sequence[Question]) -> tuple[str, str]:
    """Multiple-choice questions with the answers below them."""
    parts: list[str] = []
    for _ in range(rng.randint(2, 3)):
        question = rng.choice(asked)
        item = ask(world, question, rng) if rng.random() < 0.75 else exercise(world, rng)
        lines = [f"- {choice}={letter}" for choice, letter in zip(item.choices, _LETTERS, strict=False)]
        letter = _LETTERS[item.answer]
        reply = rng.choice((letter, letter, f"{letter} ({item.right})", f"{item.right}, so {letter}"))
        parts.append("\n".join([item.question, *lines, "", f"Answer: {reply}"]))
    return "A quiz", "\n\n".join(parts)


def _plus(rng: random.Random) -> str:
    a, b = rng.randint(1, 99), rng.randint(1, 99)
    return _equation(rng, a, b, a + b, "plus", "+")


def _minus(rng: random.Random) -> str:
    a, b = rng.randint(1, 60), rng.randint(1, 99)
    return _equation(rng, a + b, b, a, "minus", "-")


def _times(rng: random.Random) -> str:
    a, b = rng.randint(2, 30), rng.randint(2, 12)
    return _equation(rng, a, b, a * b, "times", "x")


def _shared(rng: random.Random) -> str:
    a, b = rng.randint(2, 20), rng.randint(2, 9)
    return _equation(rng, a * b, b, a, "divided by", "/")


def _equation(rng: random.Random, a: int, b: int, result: int, word: str, sign: str) -> str:
    match rng.randrange(3):
        case 0:
            return capitalised(f"{in_words(a)} {word} {in_words(b)} is {in_words(result)}.")
        case 1:
            return f"{a} {sign} {b} = {result}"
        case _:
            return f"{a} {word} {b} is {result}."


def _spelled(word: str, rng: random.Random) -> str:
    return f"The word {word} is spelled {', '.join(word)}."


def _apart(word: str, rng: random.Random) -> str:
    return f"{word}: {' '.join(word)}"


def _letter_count(word: str, rng: random.Random) -> str:
    letter = rng.choice(word)
    count = word.count(letter)
    times = _TIMES.get(count, f"{in_words(count)} times")
    return f"The word {word} is spelled {', '.join(word)}. It has the letter {letter} {times}."


def _ends(word: str, rng: random.Random) -> str:
    return f"The word {word} begins with {word[0]}, ends with {word[-1]} and has {in_words(len(word))} letters."
