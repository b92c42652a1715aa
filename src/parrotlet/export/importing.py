"""`import_model`: what `export_stage` wrote, in a run again, for mid or sft to start from."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from .tokenizer_files import own_tokenizer_json
from .weights import our_config, their_name

STAGE = "base"
"""What an imported model stands as: the stage that mid and sft can both start from."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Imported:
    """An exported model, read and checked."""

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
        if tokenizer.vocab_size != config.vocab_size:
            raise UserError(
                f"{folder}: tokenizer.json has {tokenizer.vocab_size:,} tokens and the model {config.vocab_size:,}; "
                "take both from the same export"
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
        run.validation(STAGE).cut_back(0)
        run.validation(STAGE).append({"step": 0})
        state = {"stage": STAGE, "step": 0, "steps": 0, "started_from": f"the import of {self.folder}", "order": {}}
        state |= {"model": self.config.to_dict(), "tokenizer": self.tokenizer.fingerprint}
        state |= {"data": {}, "data_changes": [], "cut": {}}
        save_checkpoint(
            stage, 0, Checkpoint(model=self.weights, optimizer={}, state=state, recipe=run.recipe.to_toml())
        )


def _weights(folder: Path, config: ModelConfig) -> dict[str, Tensor]:
    """Our names and float32; raises `UserError` unless they are exactly those that the configuration means."""
    found: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            found |= load_file(path)
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path}: can't be read ({error}); copy the export again") from None
    with torch.device("meta"):
        wanted = {their_name(name): (name, parameter.shape) for name, parameter in GPT(config).named_parameters()}
    for name in sorted(wanted.keys() ^ found.keys()):
        what = "has no" if name in wanted else "holds, and no model of Parrotlet has,"
        raise UserError(f"{folder}: *.safetensors {what} {name}; copy the export again")
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
        raise UserError(f"{path}: can't be read ({error}); name a folder that `parrotlet export` wrote") from None
