"""What generation keeps of the tokens that it has fed: their keys and values; slot = position."""

from __future__ import annotations

import contextlib
import math
import mmap

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
        self.keys, self.values = (zeros_in_large_pages(math.prod(shape), device).view(shape) for _ in range(2))
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


def zeros_in_large_pages(count: int, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """So many zeros. On Linux the memory is asked for in large pages, in which a CPU finds its way about faster."""
    if device.type != "cpu" or not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.zeros(count, dtype=dtype, device=device)
    pages = mmap.mmap(-1, count * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without them
        pages.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(pages, dtype=dtype)


def rotations(config: ModelConfig, slots: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines of all positions' angles, (S, D/2) each: the model's rotary positions."""
    half = torch.arange(config.head_dim // 2, device=device)
    angles = torch.arange(slots, device=device)[:, None] * config.rope_theta ** (half * (-2 / config.head_dim))
    return angles.cos(), angles.sin()
