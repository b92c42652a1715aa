"""Weights and configuration, in the names of `transformers`.

A plain model is what `transformers` calls NanoChat and loads without custom code. One with short convolutions or an
embedding of n-grams takes `modeling_parrotlet.py` along, which adds just that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..errors import UserError
from ..model import ModelConfig

NAMES = {
    "embedding": "model.embed_tokens",
    "head": "lm_head",
    "attention.q": "self_attn.q_proj",
    "attention.k": "self_attn.k_proj",
    "attention.v": "self_attn.v_proj",
    "attention.out": "self_attn.o_proj",
    "mlp.up": "mlp.fc1",
    "mlp.down": "mlp.fc2",
    "mlp.conv": "mlp.conv",
    "embedding_conv": "model.embedding_conv",
    "ngram": "model.ngram",
}
MODELING_FILE = "modeling_parrotlet.py"


def their_name(ours: str) -> str:
    """`blocks.3.attention.q.weight` → `model.layers.3.self_attn.q_proj.weight`."""
    if not ours.startswith("blocks."):
        return NAMES[ours.removesuffix(".weight")] + ".weight"
    _, layer, part = ours.removesuffix(".weight").split(".", 2)
    return f"model.layers.{layer}.{NAMES[part]}.weight"


def their_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under the names of `transformers`."""
    return {their_name(name): tensor.contiguous() for name, tensor in weights.items()}


def their_config(config: ModelConfig, *, bos: int, eos: int) -> dict[str, Any]:
    """What `config.json` holds.

    `pad_token_id` stays empty: `transformers` would give the embedding of a padding token no gradient.
    """
    values = {
        "architectures": ["NanoChatForCausalLM"],
        "model_type": "nanochat",
        "dtype": "float32",
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "intermediate_size": config.mlp_width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "max_position_embeddings": config.sequence_len,
        "rms_norm_eps": config.norm_eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "final_logit_softcapping": config.softcap,
        "hidden_act": "relu2",
        "attention_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": bos,
        "eos_token_id": eos,
        "pad_token_id": None,
    }
    if config.is_plain:
        return values
    return values | _CUSTOM | {"short_conv": config.short_conv, "ngrams": config.ngrams}


SHAPE = {
    "depth": "num_hidden_layers",
    "vocab_size": "vocab_size",
    "sequence_len": "max_position_embeddings",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "softcap": "final_logit_softcapping",
    "norm_eps": "rms_norm_eps",
}
IRRELEVANT = {"architectures", "dtype", "auto_map", "bos_token_id", "eos_token_id", "pad_token_id"}
"""What does not change how the model is computed, or follows from the rest."""
UNWRITTEN = {"final_logit_softcapping": 15.0, "rms_norm_eps": 1e-6, "rope_theta": 10_000.0}
"""What `transformers` takes for a value that `config.json` leaves out."""


def our_config(theirs: Mapping[str, Any], where: str) -> ModelConfig:
    """The other way round. Raises `UserError` for a model that is computed in another way than ours, naming every
    value that is."""
    kinds = ("nanochat", "parrotlet")
    kind = theirs.get("model_type")
    if kind not in kinds:
        raise UserError(f"{where}: model_type is {kind!r}; Parrotlet imports {' and '.join(kinds)}")
    given: dict[str, Any] = UNWRITTEN | dict(theirs)
    if given.get("num_key_value_heads") is None:
        given["num_key_value_heads"] = given.get("num_attention_heads")
    for name in SHAPE.values():
        if not isinstance(given.get(name), int | float):
            raise UserError(f"{where}: {name} is {given.get(name)!r}; Parrotlet needs a number there")
    try:
        rope = given.get("rope_scaling") or given.get("rope_parameters") or {}
        given["rope_parameters"] = {"rope_type": "default", "rope_theta": given["rope_theta"], **rope}
        values = {ours: given[name] for ours, name in SHAPE.items()}
        values["rope_theta"] = float(given["rope_parameters"]["rope_theta"])
        if kind == "parrotlet":
            values |= {"short_conv": given.get("short_conv", True), "ngrams": given.get("ngrams", 0)}
        config = ModelConfig.from_dict(values)
    except (TypeError, ValueError) as error:
        said = re.sub(r"model\.(\w+)", lambda match: SHAPE.get(match[1], match[1]), str(error))
        raise UserError(f"{where}: {said}") from None
    computed = their_config(config, bos=0, eos=0) | {"head_dim": config.head_dim, "attention_dropout": 0}
    others = [
        f"{name} is {given[name]!r}; Parrotlet computes only {value!r}"
        for name, value in computed.items()
        if name not in IRRELEVANT and given.get(name, value) != value
    ]
    if others:
        raise UserError("\n  ".join([f"{where}: {others[0]}", *others[1:]]))
    return config


_MODULE = MODELING_FILE.removesuffix(".py")
_CUSTOM = {
    "architectures": ["ParrotletForCausalLM"],
    "model_type": "parrotlet",
    "auto_map": {
        "AutoConfig": f"{_MODULE}.ParrotletConfig",
        "AutoModel": f"{_MODULE}.ParrotletModel",
        "AutoModelForCausalLM": f"{_MODULE}.ParrotletForCausalLM",
    },
}
