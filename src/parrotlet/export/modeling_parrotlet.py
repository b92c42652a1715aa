"""NanoChat with a token shift: each token's embedding gets a learned share of that of the token before it.

This file travels with exported models; `transformers` loads it with `trust_remote_code=True`. It is Parrotlet's
only custom code there: everything else is `transformers`' own NanoChat.
"""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# The types that transformers states for NanoChat don't fit its own calls.

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.nanochat.configuration_nanochat import NanoChatConfig
from transformers.models.nanochat.modeling_nanochat import NanoChatForCausalLM, NanoChatModel


class ParrotletConfig(NanoChatConfig):
    """NanoChat's, under another name."""

    model_type = "parrotlet"


class TokenShift(nn.Module):
    """A share of the embedding before, one a channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), 0.5))

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        """The embeddings (B, T, C), each with its share of the one before."""
        return x + self.weight * before


class ParrotletModel(NanoChatModel):
    """Embeds, shifts, and leaves the rest to NanoChat."""

    config_class = ParrotletConfig

    def __init__(self, config: ParrotletConfig) -> None:
        super().__init__(config)
        self.token_shift = TokenShift(config.hidden_size)
        self.post_init()

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        input_ids: Tensor | None = None,
        attention_mask: Any = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        previous_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """As NanoChat's. `previous_ids` (B, 1): the tokens before `input_ids`, where a cache holds what came before."""
        x = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        before = torch.zeros_like(x[:, :1]) if previous_ids is None else self.embed_tokens(previous_ids)
        if previous_ids is None and past_key_values is not None and past_key_values.get_seq_length() > 0:
            raise ValueError("with a cache this model needs previous_ids, the token before input_ids; generate() knows")
        before = torch.cat((before, x[:, :-1]), dim=1)
        first = _first_of_a_text(x, attention_mask, position_ids)
        return super().forward(
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=self.token_shift(x, before.masked_fill(first[:, :, None], 0)),
            use_cache=use_cache,
            **kwargs,
        )


class ParrotletForCausalLM(NanoChatForCausalLM):
    """The model with its head."""

    config_class = ParrotletConfig

    def __init__(self, config: ParrotletConfig) -> None:
        super().__init__(config)
        self.model = ParrotletModel(config)
        self.post_init()

    def prepare_inputs_for_generation(self, input_ids: Tensor, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What NanoChat prepares, and the token before those that are fed."""
        inputs = super().prepare_inputs_for_generation(input_ids, *args, **kwargs)
        fed = inputs.get("input_ids")
        if fed is not None and fed.shape[1] < input_ids.shape[1]:
            inputs["previous_ids"] = input_ids[:, -fed.shape[1] - 1 : -fed.shape[1]]
        return inputs


def _first_of_a_text(x: Tensor, attention_mask: Any, position_ids: Tensor | None) -> Tensor:
    """Which tokens have none before them, (B, T): those in position 0, and those that follow padding."""
    first = torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
    if position_ids is not None:
        first = first | (position_ids == 0)
    if isinstance(attention_mask, Tensor) and attention_mask.dim() == 2:
        before = nn.functional.pad(attention_mask, (1, -1))[:, -x.shape[1] :]
        first = first | (before == 0)
    return first
