"""Validation loss, and bits per byte, which does not depend on the tokenizer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .. import ranks
from ..data import NOT_SUPERVISED, Batch
from ..model import GPT


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What was measured on some batches."""

    nats: float
    """Sum of the cross-entropy over all targets."""
    tokens: int
    """Targets."""
    bytes: int
    """Bytes of text that the targets stand for; a special token stands for none."""

    @property
    def loss(self) -> float | None:
        """Nats a target; None where there is none."""
        return self.nats / self.tokens if self.tokens else None

    @property
    def bits_per_byte(self) -> float | None:
        """Bits a byte of text; None where there is none."""
        return self.nats / math.log(2) / self.bytes if self.bytes else None


@torch.inference_mode()
def evaluate_loss(model: GPT, batches: Sequence[Batch], bytes_per_token: np.ndarray) -> Validation:
    """Measure the loss of `model` on the targets of `batches`, shared out over the ranks. `bytes_per_token`:
    (V,) bytes of each token."""
    device = next(model.parameters()).device
    nats, tokens, size = 0.0, 0, 0
    for batch in ranks.own(batches):
        moved = batch.to(device)
        nats += model.loss_sum(moved.inputs, moved.targets, moved.positions, moved.attention_segments).item()
        targets = batch.targets[batch.targets != NOT_SUPERVISED].numpy()
        tokens += len(targets)
        size += int(bytes_per_token[targets].sum())
    nats, tokens, size = map(sum, zip(*ranks.gather((nats, tokens, size)), strict=True))
    return Validation(nats=nats, tokens=tokens, bytes=size)
