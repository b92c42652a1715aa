"""The tokenizer's files: `tokenizer.json`, `tokenizer_config.json`, `chat_template.jinja`.

`transformers` finds special tokens in everything that a chat template gives, also in what a user typed. There they
have to stay text. So the template puts a mark between `<` and `|`, and behind a `<` that has such a mark already;
the tokenizer, once it has looked for special tokens, removes one mark behind each `<`.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import tokenizers

BOS = "<|bos|>"
UNMARK = {"type": "Replace", "pattern": {"Regex": "(?<=<)\ufdd0"}, "content": ""}
"""The mark is a noncharacter: Unicode keeps it for such use inside programs, and no text that is exchanged holds it."""

AS_IT_IS = {"special": True, "normalized": False, "single_word": False, "lstrip": False, "rstrip": False}
"""How special tokens are found in a text: by their names, which takes nothing of what stands around them along."""


def chat_template() -> str:
    """Jinja that renders as `chat/render.py` does."""
    return (resources.files("parrotlet.export") / "chat_template.jinja").read_text("utf-8")


def tokenizer_json(content: str) -> str:
    """Our `tokenizer.json` with the step that removes marks, and one that lets plain texts begin with `<|bos|>`."""
    tree = json.loads(content)
    bos = next(token["id"] for token in tree["added_tokens"] if token["content"] == BOS)
    tree["normalizer"], tree["post_processor"] = UNMARK, _begins_with(bos)
    return json.dumps(tree, ensure_ascii=False, indent=1)


def own_tokenizer_json(content: str) -> str:
    """The other way round: what `tokenizer_json` was made from; of another tokenizer, what makes ids of plain text.

    Raises `ValueError` if texts are changed before they are split.
    """
    tree = json.loads(content)
    if tree.get("normalizer") not in (None, UNMARK):
        raise ValueError(f"its normalizer changes texts: {tree['normalizer']}")
    tree |= dict.fromkeys(("normalizer", "post_processor", "padding", "truncation"))
    tree["added_tokens"] = [token | AS_IT_IS for token in tree["added_tokens"]]
    return tokenizers.Tokenizer.from_str(json.dumps(tree)).to_str(pretty=True)


def _begins_with(bos: int) -> dict[str, Any]:
    first: dict[str, Any] = {"SpecialToken": {"id": BOS, "type_id": 0}}
    texts = [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"]
    known = {BOS: {"id": BOS, "ids": [bos], "tokens": [BOS]}}
    single, pair = [first, texts[0]], [first, *texts]
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": known}


def tokenizer_config(sequence_len: int, eos: str) -> dict[str, Any]:
    """What `tokenizer_config.json` holds."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": sequence_len,
        "bos_token": BOS,
        "eos_token": eos,
        "pad_token": "<|assistant_end|>",
        "clean_up_tokenization_spaces": False,
    }
