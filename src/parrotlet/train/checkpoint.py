"""Checkpoints: a folder `step_000500/` that appears whole or not at all.

    model.safetensors       the weights
    optimizer.safetensors   the optimiser's state, `<parameter>.<slot>`, and torch's random state
    state.json              step, order, model configuration, fingerprints of data and tokenizer
    recipe.toml             the recipe
    manifest.json           size and SHA-256 of each file above; written last

It is written aside, synced to disk, and renamed.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from ..errors import UserError
from ..files import ASIDE, sync, write_json, written_aside

FORMAT = 1
RNG = "torch.rng"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a checkpoint holds."""

    model: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]
    state: dict[str, Any]
    recipe: str


def save_checkpoint(stage_folder: Path, step: int, checkpoint: Checkpoint) -> Path:
    """Write the checkpoint of `step`, whole or not at all.

    Raises `UserError` when the disk is full or can't be written; earlier checkpoints are untouched then.
    """
    folder = checkpoint_folder(stage_folder, step)
    try:
        with written_aside(folder) as aside:
            aside.mkdir()
            _write_files(aside, checkpoint)
    except OSError as error:
        kept = list_checkpoints(stage_folder)
        raise UserError(
            f"{folder}: the checkpoint could not be saved ({error.strerror or error}). "
            f"{f'The one of step {kept[-1]} is intact' if kept else 'There is no earlier one in this stage'}; "
            "make room and give the same command again"
        ) from None
    return folder


def load_checkpoint(folder: Path, *, optimizer: bool = True) -> Checkpoint:
    """Read a checkpoint and check it against its manifest; `UserError` if it is torn or damaged."""
    verify_checkpoint(folder)
    return Checkpoint(
        model=load_file(folder / "model.safetensors"),
        optimizer=load_file(folder / "optimizer.safetensors") if optimizer else {},
        state=json.loads((folder / "state.json").read_text("utf-8")),
        recipe=(folder / "recipe.toml").read_text("utf-8"),
    )


def verify_checkpoint(folder: Path) -> None:
    """Raise `UserError` unless every file is there as the manifest says."""
    remedy = f"Remove {folder} to use the checkpoint before it"
    try:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: not a whole checkpoint: manifest.json can't be read ({error}). {remedy}") from None
    if manifest.get("format") != FORMAT:
        raise UserError(f"{folder}: format {manifest.get('format')}, this version reads format {FORMAT}")
    for name, expected in manifest["files"].items():
        path = folder / name
        found = _describe(path) if path.is_file() else None
        if found != expected:
            what = "is missing" if found is None else f"has {found['bytes']} bytes and another checksum"
            raise UserError(f"{folder}: damaged: {name} {what}; the manifest says {expected['bytes']} bytes. {remedy}")


def list_checkpoints(stage_folder: Path) -> list[int]:
    """Steps that have a checkpoint, ascending."""
    found = (re.fullmatch(r"step_(\d+)", p.name) for p in (stage_folder / "checkpoints").glob("step_*"))
    return sorted(int(match[1]) for match in found if match)


def checkpoint_folder(stage_folder: Path, step: int) -> Path:
    """Where the checkpoint of `step` lies."""
    return stage_folder / "checkpoints" / f"step_{step:06d}"


def remove_old_checkpoints(stage_folder: Path, keep: int) -> None:
    """Keep the newest `keep` checkpoints (0: all), and nothing half-written."""
    for left_over in (stage_folder / "checkpoints").glob(f"*{ASIDE}"):
        shutil.rmtree(left_over, ignore_errors=True)
    for step in list_checkpoints(stage_folder)[:-keep] if keep else []:
        shutil.rmtree(checkpoint_folder(stage_folder, step))


def _write_files(folder: Path, checkpoint: Checkpoint) -> None:
    _save_tensors(checkpoint.model, folder / "model.safetensors")
    _save_tensors(checkpoint.optimizer, folder / "optimizer.safetensors")
    (folder / "recipe.toml").write_text(checkpoint.recipe, "utf-8")
    write_json(folder / "state.json", checkpoint.state)
    files = {path.name: _describe(path) for path in sorted(folder.iterdir())}
    for name in files:
        sync(folder / name)
    write_json(folder / "manifest.json", {"format": FORMAT, "files": files})
    sync(folder)


def _save_tensors(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)
    except Exception as error:
        # safetensors reports a full disk as an exception of its own; make it the OSError that it is.
        if "os error" in str(error).lower() or "I/O error" in str(error):
            raise OSError(None, str(error)) from error
        raise


def _describe(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
