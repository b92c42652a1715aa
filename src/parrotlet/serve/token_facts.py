"""What the model thought of each token of an answer: log-probabilities and alternatives.

They come from one pass of the model over prompt and answer when the answer has ended, the model's own, as in training;
they equal those of generation up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..model import GPT

POSITIONS = 128
"""Whose logits are in memory at a time: a vocabulary is large."""


@dataclass(frozen=True)
class TokenFact:
    """A token: its natural log-probability under the model, at temperature 1, nothing forbidden; and the likeliest
    tokens in its place, best first."""

    id: int
    logprob: float
    top: tuple[tuple[int, float], ...]


@torch.inference_mode()
def token_facts(model: GPT, prompt: Sequence[int], ids: Sequence[int], top: int) -> list[TokenFact]:
    """A fact for each of `ids`, which follow `prompt`; with `top` alternatives."""
    if not ids:
        return []
    device = next(model.parameters()).device
    inputs = torch.tensor([[*prompt, *ids[:-1]]], device=device)
    hidden_TC = model(inputs)[0, len(prompt) - 1 :]
    facts: list[TokenFact] = []
    for hidden, chosen in zip(hidden_TC.split(POSITIONS), torch.tensor(ids).split(POSITIONS), strict=True):
        logprobs = model.logits(hidden).log_softmax(-1).cpu()
        best = logprobs.topk(min(top, logprobs.shape[1]))
        own = logprobs.gather(1, chosen[:, None])[:, 0]
        rows = zip(chosen.tolist(), own.tolist(), best.indices.tolist(), best.values.tolist(), strict=True)
        facts += [TokenFact(id, value, tuple(zip(*pairs, strict=True))) for id, value, *pairs in rows]
    return facts
