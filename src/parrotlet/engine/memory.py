"""What generation keeps of the tokens that it has fed: their keys and values; slot = position."""

from __future__ import annotations

import torch
from torch import Tensor

from ..model import ModelConfig

BLOCK = 32
"""Rows have a multiple of so many slots."""


class Memory:
    """Keys and values of `rows` rows, in float32, and their tokens. Allocated once; it never grows."""

    def __init__(self, config: ModelConfig, rows: int, device: torch.device) -> None:
        self.slots = -(-config.sequence_len // BLOCK) * BLOCK
        shape = (config.depth, rows, config.kv_heads, self.slots, config.head_dim)
        self.keys = torch.zeros(shape, device=device)
        self.values = torch.zeros_like(self.keys)
        self.tokens = torch.zeros((rows, self.slots), dtype=torch.int64, device=device)

    @property
    def nbytes(self) -> int:
        """What the keys and values of all rows take."""
        return 2 * self.keys.nbytes

    @torch.inference_mode()
    def copy(self, source: int, target: int, slots: int) -> None:
        """Copy the first slots of a row to another."""
        for memory in (self.keys, self.values):
            memory[:, target, :, :slots] = memory[:, source, :, :slots]
        self.tokens[target, :slots] = self.tokens[source, :slots]

    @torch.inference_mode()
    def swap(self, a: int, b: int, slots: int) -> None:
        """Exchange the first slots of two rows."""
        for memory in (self.keys, self.values):
            kept = memory[:, a, :, :slots].clone()
            memory[:, a, :, :slots] = memory[:, b, :, :slots]
            memory[:, b, :, :slots] = kept
        self.tokens[[a, b], :slots] = self.tokens[[b, a], :slots]


def rotations(config: ModelConfig, slots: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines of all positions' angles, (S, D/2) each: the model's rotary positions."""
    half = torch.arange(config.head_dim // 2, device=device)
    angles = torch.arange(slots, device=device)[:, None] * config.rope_theta ** (half * (-2 / config.head_dim))
    return angles.cos(), angles.sin()
