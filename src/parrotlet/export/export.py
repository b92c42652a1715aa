"""`export_stage`: a folder that Hugging Face's libraries load."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import written_aside
from ..model import ModelConfig
from ..stages import STAGES, StageName
from ..tokenizer import Tokenizer
from ..train import Run
from ..train.checkpoint import write_tensors
from .card import model_card
from .tokenizer_files import chat_template, tokenizer_config, tokenizer_json
from .weights import MODELING_FILE, their_config, their_weights


def export_stage(run: Run, stage: StageName, to: Path, step: int | None = None) -> list[Path]:
    """Write a stage's checkpoint (default: its last) into the folder `to`; returns its files.

    The folder appears whole or not at all. Raises `UserError` if it is there and holds something.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir()) or to.samefile(Path.cwd())):
        raise UserError(f"{to} is there already; remove it, or name another folder with --to")
    try:
        with written_aside(to.resolve()) as aside:
            aside.mkdir()
            _write_files(run, stage, step, aside)
            if to.exists():
                to.resolve().rmdir()  # what can't be replaced, or was filled meanwhile, is an error here
    except OSError as error:
        raise UserError(f"{to}: can't be written ({error.strerror or error}); make room or name another") from None
    return sorted(to.iterdir())


def _write_files(run: Run, stage: StageName, step: int | None, folder: Path) -> None:
    checkpoint, tokenizer = run.load(stage, step), run.tokenizer()
    config = ModelConfig.from_dict(checkpoint.state["model"])
    chats = STAGES[stage].reads == "conversations"
    eos = "<|assistant_end|>" if chats else "<|bos|>"
    eos_id = tokenizer.assistant_end if chats else tokenizer.bos
    texts = {
        "config.json": _json(their_config(config, bos=tokenizer.bos, eos=eos_id)),
        "generation_config.json": _json(generation_config(tokenizer, chats)),
        "tokenizer.json": tokenizer_json((run.folder / "tokenizer" / "tokenizer.json").read_text("utf-8")),
        "tokenizer_config.json": _json(tokenizer_config(config.sequence_len, eos)),
        "README.md": model_card(run, stage, checkpoint.state, config),
    }
    if chats:
        texts["chat_template.jinja"] = chat_template()
    if not config.is_plain:
        texts[MODELING_FILE] = (resources.files("parrotlet.export") / MODELING_FILE).read_text("utf-8")
    for name, text in texts.items():
        (folder / name).write_text(text, "utf-8")
    write_tensors(their_weights(checkpoint.model), folder / "model.safetensors", {"format": "pt"})


def generation_config(tokenizer: Tokenizer, chats: bool) -> dict[str, Any]:
    """What `generation_config.json` holds.

    A chat model stops where a tool call ends as well: the result is the caller's to write, never the model's. What
    the engine would not let it sample is suppressed.
    """
    values: dict[str, Any] = {"bos_token_id": tokenizer.bos, "pad_token_id": tokenizer.assistant_end}
    if not chats:
        return values | {"eos_token_id": tokenizer.bos}
    ends = [tokenizer.assistant_end, tokenizer.python_end]
    never = sorted(tokenizer.special_ids - {*ends, tokenizer.python_start})
    sampling = {"do_sample": True, "temperature": 0.6, "top_k": 50}
    return values | {"eos_token_id": ends, "suppress_tokens": never, "max_new_tokens": 256} | sampling


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"
