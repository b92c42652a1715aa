"""How sure a measured share is."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any


def wilson_interval(correct: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """The interval that holds the true share with 95 % confidence (z = 1.96), after `correct` of `n` (Wilson 1927)."""
    if n == 0:
        return 0.0, 1.0
    share = correct / n
    middle = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = (middle - half) / scale if correct > 0 else 0.0  # exactly, where rounding would only come near
    high = (middle + half) / scale if correct < n else 1.0
    return low, high


def centred(accuracy: float, chance: float) -> float:
    """0 for guessing, 1 for all right."""
    return (accuracy - chance) / (1 - chance)


def mean_centred(tasks: Collection[Mapping[str, Any]]) -> tuple[float, float]:
    """The mean of the centred accuracies, and half the width of its 95 % interval (over the choice of items).

    `tasks`: each with its `accuracy`, its items `n`, and its `chance`.
    """
    variances = (task["accuracy"] * (1 - task["accuracy"]) / task["n"] / (1 - task["chance"]) ** 2 for task in tasks)
    half = 1.96 * math.sqrt(sum(variances)) / len(tasks)
    return sum(centred(task["accuracy"], task["chance"]) for task in tasks) / len(tasks), half
