"""How the next token is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import UserError


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How one answer is sampled. Raises `UserError` for values that mean nothing."""

    temperature: float = 1.0
    """0 always takes the likeliest token."""
    top_k: int | None = None
    """Choose among the k likeliest tokens."""
    top_p: float | None = None
    """Choose among the likeliest tokens that together have this probability."""
    seed: int = 0
    max_tokens: int = 256
    """Length of the answer, tool calls and their outputs included; an output that has begun is written to its end."""

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise UserError(f"temperature = {self.temperature} must be 0 or more")
        if self.top_k is not None and self.top_k < 1:
            raise UserError(f"top_k = {self.top_k} must be at least 1")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UserError(f"top_p = {self.top_p} must be above 0 and at most 1")
        if self.max_tokens < 1:
            raise UserError(f"max_tokens = {self.max_tokens} must be at least 1")


class Sampler:
    """Draws the tokens of one answer with a random generator of its own, so that neighbours change nothing."""

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self._generator = torch.Generator().manual_seed(sampling.seed)

    def draw(self, logits_V: Tensor) -> int:
        """A token for these logits."""
        s = self.sampling
        logits, ids = logits_V.float().cpu().sort(descending=True, stable=True)
        probabilities = (logits[: s.top_k] / s.temperature).softmax(0)
        if s.top_p is not None:
            before = probabilities.cumsum(0) - probabilities
            probabilities[before >= s.top_p] = 0
        return int(ids[torch.multinomial(probabilities, 1, generator=self._generator)])


def next_tokens(logits_BV: Tensor, samplers: Sequence[Sampler]) -> list[int]:
    """One token a row."""
    likeliest = logits_BV.argmax(-1).tolist()
    return [
        likeliest[row] if sampler.sampling.temperature == 0 else sampler.draw(logits_BV[row])
        for row, sampler in enumerate(samplers)
    ]
