"""CORE's prompts: which texts a model is asked to compare, and where in their tokens the answer stands.

The examples before a question, the order of the items, and what is compared are DCLM's, as nanochat made them popular.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from .branches import Row, common_start
from .core_bundle import CoreTask
from .language_model import LanguageModel

ORDER_SEED = 1337
EXAMPLES_SEED = 1234
"""Plus the number of the item."""


def chosen_items(task: CoreTask, limit: int | None) -> list[dict[str, Any]]:
    """The task's items in CORE's order, `limit` of them at most."""
    items = task.items()
    random.Random(ORDER_SEED).shuffle(items)
    return items[:limit]


def rows_of(task: CoreTask, items: Sequence[dict[str, Any]], index: int, model: LanguageModel) -> list[Row]:
    """The rows of an item: one a choice, or the one that is to be continued. Examples come from `items`."""
    others = [i for i in range(len(items)) if i != index]
    drawn = random.Random(EXAMPLES_SEED + index).sample(others, min(task.shots, len(others)))
    examples = "".join(f"{_solved(task, items[i])}\n\n" for i in drawn)
    texts = [examples + text for text in _texts(task, items[index])]
    if task.kind == "language_modeling":
        texts = [texts[0].strip(), texts[1]]  # a blank at the end would be another token than one before a word
    encoded = [[*model.prefix, *ids] for ids in model.encode(texts)]
    if task.kind == "language_modeling":
        without, whole = encoded
        return [_fitted(whole, common_start([without, whole]), model.context)]
    if task.kind == "schema":
        common = common_start([ids[::-1] for ids in encoded])
        return [_fitted(ids, len(ids) - common, model.context) for ids in encoded]
    start = common_start(encoded)
    return [_fitted(ids, start, model.context) for ids in encoded]


def _texts(task: CoreTask, item: dict[str, Any]) -> list[str]:
    """What is compared; for language modelling, the text without and with its continuation."""
    if task.kind == "multiple_choice":
        return [f"{item['query']}{task.delimiter}{choice}" for choice in item["choices"]]
    if task.kind == "schema":
        return [f"{context}{task.delimiter}{item['continuation']}" for context in item["context_options"]]
    head = f"{item['context'].strip()}{task.delimiter}"
    return [head, head + item["continuation"]]


def _solved(task: CoreTask, item: dict[str, Any]) -> str:
    texts = _texts(task, item)
    return texts[1] if task.kind == "language_modeling" else texts[item["gold"]]


def _fitted(ids: list[int], start: int, context: int) -> Row:
    """Without the beginning, if it is too long. At least one token is scored, and one stands before it."""
    too_many = max(0, len(ids) - context)
    ids = ids[too_many:]
    return Row(ids, max(1, min(start - too_many, len(ids) - 1)), cut=too_many > 0)
