"""`Imported`: a model in the layout of `transformers`, ours or another NanoChat, in a run, to train on from."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import tokenizers
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import UserError
from ..model import GPT, ModelConfig
from ..recipe import Recipe
from ..tokenizer import Tokenizer
from ..train import Run
from ..train.checkpoint import Checkpoint, list_checkpoints, save_checkpoint
from ..train.run import IMPORT
from .tokenizer_files import own_tokenizer_json
from .weights import our_config, their_name

STAGE = "base"
"""What an imported model stands as: the stage that mid and sft can both start from, and that can be trained on."""

TOKENS_AT_ONCE = 50


@dataclasses.dataclass(frozen=True, kw_only=True)
class Imported:
    """A model and its tokenizer, read and checked."""

    folder: Path
    config: ModelConfig
    weights: dict[str, Tensor]
    tokenizer: Tokenizer

    @classmethod
    def read(cls, folder: Path) -> Imported:
        """Raises `UserError`, naming the file, where it is not a model that Parrotlet computes."""
        config = our_config(_json(folder / "config.json"), str(folder / "config.json"))
        path = folder / "tokenizer.json"
        text = _text(path)
        try:
            content = own_tokenizer_json(text)
        except Exception as error:  # tokenizers raises nothing more precise
            raise UserError(f"{path}: not a tokenizer that Parrotlet can use ({error})") from None
        tokenizer = Tokenizer(content, str(path))
        _check_ids(tokenizer, text, path)
        if tokenizer.vocab_size != config.vocab_size:
            raise UserError(
                f"{folder}: tokenizer.json has {tokenizer.vocab_size:,} tokens and the model {config.vocab_size:,}; "
                "take both from the same model"
            )
        return cls(folder=folder, config=config, weights=_weights(folder, config), tokenizer=tokenizer)

    def recipe(self, recipe: Recipe) -> Recipe:
        """A recipe with this model in place of its own; raises `UserError` if the rest of it doesn't fit."""
        names = {field.name for field in dataclasses.fields(recipe.model)}
        shape = {name: value for name, value in self.config.to_dict().items() if name in names}
        tokenizer = replace(recipe.tokenizer, vocab_size=self.config.vocab_size)
        changed = replace(recipe, model=replace(recipe.model, **shape), tokenizer=tokenizer)
        changed.check(
            f"recipe {recipe.name} with rows of {self.config.sequence_len} tokens, as the model has positions"
        )
        return changed

    def put_into(self, run: Run) -> None:
        """Make it the base stage of a run. Raises `UserError` if the run has one, or another tokenizer."""
        stage = run.stage_folder(STAGE)
        if list_checkpoints(stage):
            raise UserError(f"{run.folder} has a base stage already; name another folder with --run")
        kept = run.folder / "tokenizer"
        if (kept / "tokenizer.json").exists() and run.tokenizer().fingerprint != self.tokenizer.fingerprint:
            raise UserError(f"{run.folder} has another tokenizer than {self.folder}; name another folder with --run")
        self.tokenizer.save(kept)
        stage.mkdir(parents=True, exist_ok=True)
        state = {"stage": IMPORT, "step": 0, "steps": 0, "started_from": f"the import of {self.folder}", "order": {}}
        state |= {"model": self.config.to_dict(), "tokenizer": self.tokenizer.fingerprint}
        state |= {"data": {}, "data_changes": [], "cut": {}}
        save_checkpoint(
            stage, 0, Checkpoint(model=self.weights, optimizer={}, state=state, recipe=run.recipe.to_toml())
        )


def _check_ids(tokenizer: Tokenizer, content: str, path: Path) -> None:
    """Raise `UserError` if `tokenizers` reads other ids out of the file, trying out all tokens of the vocabulary."""
    theirs = tokenizers.Tokenizer.from_str(content)
    theirs.no_truncation()
    theirs.no_padding()
    theirs.encode_special_tokens = True  # as plain text
    tokens = [tokenizer.token_bytes(id).decode(errors="replace") for id in range(tokenizer.vocab_size)]
    texts = [" ".join(tokens[i : i + TOKENS_AT_ONCE]) for i in range(0, len(tokens), TOKENS_AT_ONCE)]
    expected = theirs.encode_batch_fast(texts, add_special_tokens=False)
    for text, ours, other in zip(texts, tokenizer.encode_batch(texts), expected, strict=True):
        if ours != other.ids:
            raise UserError(
                f"{path}: Parrotlet reads other ids out of it than tokenizers does, for {text[:60]!r} for one"
            )


def _weights(folder: Path, config: ModelConfig) -> dict[str, Tensor]:
    """Our names and float32; raises `UserError` unless they are exactly those that the configuration means."""
    found: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            found |= load_file(path)
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path}: can't be read ({error}); copy it again") from None
    if not found:
        raise UserError(f"{folder} has no weights in *.safetensors; `save_pretrained` of transformers writes them")
    with torch.device("meta"):
        wanted = {their_name(name): (name, parameter.shape) for name, parameter in GPT(config).named_parameters()}
    for name in sorted(wanted.keys() ^ found.keys()):
        what = "has no" if name in wanted else "holds, and no model of Parrotlet has,"
        raise UserError(f"{folder}: *.safetensors {what} {name}; take all files from the same model")
    for name, (_, shape) in wanted.items():
        if found[name].shape != shape:
            raise UserError(
                f"{folder}: {name} has the shape {tuple(found[name].shape)}, and config.json means {tuple(shape)}"
            )
    return {ours: found[name].float() for name, (ours, _) in wanted.items()}


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(_text(path))
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected an object, found {str(values)[:40]!r}")
    return values


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: can't be read ({error}); name a folder that `parrotlet export`, or transformers, wrote"
        ) from None
