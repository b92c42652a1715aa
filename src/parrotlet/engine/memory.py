"""What generation keeps of the tokens that it has fed: themselves, keys, values, what convolutions were given; slot =
position."""

from __future__ import annotations

import contextlib
import math
import mmap
from collections.abc import Iterator

import torch
from torch import Tensor

from ..errors import UserError
from ..files import first_line
from ..model import GPT, ModelConfig
from ..model.gpt import Block

BLOCK = 32
"""Rows have a multiple of so many slots, and `APART` that are not used."""
APART = 8
"""With a power of two between them, what heads and rows have at the same position would share a few lines of the
processor's cache."""


class Memory:
    """Of `rows` rows; keys and values in `dtype`, the rest in float32. Allocated once; it never grows.

    Raises `UserError` if there is not enough memory.
    """

    def __init__(self, config: ModelConfig, rows: int, device: torch.device, dtype: torch.dtype) -> None:
        try:
            self._allocate(config, rows, device, dtype)
        except (OSError, OverflowError, TypeError, RuntimeError) as error:
            raise UserError(
                f"no memory for {rows:,} answers at a time, of {config.sequence_len:,} tokens each "
                f"({first_line(error)}); ask for fewer rows"
            ) from None

    def _allocate(self, config: ModelConfig, rows: int, device: torch.device, dtype: torch.dtype) -> None:
        self.rows = rows
        self.slots = -(-config.sequence_len // BLOCK) * BLOCK + APART
        shape = (config.depth, rows, config.kv_heads, self.slots, config.head_dim)
        self.keys, self.values = (zeros_in_large_pages(math.prod(shape), device, dtype).view(shape) for _ in range(2))
        shape = (1 if config.ngrams else 0, rows, self.slots)
        self.tokens = torch.zeros(shape, dtype=torch.long, device=device)
        shape = (1 + config.depth if config.short_conv else 0, rows, self.slots, config.width)
        self.convolved = zeros_in_large_pages(math.prod(shape), device).view(shape)

    @property
    def nbytes(self) -> int:
        """What all rows take."""
        return 2 * self.keys.nbytes + self.convolved.nbytes + self.tokens.nbytes

    @torch.inference_mode()
    def copy(self, source: int, target: int, slots: int) -> None:
        """Copy the first slots of a row to another."""
        for memory in (self.keys, self.values):
            memory[:, target, :, :slots] = memory[:, source, :, :slots]
        self.convolved[:, target, :slots] = self.convolved[:, source, :slots]
        self.tokens[:, target, :slots] = self.tokens[:, source, :slots]

    @torch.inference_mode()
    def swap(self, a: int, b: int, slots: int) -> None:
        """Exchange the first slots of two rows."""
        for memory in (self.keys, self.values):
            kept = memory[:, a, :, :slots].clone()
            memory[:, a, :, :slots] = memory[:, b, :, :slots]
            memory[:, b, :, :slots] = kept
        self.convolved[:, [a, b], :slots] = self.convolved[:, [b, a], :slots]
        self.tokens[:, [a, b], :slots] = self.tokens[:, [b, a], :slots]


def zeros_in_large_pages(count: int, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """So many zeros. On Linux the memory is asked for in large pages, in which a CPU finds its way about faster."""
    if not count or device.type != "cpu" or not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.zeros(count, dtype=dtype, device=device)
    pages = mmap.mmap(-1, count * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without them
        pages.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(pages, dtype=dtype)


def conv_shares(model: GPT) -> Tensor:
    """The weights of the embedding's convolution, then of every layer's: (1 + depth, reach, C)."""
    named = dict(model.named_parameters())
    layers = [f"blocks.{i}.mlp.conv.weight" for i in range(model.config.depth)]
    return torch.stack([named[name].detach() for name in ("embedding_conv.weight", *layers)])


def plain_blocks(model: GPT) -> Iterator[Block]:
    """The blocks of a model that nothing is wrapped around."""
    for block in model.blocks:
        assert isinstance(block, Block)
        yield block


def rotations(config: ModelConfig, slots: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines of all positions' angles, (S, D/2) each: the model's rotary positions."""
    half = torch.arange(config.head_dim // 2, device=device)
    angles = torch.arange(slots, device=device)[:, None] * config.rope_theta ** (half * (-2 / config.head_dim))
    return angles.cos(), angles.sin()
