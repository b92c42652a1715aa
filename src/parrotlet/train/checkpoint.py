"""Checkpoints: a folder `step_000500/` that appears whole or not at all.

    model.safetensors       the weights
    optimizer.safetensors   the optimiser's state, `<parameter>.<slot>`, and torch's random state
                            of several ranks: model-00001-of-00008.safetensors, …, each with its rows of every tensor
    state.json              step, order, model configuration, fingerprints of data and tokenizer
    recipe.toml             the recipe
    manifest.json           size and SHA-256 of each file above; written last

It is written aside, synced to disk, and renamed. What the ranks write, `torch.distributed.checkpoint`'s
HuggingFaceStorageReader reads, too.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from .. import ranks
from ..errors import UserError
from ..files import ASIDE, sync, write_json, written_aside

FORMAT = 1
RNG = "torch.rng"
FAILED = "failed"
SHARDING, OFFSETS = "DCP_SHARDING_INFO", "saved_offsets"
"""The names under which torch.distributed.checkpoint notes in a safetensors file where a tensor's part begins."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a checkpoint holds."""

    model: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]
    state: dict[str, Any]
    recipe: str
    first_rows: dict[str, int] | None = None
    """Of a rank's part: the row that each of its tensors begins at. None: the tensors are whole."""


def save_checkpoint(stage_folder: Path, step: int, checkpoint: Checkpoint) -> Path:
    """Write the checkpoint of `step`, whole or not at all; several ranks, which all call this, each write their part.

    Raises `UserError` when the disk is full or can't be written; earlier checkpoints are untouched then.
    """
    folder = checkpoint_folder(stage_folder, step)
    try:
        with written_aside(folder) if ranks.is_first() else contextlib.nullcontext(folder) as aside:
            _write_files(folder, aside, checkpoint)
        ranks.exchange(f"{folder} saved", "")
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
        model=_load_tensors(folder, "model"),
        optimizer=_load_tensors(folder, "optimizer") if optimizer else {},
        state=read_state(folder),
        recipe=(folder / "recipe.toml").read_text("utf-8"),
    )


def read_state(folder: Path) -> dict[str, Any]:
    """What a checkpoint says of itself, without reading or checking its tensors; `UserError` if that can't be read."""
    try:
        return json.loads((folder / "state.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: damaged: state.json can't be read ({error}). {_remedy(folder)}") from None


def verify_checkpoint(folder: Path) -> None:
    """Raise `UserError` unless every file is there as the manifest says."""
    remedy = _remedy(folder)
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


def _remedy(folder: Path) -> str:
    return f"Remove {folder} to use the checkpoint before it"


def list_checkpoints(stage_folder: Path) -> list[int]:
    """Steps that have a checkpoint, ascending."""
    found = (re.fullmatch(r"step_(\d+)", p.name) for p in (stage_folder / "checkpoints").glob("step_*"))
    return sorted(int(match[1]) for match in found if match)


def checkpoint_folder(stage_folder: Path, step: int) -> Path:
    """Where the checkpoint of `step` lies."""
    return stage_folder / "checkpoints" / f"step_{step:06d}"


def remove_old_checkpoints(stage_folder: Path, keep: int, keep_every: int = 0) -> None:
    """Keep the newest `keep` checkpoints (0: all), those of every `keep_every`th step, and nothing half-written."""
    for left_over in (stage_folder / "checkpoints").glob(f"*{ASIDE}"):
        shutil.rmtree(left_over, ignore_errors=True)
    for step in list_checkpoints(stage_folder)[:-keep] if keep else []:
        if not keep_every or step % keep_every:
            folder = checkpoint_folder(stage_folder, step)
            gone = folder.with_name(folder.name + ASIDE)
            if not gone.exists():  # of another time, where it could not be removed
                folder.rename(gone)  # first, so that nobody takes half of it for a checkpoint
            shutil.rmtree(gone, ignore_errors=True)  # a process that has its files open keeps them, on NFS


def _write_files(folder: Path, aside: Path, checkpoint: Checkpoint) -> None:
    """Write this rank's files into the folder that rank 0 makes, which also writes what there is once."""
    if ranks.is_first():
        aside.mkdir()
    aside = folder.with_name(ranks.exchange(f"{folder} aside", aside.name)[0])
    parts = ranks.exchange(f"{folder} files", json.dumps(_save_part(aside, checkpoint)))
    files = {name: found for part in parts for name, found in json.loads(part).items()}
    if failed := files.get(FAILED):
        raise OSError(None, failed)
    if ranks.is_first():
        _finish(aside, checkpoint, files)


def _save_part(aside: Path, checkpoint: Checkpoint) -> dict[str, Any]:
    """Write this rank's tensors; returns its files, or what went wrong, which all ranks have to hear of."""
    try:
        written = [
            _save_tensors(tensors, aside, kind, checkpoint.first_rows)
            for kind, tensors in (("model", checkpoint.model), ("optimizer", checkpoint.optimizer))
            if tensors
        ]
        return {path.name: _describe(path) for path in written}
    except OSError as error:
        where = f"rank {ranks.rank()}: " if ranks.world_size() > 1 else ""
        return {FAILED: where + (error.strerror or str(error))}


def _finish(aside: Path, checkpoint: Checkpoint, files: dict[str, Any]) -> None:
    (aside / "recipe.toml").write_text(checkpoint.recipe, "utf-8")
    sync(aside / "recipe.toml")
    write_json(aside / "state.json", checkpoint.state)
    files |= {name: _describe(aside / name) for name in ("recipe.toml", "state.json")}
    write_json(aside / "manifest.json", {"format": FORMAT, "files": files})
    sync(aside)


def _save_tensors(
    tensors: Mapping[str, torch.Tensor], folder: Path, kind: str, first_rows: dict[str, int] | None
) -> Path:
    name, metadata = kind, None
    if first_rows is not None:
        name = f"{kind}-{ranks.rank() + 1:05d}-of-{ranks.world_size():05d}"
        offsets = {n: {OFFSETS: [first_rows[n], *[0] * (t.ndim - 1)] if t.ndim else []} for n, t in tensors.items()}
        metadata = {SHARDING: json.dumps(offsets)}
    path = folder / f"{name}.safetensors"
    write_tensors({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path, metadata)
    sync(path)
    return path


def write_tensors(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str] | None) -> None:
    """Write a safetensors file. Raises `OSError` where it can't be written: a full disk is an exception of its own to
    safetensors."""
    try:
        save_file(tensors, path, metadata)
    except Exception as error:
        if "os error" in str(error).lower() or "I/O error" in str(error):
            raise OSError(None, str(error)) from error
        raise


def _load_tensors(folder: Path, kind: str) -> dict[str, torch.Tensor]:
    """The tensors of all ranks' files, whole."""
    parts: dict[str, list[tuple[int, torch.Tensor]]] = {}
    for path in folder.glob(f"{kind}*.safetensors"):
        with safe_open(path, "pt") as file:
            offsets = json.loads((file.metadata() or {}).get(SHARDING, "{}"))
            for name in file.keys():  # noqa: SIM118 (it is no dict)
                first = offsets[name][OFFSETS] if name in offsets else ()
                parts.setdefault(name, []).append((first[0] if first else 0, file.get_tensor(name)))
    return {name: _joined(found) for name, found in parts.items()}


def _joined(parts: list[tuple[int, torch.Tensor]]) -> torch.Tensor:
    tensors = [tensor for _, tensor in sorted(parts, key=lambda part: part[0])]
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


def _describe(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
