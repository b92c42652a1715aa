"""Word problems in the shape of GSM8K: reasoning with `<<12/60=0.2>>` annotations, then `#### 10`.

The templates are `texts/problems.txt`. All arithmetic is exact, and results are written as a calculator
writes them: 10/2 is 5, not 5.0.
"""

from __future__ import annotations

import itertools
import random
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache, cached_property
from typing import Any, Literal

from . import library
from .cast import Cast
from .facts import Good, World
from .phrases import capitalised, choose, fill
from .splits import shuffled, split_of, stream

_STEP = re.compile(r"<<(.+?) -> (\w+|!)>>")
_TOKEN = re.compile(r"\d+(?:\.\d+)?|[-+*/]")
DIVISION_BY_ZERO = "error: division by zero"
"""What the calculator answers where it cannot divide."""


@dataclass(frozen=True)
class Problem:
    """A question and its worked answer; `form` names the template."""

    form: str
    question: str
    answer: str


@dataclass(frozen=True)
class Template:
    """One section of the file: what is drawn, the ways to ask, the ways to answer."""

    name: str
    unseen: bool
    draws: tuple[tuple[str, str], ...]
    questions: tuple[str, ...]
    answers: tuple[str, ...]

    @cached_property
    def names(self) -> frozenset[str]:
        """The slots for people and things."""
        used = set(re.findall(r"{(\w)[.:}]", "".join(self.questions + self.answers)))
        return frozenset({*used & set("pqghl"), *(name for name, rule in self.draws if ".." not in rule)})


def write_problems(world: World, number: int, part: Literal["train", "test", "unseen"]) -> list[Problem]:
    """As many problems as asked, no two alike.

    In test, neither who and what with the template, nor the numbers with it, are ever in train. `unseen` has
    the templates that train has not. Every template gets its turn.
    """
    rng = stream(world.seed, "problems", part)
    chosen = [t for t in templates() if t.unseen == (part == "unseen")]
    problems: dict[str, Problem] = {}
    for template in itertools.cycle(chosen):
        if len(problems) == number:
            return shuffled(rng, list(problems.values()))
        cast = _fitting(template, world, rng, part)
        if cast is None:
            continue
        question = capitalised(fill(choose(rng.choice(template.questions), rng), cast))
        answer = work_out(choose(rng.choice(template.answers), rng), cast)
        problems.setdefault(question, Problem(template.name, question, answer))
    raise AssertionError("there are templates")


def _fitting(template: Template, world: World, rng: random.Random, part: str) -> Cast | None:
    """Draw until the pairings belong to `part`; None where it seems to have no such pairing."""
    for _ in range(2_000):
        cast = _drawn(template, world, rng)
        splits = {split_of(world.seed, template.name, *pairing) for pairing in _pairings(template, cast)}
        if part == "unseen" or splits == {part}:
            return cast
    return None


@cache
def templates() -> tuple[Template, ...]:
    """All templates."""
    return tuple(_template(section) for section in library.read("problems"))


def work_out(text: str, slots: dict[str, Any]) -> str:
    """Compute every step of an answer and add the last line, `#### result`."""
    last = ""

    def step(match: re.Match[str]) -> str:
        nonlocal last
        expression = fill(match[1], slots)
        try:
            last = slots[match[2]] = written(compute(expression))
        except ZeroDivisionError:
            return f"<<{expression}={DIVISION_BY_ZERO}>>"
        return f"<<{expression}={last}>>{last}"

    body = capitalised(fill(_STEP.sub(step, text.replace(" // ", "\n")), slots))
    return body if "####" in body else f"{body}\n#### {last}"


def compute(expression: str) -> Fraction:
    """The exact value of numbers joined by + - * /, products first. Raises `ZeroDivisionError`."""
    tokens = _TOKEN.findall(expression)
    assert "".join(tokens) == expression, expression
    terms, signs = [Fraction(tokens[0])], []
    for sign, number in zip(tokens[1::2], tokens[2::2], strict=True):
        if sign in "*/":
            terms[-1] = terms[-1] * Fraction(number) if sign == "*" else terms[-1] / Fraction(number)
        else:
            signs.append(1 if sign == "+" else -1)
            terms.append(Fraction(number))
    return terms[0] + sum((s * t for s, t in zip(signs, terms[1:], strict=True)), Fraction(0))


def written(value: Fraction) -> str:
    """A value the way a calculator writes it: no point where there is nothing behind it."""
    return f"{Decimal(value.numerator) / Decimal(value.denominator):f}"


def _template(section: library.Section) -> Template:
    marked: dict[str, list[str]] = {"?": [], "=": []}
    draws: list[tuple[str, str]] = []
    for line in filter(None, section.lines):
        if line[0] in marked:
            marked[line[0]].append(line[2:])
        else:
            name, rule = line.split(" = ")
            draws.append((name, rule))
    name, *flags = section.title
    return Template(name, flags == ["unseen"], tuple(draws), tuple(marked["?"]), tuple(marked["="]))


def _drawn(template: Template, world: World, rng: random.Random) -> Cast:
    cast = Cast(world, rng)
    for name, rule in template.draws:
        if ".." not in rule:
            cast[name] = rng.choice(rule.split("; "))
            continue
        *base, span = rule.split(" ")  # "k * 2..9" builds on the number that was drawn as k
        low, high = map(int, span.split(".."))
        number = rng.randint(low, high)
        if base:
            number = cast[base[0]] * number if base[1] == "*" else cast[base[0]] + number
        cast[name] = number
    return cast


def _pairings(template: Template, cast: Cast) -> list[list[object]]:
    """Who and what the problem is about, and its numbers with the prices of the goods."""
    things = [cast[name] for name in sorted(template.names)]
    numbers = [cast[name] for name, rule in template.draws if ".." in rule]
    prices = [thing.price for thing in things if isinstance(thing, Good)]
    who: list[list[object]] = [["who", *map(str, things)]] if things else []
    return [*who, ["numbers", *numbers, *prices]]
