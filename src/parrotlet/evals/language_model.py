"""What an evaluation needs of a language model, ours or any of Hugging Face's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from torch import Tensor

from ..errors import UserError, missing_package
from ..model import GPT
from ..tokenizer import Tokenizer
from .branches import Batch


class LanguageModel(Protocol):
    """Encodes texts, and says what comes next."""

    context: int
    """Tokens that it can read."""
    prefix: list[int]
    """What every text begins with."""
    branches: bool
    """Whether texts that begin alike can share their beginning."""
    device: torch.device
    """What computes it."""

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Ids of texts."""
        ...

    def logits(self, batch: Batch) -> Tensor:
        """Float32 logits (N, V) of what follows the places that are asked for."""
        ...


class OwnModel:
    """A model of Parrotlet."""

    branches = True

    def __init__(self, model: GPT, tokenizer: Tokenizer) -> None:
        self._model, self.device = model, next(model.parameters()).device
        self.context, self.prefix, self.encode = model.config.sequence_len, [tokenizer.bos], tokenizer.encode_batch

    def logits(self, batch: Batch) -> Tensor:
        """See `LanguageModel`. The head is computed where it is asked for only."""
        laid_out = (batch.inputs, batch.positions, batch.segments, batch.before)
        hidden_BTC = self._model(*(None if x is None else x.to(self.device) for x in laid_out))
        return self._model.logits(hidden_BTC[batch.rows, batch.columns])


class HuggingFaceModel:
    """Any causal language model that `transformers` loads from a folder."""

    branches = False

    def __init__(self, folder: Path, *, device: str = "cpu", trust_code: bool = False) -> None:
        try:
            from transformers import AutoModelForCausalLM, AutoTokenizer
        except ImportError:
            raise missing_package("transformers", "export") from None
        if not (folder / "config.json").is_file():
            raise UserError(f"{folder}: no model of Hugging Face: there is no config.json")
        try:
            model: Any = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=trust_code)
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_code)
        except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
            raise UserError(f"{folder}: transformers can't load it: {error}") from None
        self._model = model.eval().to(device)
        self.device = self._model.device
        self.context = getattr(self._model.config, "max_position_embeddings", self._tokenizer.model_max_length)
        self.prefix = [] if self._tokenizer.bos_token_id is None else [self._tokenizer.bos_token_id]

    def encode(self, texts: list[str]) -> list[list[int]]:
        """See `LanguageModel`."""
        return self._tokenizer(texts, add_special_tokens=False)["input_ids"]

    def logits(self, batch: Batch) -> Tensor:
        """See `LanguageModel`. What a row is filled up with comes after all that is asked for, and is not seen."""
        return self._model(batch.inputs.to(self.device)).logits[batch.rows, batch.columns].float()
