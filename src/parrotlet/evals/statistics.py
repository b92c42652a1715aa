"""How sure a measured share is."""

from __future__ import annotations

import math


def wilson_interval(correct: int, n: int, z: float = 1.96) -> tuple[float, float]:
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
