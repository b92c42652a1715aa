"""The shape of the model, from one dial."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import UserError

WIDTH_PER_LAYER = 64
HEAD_DIM = 128
"""The head width that the dial aims at."""
MAX_EXPONENT = 88
"""The loss adds up the exponentials of capped logits as they are; float32 holds sums up to e^88."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything that decides the architecture. Raises `UserError` where the figures don't fit together."""

    depth: int
    """Transformer blocks."""
    vocab_size: int
    """Tokens that the tokenizer knows."""
    sequence_len: int
    """Positions that the model is trained on, and its context when it generates."""
    width: int
    """Size of the residual stream."""
    heads: int
    """Attention heads; a divisor of `width`."""
    kv_heads: int
    """Key and value heads; a divisor of `heads`. Fewer than `heads`: grouped-query attention."""
    rope_theta: float = 10_000.0
    """Base of the wavelengths of the rotary position embedding."""
    softcap: float = 15.0
    """Logits are capped smoothly at ± this."""
    norm_eps: float = 1e-6
    """Added to the mean square inside every norm."""
    short_conv: bool = False
    """Add to each token learned shares, one a channel, of the three before it: after the embedding and before every
    MLP."""
    ngrams: int = 0
    """Rows of a second embedding, looked up by hashes of a token with the one and with the two before it. 0: none."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "ngrams" and value == 0:
                continue
            if not isinstance(value, bool) and not 0 < value < math.inf:
                raise UserError(f"model.{field.name} is {value}; it must be a number above 0")
        if self.softcap > (most := MAX_EXPONENT - math.log(self.vocab_size)):
            raise UserError(
                f"model.softcap is {self.softcap}; with {self.vocab_size:,} tokens it must be at most {most:.1f}"
            )
        if self.width % self.heads or self.head_dim % 2:
            raise UserError(
                f"model.width = {self.width} can't be shared among model.heads = {self.heads}: "
                "every head needs the same, even width"
            )
        if self.heads % self.kv_heads:
            raise UserError(f"model.kv_heads = {self.kv_heads} must divide model.heads = {self.heads}")

    @property
    def is_plain(self) -> bool:
        """Whether it is what `transformers` calls NanoChat, with nothing added."""
        return not (self.short_conv or self.ngrams)

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        return self.width // self.heads

    @property
    def kv_width(self) -> int:
        """Width of all keys, or of all values."""
        return self.kv_heads * self.head_dim

    @property
    def mlp_width(self) -> int:
        """Hidden units of a block's multilayer perceptron."""
        return 4 * self.width

    @classmethod
    def from_depth(cls, depth: int, vocab_size: int, sequence_len: int, **overrides: Any) -> ModelConfig:
        """The shape that follows from `depth`: 64 × depth wide, heads of at most 128. `overrides` win.

        Raises `UserError` where depth and overrides don't fit together, or an override is no field.
        """
        width = overrides.get("width", WIDTH_PER_LAYER * depth)
        heads = overrides.get("heads", _fewest_heads(width))
        shape = {"width": width, "heads": heads, "kv_heads": heads} | overrides
        return cls.from_dict({"depth": depth, "vocab_size": vocab_size, "sequence_len": sequence_len} | shape)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """From what `to_dict` gave. Raises `UserError` for a name that is no field."""
        unknown = sorted(set(values) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            raise UserError(f"this version's models have no {', '.join(f'model.{name}' for name in unknown)}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return dataclasses.asdict(self)

    @property
    def num_parameters(self) -> int:
        """Parameters, embedding and head included."""
        convolutions = 3 * self.width * (1 + self.depth) if self.short_conv else 0
        return (self.vocab_size + self.ngrams) * self.width + convolutions + self._multiplying_parameters

    @property
    def flops_per_token(self) -> int:
        """Floating-point operations of a training step per token.

        6 for every weight that multiplies (the embedding is only looked up), and attention's
        12 × depth × heads × head_dim × sequence_len (Chowdhery et al. 2022, PaLM, appendix B).
        """
        attention = 12 * self.depth * self.width * self.sequence_len
        return 6 * self._multiplying_parameters + attention

    @property
    def _multiplying_parameters(self) -> int:
        block = 2 * self.width * (self.width + self.kv_width + self.mlp_width)
        return self.depth * block + self.vocab_size * self.width


def _fewest_heads(width: int) -> int:
    """The fewest heads, at most 128 wide, that share `width` evenly; 1 (and an error later) if none do."""
    wanted = range(max(1, -(-width // HEAD_DIM)), width // 2 + 1)
    return next((heads for heads in wanted if width % (2 * heads) == 0), 1)
