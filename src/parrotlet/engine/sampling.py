"""How the next token is chosen.

B rows, V vocabulary; a group is the rows that are sampled alike, and R the rows of one.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import UserError

TEMPERATURES = (1e-30, 1000)
"""Of those above 0. Beyond these and the next ones, logits would leave what float32 holds."""
PENALTIES = (0.01, 1000)
LIKELIEST = 1024
"""Tokens that are sorted at first for top-p; all of them only where these don't reach its probability."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How one answer is sampled. Raises `UserError` for values that mean nothing."""

    temperature: float = 1.0
    """0 always takes the likeliest token."""
    top_k: int | None = None
    """Choose among the k likeliest tokens."""
    top_p: float | None = None
    """Choose among the likeliest tokens that together have this probability."""
    min_p: float | None = None
    """Choose among the tokens that have at least this share of the likeliest one's probability."""
    repetition_penalty: float = 1.0
    """Logits of tokens that stand in prompt or answer are divided by this where positive, multiplied where negative
    (Keskar et al. 2019, CTRL)."""
    seed: int = 0
    """The same seed draws the same answer."""
    stop: tuple[str, ...] = ()
    """The answer ends before any of these texts; they are looked for in what the model writes between calls."""
    max_tokens: int = 256
    """Length of the answer, tool calls and their outputs included; the output of a whole call is written to its end."""
    logprobs: int | None = None
    """Tell each sampled token's log-probability, and the likeliest tokens in its place, so many; None tells nothing."""

    def __post_init__(self) -> None:
        least, most = TEMPERATURES
        fine = self.temperature == 0 or least <= self.temperature <= most
        _check("temperature", self.temperature, fine, f"0, or {least} to {most}")
        _check("top_k", self.top_k, self.top_k is None or self.top_k >= 1, "at least 1")
        for name, share in (("top_p", self.top_p), ("min_p", self.min_p)):
            _check(name, share, share is None or 0 < share <= 1, "above 0 and at most 1")
        (least, most), penalty = PENALTIES, self.repetition_penalty
        _check("repetition_penalty", penalty, least <= penalty <= most, f"{least} to {most}")
        _check("stop", self.stop, isinstance(self.stop, tuple) and all(self.stop), "texts that are not empty")
        _check("max_tokens", self.max_tokens, self.max_tokens >= 1, "at least 1")
        _check("logprobs", self.logprobs, self.logprobs is None or self.logprobs >= 0, "at least 0")

    @property
    def alike(self) -> tuple[float, int | None, float | None, float | None]:
        """What rows must share to be drawn together."""
        return self.temperature, self.top_k, self.top_p, self.min_p


class Logprob(NamedTuple):
    """What the model thought of a token: natural logarithms, at temperature 1, nothing forbidden or penalised."""

    value: float
    top: tuple[tuple[int, float], ...]
    """The likeliest tokens in its place, best first, each with its own."""


class Sampler:
    """One answer's settings, its random numbers, and the tokens seen so far."""

    def __init__(self, sampling: Sampling, prompt: Sequence[int]) -> None:
        self.sampling = sampling
        self.seen: set[int] | None = None
        self.start_from(prompt)
        self._random = random.Random(sampling.seed % (1 << 65))  # it takes the seeds 1 and -1 for the same

    def next_random(self) -> float:
        """In [0, 1)."""
        return self._random.random()

    def start_from(self, tokens: Sequence[int]) -> None:
        """Take note of these tokens, and of none before."""
        if self.sampling.repetition_penalty != 1:
            self.seen = set(tokens)

    def add(self, tokens: Sequence[int]) -> None:
        """Take note of tokens of the answer."""
        if self.seen is not None:
            self.seen.update(tokens)


@torch.inference_mode()
def next_tokens(
    scores_BV: Tensor, softcap: float, allowed_BS: Tensor, samplers: Sequence[Sampler]
) -> tuple[list[int], list[Logprob | None]]:
    """One token a row, and its log-probability where it is asked for.

    `scores_BV`: before the soft cap; written over. `allowed_BS`: added to the last S logits, the special tokens' among
    them. Raises `UserError` if the scores are no numbers.
    """
    greedy = [row for row, s in enumerate(samplers) if s.sampling.temperature == 0 and s.seen is None]
    wanted = [row for row, s in enumerate(samplers) if s.sampling.logprobs is not None]
    if len(greedy) == len(samplers) and not wanted:
        return _likeliest(_forbid(scores_BV, allowed_BS)), [None] * len(samplers)
    # Before the cap, which makes nearly equal scores equal: so a row's token does not depend on what others ask for.
    likeliest = _likeliest(_forbid(scores_BV[greedy], allowed_BS[greedy])) if greedy else []
    logits_BV = _capped(scores_BV, softcap)
    logprobs_WV = logits_BV[wanted].log_softmax(-1) if wanted else ()
    _forbid(logits_BV, allowed_BS)
    for row, sampler in enumerate(samplers):
        if sampler.seen is not None:
            _penalise(logits_BV[row], sampler)
    tokens = _draw_all(logits_BV, samplers, dict(zip(greedy, likeliest, strict=True)))
    logprobs: list[Logprob | None] = [None] * len(samplers)
    for row, logprobs_V in zip(wanted, logprobs_WV, strict=True):
        logprobs[row] = _logprob(logprobs_V, tokens[row], samplers[row].sampling.logprobs or 0)
    return tokens, logprobs


