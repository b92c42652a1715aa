"""What a base training will take: memory, traffic, time, from the recipe alone.

P parameters: of the blocks' matrices P_b, of embedding and head P_r    W ranks    C width    V vocabulary
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch

from ..model import GPT, ModelConfig
from ..model.loss import LARGE_CHUNK
from ..optim.muon import STEPS, rows_together
from ..optim.sharded_muon import choose_owners
from .hardware import Hardware

CALIBRATION = ((1280, 0.46), (2048, 0.51))
"""Width and utilisation of two published runs on 8×H100: depth 20, 11.2 billion tokens in about 3 h; depth 32, about
31 h. Between and beyond them: along the logarithm of the width."""
UTILISATION_BOUNDS = (0.2, 0.55)
SAFE = 0.9
"""Share of the memory that may be planned with: the rest goes to the allocator, the communication and the kernels."""
CHARACTERS_PER_TOKEN, BYTES_PER_CHARACTER = 4.8, 0.4
"""English text, vocabulary 65,536; compressed parquet."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes on one device."""

    parameters: float
    gradients: float
    optimizer: float
    gathered: float
    """Weights, and gradients not yet shared out, of what is being computed: W > 1."""
    activations: float
    loss: float
    muon: float
    """While the optimiser works; activations and the loss's logits are gone then."""

    @property
    def state(self) -> float:
        """What is there all the time."""
        return self.parameters + self.gradients + self.optimizer

    @property
    def peak(self) -> float:
        """At most."""
        return self.state + max(self.gathered + self.activations + self.loss, self.muon)


@dataclass(frozen=True, kw_only=True)
class Step:
    """Seconds of an optimiser step."""

    compute: float
    muon: float
    traffic: float
    """Of the blocks and of embedding and head; beside the computation, as far as it lasts."""
    muon_traffic: float

    @property
    def seconds(self) -> float:
        """In all."""
        return max(self.compute, self.traffic) + self.muon + self.muon_traffic


def split_parameters(config: ModelConfig) -> tuple[int, int]:
    """P_b and P_r."""
    blocks = sum(shape.numel() for shape in matrices(config))
    return blocks, config.num_parameters - blocks


def memory(
    config: ModelConfig, rows: int, world: int, *, recompute: bool = False, dtype: torch.dtype = torch.bfloat16
) -> Memory:
    """Of a rank that computes micro-batches of `rows` rows. Parameters and optimiser are float32."""
    blocks, rest = split_parameters(config)
    size, tokens = dtype.itemsize, rows * config.sequence_len
    per_block = activation_bytes(dtype, config.short_conv) * config.width
    layers = size * config.width * config.depth + per_block if recompute else per_block * config.depth
    gathered = 2 * size * blocks / config.depth + 2 * 4 * rest if world > 1 else size * blocks / config.depth
    largest = max(matrices(config), key=lambda shape: math.prod(shape))
    same = sum(math.prod(shape) for shape in matrices(config) if shape == largest) / world
    chunk = min(tokens, LARGE_CHUNK)
    ngrams = config.ngrams * config.width  # one rank has gradients of those that a step touches; a mean square a row
    return Memory(
        parameters=4 * (blocks + rest) / world,
        gradients=4 * (blocks + rest - (ngrams if world == 1 else 0)) / world,
        optimizer=(4 * blocks + 8 * (rest - ngrams) + 4 * config.ngrams) / world,
        gathered=gathered,
        activations=tokens * (layers + 4 * size * config.width),
        loss=4 * 3 * chunk * config.vocab_size + (4 + size) * config.vocab_size * config.width,
        muon=14 * same + (4 * blocks / world if world > 1 else 0),
    )


@functools.cache
def activation_bytes(dtype: torch.dtype, short_conv: bool) -> float:
    """What a block keeps for its backward pass, in bytes a token and unit of width: counted on small models.

    A norm keeps its input in the compute dtype on an accelerator, in float32 on the CPU that counts here. A compiled
    block keeps less.
    """
    return _kept_values(2, dtype, short_conv) - _kept_values(1, dtype, short_conv)


def _kept_values(depth: int, dtype: torch.dtype, short_conv: bool) -> float:
    sizes = {"vocab_size": 8, "sequence_len": 64, "width": 128, "heads": 1, "kv_heads": 1}
    config = ModelConfig(depth=depth, short_conv=short_conv, **sizes)
    model = GPT.build(config, seed=0, dtype=dtype)
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if config.sequence_len in tensor.shape:  # others are weights
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(torch.zeros(1, config.sequence_len, dtype=torch.long))
    return sum(tensor.numel() for tensor in kept.values()) * dtype.itemsize / config.sequence_len / config.width


def matrices(config: ModelConfig) -> list[torch.Size]:
    """The shapes of the blocks' matrices, which Muon moves."""
    with torch.device("meta"):
        named = GPT(config).blocks.named_parameters()
        return [parameter.shape for name, parameter in named if not name.endswith("conv.weight")]


def largest_rows(config: ModelConfig, hardware: Hardware, most: int, *, recompute: bool = False) -> int | None:
    """The largest micro-batch, a power of two up to `most` rows, that is safe; None: not even one row."""
    room = SAFE * hardware.device.gigabytes * 1e9
    sizes = [2**n for n in range(most.bit_length()) if 2**n <= most]
    fitting = [r for r in sizes if memory(config, r, hardware.count, recompute=recompute).peak <= room]
    return max(fitting, default=None)


def utilisation(width: int) -> float:
    """Share of the peak that the computation reaches."""
    (x0, y0), (x1, y1) = ((math.log(w), share) for w, share in CALIBRATION)
    low, high = UTILISATION_BOUNDS
    return min(high, max(low, y0 + (math.log(width) - x0) * (y1 - y0) / (x1 - x0)))


def step(config: ModelConfig, hardware: Hardware, tokens: int, micro_batches: int, matrix_block: int = 0) -> Step:
    """A step of `tokens` tokens, in so many micro-batches on each device; `matrix_block` is the optimiser's.

    Sent by a rank, times (W - 1)/W: for each micro-batch the blocks in bfloat16 before the forward and the backward
    pass, 4 P_b bytes, and the gradients in float32, 4 P_b + 4 P_r; embedding and head once, 4 P_r. For Muon see
    `optim/sharded_muon.py`; the rank that owns most sets its time.
    """
    world, flops = hardware.count, 1e12 * hardware.device.teraflops * utilisation(config.width)
    blocks, rest = split_parameters(config)
    share, shapes = (world - 1) / world, matrices(config)
    load = [0.0] * world
    for shape, owner in zip(shapes, choose_owners(shapes, world), strict=True):
        small, large = sorted(shape)
        part = rows_together(small, matrix_block)
        load[owner] += STEPS * small * (4 * part * large + 2 * part**2)
    return Step(
        compute=config.flops_per_token * tokens / world / flops,
        muon=max(load) / flops,
        traffic=share * (micro_batches * (8 * blocks + 4 * rest) + 4 * rest) / hardware.bandwidth,
        muon_traffic=share * 4 * blocks / world / hardware.bandwidth,
    )
