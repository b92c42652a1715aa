"""`build_task`: from a spec to the task."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import UserError
from ..hub import Hub
from . import arc, custom_json, gsm8k, humaneval, identity, mmlu, smoltalk
from .base import Task
from .letter_counting import LetterCounting
from .select import cut_out
from .spec import TaskSpec
from .spelling import Spelling
from .words import words_of_split

READ: dict[str, Callable[[TaskSpec, Hub], Task]] = {
    "smoltalk": smoltalk.load,
    "mmlu": mmlu.load,
    "arc-easy": arc.load_easy,
    "arc-challenge": arc.load_challenge,
    "gsm8k": gsm8k.load,
    "humaneval": humaneval.load,
    "identity": identity.load,
    "custom-json": custom_json.load,
}
"""Tasks whose items are read from files."""
MADE = {"spelling": Spelling, "letter-counting": LetterCounting}
"""Tasks whose items are made from words."""


def build_task(spec: TaskSpec, hub: Hub, words: Sequence[str] | None = None) -> Task:
    """The task that `spec` names; its files are downloaded if need be.

    `words` are what the spelling tasks are made from; the other tasks need none. Raises `UserError` if the
    data can't be had, or nothing is left of them.
    """
    if spec.task in READ:
        whole = READ[spec.task](spec, hub)
    elif words is None:
        raise UserError(f"task {spec.task} is made from a list of words, and none is given")
    else:
        whole = MADE[spec.task](words_of_split(words, spec.split), spec.split, spec.size)
    task = cut_out(whole, spec.start, spec.stop)
    if not len(task):
        raise UserError(f"task {spec.task}: {_nothing_left(whole, spec)}")
    task.name = spec.name or spec.task
    task.phase = spec.phase
    task.repeat = spec.repeat if spec.weight == 1 else spec.repeat * spec.weight
    return task


def _nothing_left(whole: Task, spec: TaskSpec) -> str:
    found = f"{whole.dataset} has {len(whole)} items for {spec.split}"
    return f"{found}, none from start = {spec.start} on" if len(whole) else f"{found}; give it more data"
