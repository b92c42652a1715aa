"""The tokenizer's files: `tokenizer.json`, `tokenizer_config.json`, `chat_template.jinja`.

`transformers` finds special tokens in everything that a chat template gives, also in what a user typed. There they
have to stay text. So the template puts a mark between `<` and `|`, and behind a `<` that has such a mark already;
the tokenizer, once it has looked for special tokens, removes one mark behind each `<`.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

UNMARK = {"type": "Replace", "pattern": {"Regex": "(?<=<)\ufdd0"}, "content": ""}
"""The mark is a noncharacter: Unicode keeps it for such use inside programs, and no text that is exchanged holds it."""


def chat_template() -> str:
    """Jinja that renders as `chat/render.py` does."""
    return (resources.files("parrotlet.export") / "chat_template.jinja").read_text("utf-8")


def tokenizer_json(content: str) -> str:
    """Our `tokenizer.json` with the step that removes marks."""
    tree = json.loads(content)
    tree["normalizer"] = UNMARK
    return json.dumps(tree, ensure_ascii=False, indent=1)


def tokenizer_config(sequence_len: int, eos: str) -> dict[str, Any]:
    """What `tokenizer_config.json` holds."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": sequence_len,
        "bos_token": "<|bos|>",
        "eos_token": eos,
        "pad_token": "<|assistant_end|>",
        "clean_up_tokenization_spaces": False,
    }