def draw(logits_RV: Tensor, sampling: Sampling, u_R: Sequence[float]) -> list[int]:
    """A token a row, by the random numbers `u_R` in [0, 1); all rows are sampled alike."""
    if sampling.temperature == 0:
        return _likeliest(logits_RV)
    logits, ids = logits_RV / sampling.temperature, None
    if sampling.top_k is not None:
        logits, ids = logits.topk(min(sampling.top_k, logits.shape[1]))
    weights = logits.softmax(-1)
    if sampling.top_p is not None and sampling.top_p < 1:
        weights.masked_fill_(weights < _least_of_nucleus(weights, sampling.top_p), 0)
    if sampling.min_p is not None:
        weights.masked_fill_(weights < sampling.min_p * weights.amax(-1, keepdim=True), 0)
    picked = _pick(weights, u_R)
    return (picked if ids is None else ids.gather(1, picked))[:, 0].tolist()


def _likeliest(logits_RV: Tensor) -> list[int]:
    if logits_RV.device.type == "cpu":
        values = logits_RV.numpy()
        chosen = values.argmax(-1).tolist()  # a tenth of torch's time
        _check_numbers([values[row, token] for row, token in enumerate(chosen)])
        return chosen
    values, chosen = logits_RV.max(-1)
    _check_numbers(values.tolist())
    return chosen.tolist()


def _draw_all(logits_BV: Tensor, samplers: Sequence[Sampler], chosen: dict[int, int]) -> list[int]:
    """A token a row; those of the rows that are `chosen` already are these."""
    groups: dict[object, list[int]] = {}
    for row, sampler in enumerate(samplers):
        if row not in chosen:
            groups.setdefault(sampler.sampling.alike, []).append(row)
    tokens = dict(chosen)
    for rows in groups.values():
        logits_RV = logits_BV if len(rows) == len(samplers) else logits_BV[rows]
        drawn = draw(logits_RV, samplers[rows[0]].sampling, [samplers[row].next_random() for row in rows])
        tokens |= zip(rows, drawn, strict=True)
    return [tokens[row] for row in range(len(samplers))]


def _least_of_nucleus(weights: Tensor, top_p: float) -> Tensor:
    """The smallest weight, (R, 1), that is needed to reach `top_p` with the largest ones."""
    largest = weights.topk(min(LIKELIEST, weights.shape[1])).values
    if bool((largest.sum(-1) < top_p).any()):
        largest = weights.sort(descending=True).values
    needed = largest.cumsum(-1) - largest < top_p
    return largest.masked_fill_(~needed, 1).amin(-1, keepdim=True)


def _pick(weights: Tensor, u_R: Sequence[float]) -> Tensor:
    """An index a row, (R, 1), by weight: where the running sum first exceeds u times the whole."""
    sums = weights.cumsum(-1)
    _check_numbers(sums[:, -1].tolist())
    aims = torch.tensor(u_R, device=sums.device)[:, None] * sums[:, -1:]
    below = torch.nextafter(sums[:, -1:], torch.zeros_like(aims))  # u rounds up to 1 in float32
    return torch.searchsorted(sums, torch.minimum(aims, below), right=True)


def _logprob(logprobs_V: Tensor, token: int, count: int) -> Logprob:
    best = logprobs_V.topk(min(count, len(logprobs_V)))
    return Logprob(logprobs_V[token].item(), tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True)))


def _penalise(logits_V: Tensor, sampler: Sampler) -> None:
    seen = torch.tensor(sorted(sampler.seen or ()), device=logits_V.device)
    penalty, values = sampler.sampling.repetition_penalty, logits_V[seen]
    logits_V[seen] = torch.where(values > 0, values / penalty, values * penalty)


def _capped(scores_BV: Tensor, softcap: float) -> Tensor:
    """softcap · tanh(scores / softcap), in a third of the time; written over.

    Row by row, since at the end of what it is given a kernel may round otherwise: a row must not tell where it stands.
    """
    for scores_V in scores_BV.mul_(-2 / softcap):
        scores_V.sigmoid_()
    return scores_BV.mul_(-2 * softcap).add_(softcap)


def _forbid(logits_BV: Tensor, allowed_BS: Tensor) -> Tensor:
    logits_BV[:, -allowed_BS.shape[1] :] += allowed_BS
    return logits_BV


def _check_numbers(chosen: Sequence[float]) -> None:
    """Of what is chosen, since what is no number is chosen before all that are."""
    if not all(map(math.isfinite, chosen)):
        raise UserError("the model's scores are no numbers (NaN or infinite): its weights are damaged")


def _check(name: str, value: object, fine: bool, expected: str) -> None:
    if not fine:
        raise UserError(f"{name} = {value} must be {expected}")
