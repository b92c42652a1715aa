"""NanoChat with short convolutions (each token gets learned shares of the three before it, after the embedding and
before every MLP) and a second embedding, of a token together with the one and with the two before it; either can be
left out.

This file travels with exported models; `transformers` loads it with `trust_remote_code=True`. It is Parrotlet's
only custom code there: everything else is `transformers`' own NanoChat.
"""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# The types that transformers states for NanoChat don't fit its own calls.

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache, DynamicLayer
from transformers.models.nanochat.configuration_nanochat import NanoChatConfig
from transformers.models.nanochat.modeling_nanochat import (
    NanoChatDecoderLayer,
    NanoChatForCausalLM,
    NanoChatMLP,
    NanoChatModel,
)

REACH = 3
"""How many tokens back a short convolution looks."""
NGRAM_FACTORS = (7_919, 1_000_003, 15_485_863)
"""Of a token, the one before it and the one before that, in the hash of an n-gram."""


class ParrotletConfig(NanoChatConfig):
    """NanoChat's, with what is added to it."""

    model_type = "parrotlet"

    short_conv: bool = True
    ngrams: int = 0
    """Rows of the second embedding; 0: none."""


def _remember(x: Tensor, cache: Any, place: int) -> Tensor:
    """All of `x` (B, S, C) so far, in layer `place` of a cache: as keys without values, so that it can be cut and
    reordered."""
    if cache is None:
        return x
    while len(cache.layers) <= place:
        cache.layers.append(DynamicLayer())
    seen, _ = cache.layers[place].update(x[:, None], x[:, None, :, :0])
    return seen[:, 0]


class NgramEmbedding(nn.Embedding):
    """A vector for each token together with the one before it, and one for it together with the two before it. The
    tokens so far lie in layer `place` of a cache."""

    def __init__(self, rows: int, width: int, place: int) -> None:
        super().__init__(rows, width)
        self.place = place

    def forward(self, ids: Tensor, there: Tensor, cache: Any = None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """(B, T, C), the sum of both; one is left out where `there` (B or 1, T, REACH) says that a token is missing."""
        seen = _remember(ids[:, :, None].float(), cache, self.place)[:, :, 0].long()
        hashes, found = ids * NGRAM_FACTORS[0], list[Tensor]()
        for back, factor in enumerate(NGRAM_FACTORS[1:], start=1):
            before = nn.functional.pad(seen, (back, -back))[:, seen.shape[1] - ids.shape[1] :]
            hashes = hashes + (before + 1) * factor
            found.append(super().forward(hashes % self.num_embeddings).where(there[:, :, back - 1, None], 0))
        return torch.stack(found).sum(0)


class ShortConv(nn.Module):
    """Shares of the tokens before, one a channel. What it was given so far lies in layer `place` of a cache."""

    def __init__(self, width: int, place: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(REACH, width))
        self.place = place

    def forward(self, x: Tensor, there: Tensor, cache: Any = None) -> Tensor:
        """`x` (B, T, C) with the shares of what stands before, where `there` (B or 1, T, REACH) says that it does."""
        seen = _remember(x, cache, self.place)
        first = seen.shape[1] - x.shape[1]
        padded = nn.functional.pad(seen, (0, 0, REACH, 0))
        for back in range(1, REACH + 1):
            start = REACH + first - back
            before = padded[:, start : start + x.shape[1]].where(there[:, :, back - 1, None], 0)
            x = x + self.weight[back - 1] * before
        return x


class ParrotletMLP(NanoChatMLP):
    """NanoChat's, after a short convolution, if the configuration asks for it."""

    def __init__(self, config: ParrotletConfig, place: int) -> None:
        super().__init__(config)
        self.conv = ShortConv(config.hidden_size, place) if config.short_conv else None

    def forward(self, hidden_states: Tensor, there: Tensor, cache: Any) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """(B, T, C) → (B, T, C)."""
        return super().forward(hidden_states if self.conv is None else self.conv(hidden_states, there, cache))


class ParrotletLayer(NanoChatDecoderLayer):
    """NanoChat's, with the other MLP."""

    def __init__(self, config: ParrotletConfig, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.mlp = ParrotletMLP(config, place=_first_place(config) + 1 + layer_idx)

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, hidden_states: Tensor, *, there: Tensor, past_key_values: Any = None, **kwargs: Any
    ) -> Tensor:
        """As NanoChat's."""
        attended, _ = self.self_attn(self.input_layernorm(hidden_states), past_key_values=past_key_values, **kwargs)
        hidden_states = hidden_states + attended
        normed = self.post_attention_layernorm(hidden_states)
        return hidden_states + self.mlp(normed, there, past_key_values)


class ParrotletModel(NanoChatModel):
    """Embeds, adds what is learned of n-grams, convolves, and goes through its layers as NanoChat does."""

    config_class = ParrotletConfig

    def __init__(self, config: ParrotletConfig) -> None:
        super().__init__(config)
        width, before = config.hidden_size, config.num_hidden_layers
        self.ngram = NgramEmbedding(config.ngrams, width, place=before) if config.ngrams else None
        self.embedding_conv = ShortConv(width, place=_first_place(config)) if config.short_conv else None
        self.layers = nn.ModuleList(ParrotletLayer(config, i) for i in range(config.num_hidden_layers))
        self.post_init()

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        input_ids: Tensor | None = None,
        attention_mask: Any = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """As NanoChat's."""
        x = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        if past_key_values is None and (self.config.use_cache if use_cache is None else use_cache):
            past_key_values = DynamicCache(config=self.config)
        there = _there_before(x, attention_mask, position_ids, past_key_values)
        if self.ngram is not None:
            if input_ids is None:
                raise ValueError("this model needs input_ids: its embedding of n-grams follows from them")
            x = x + self.ngram(input_ids, there, past_key_values)
        if self.embedding_conv is not None:
            x = self.embedding_conv(x, there, past_key_values)
        return super().forward(
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=x,
            use_cache=use_cache,
            there=there,
            **kwargs,
        )


class ParrotletForCausalLM(NanoChatForCausalLM):
    """The model with its head."""

    config_class = ParrotletConfig

    def __init__(self, config: ParrotletConfig) -> None:
        super().__init__(config)
        self.model = ParrotletModel(config)
        self.post_init()


def _first_place(config: ParrotletConfig) -> int:
    """The layer of a cache that the first short convolution keeps."""
    return config.num_hidden_layers + bool(config.ngrams)


def _there_before(x: Tensor, attention_mask: Any, position_ids: Tensor | None, cache: Any) -> Tensor:
    """Whether a token of the same text stands 1, 2, … REACH before each, (B or 1, T, REACH)."""
    start = 0 if cache is None else cache.get_seq_length()
    back = torch.arange(1, REACH + 1, device=x.device)
    place = torch.arange(start, start + x.shape[1], device=x.device)[:, None] - back
    there = (place >= 0)[None]
    if position_ids is not None:
        there = there & (position_ids[:, :, None] >= back)
    if isinstance(attention_mask, Tensor) and attention_mask.dim() == 2:
        there = there & (attention_mask[:, place.clamp(min=0)] != 0)
    return there
