"""The stored form: what stands in our `tokenizer.json`, and reading it back.

The file is a plain `tokenizers` file, so other programs load it as it is. We read the vocabulary and the split pattern
from it, and refuse a file from which `tiktoken`, which encodes for us, would make other ids than `tokenizers` does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ..errors import UserError

SPECIAL_TOKENS = (
    "<|bos|>",
    "<|user_start|>",
    "<|user_end|>",
    "<|assistant_start|>",
    "<|assistant_end|>",
    "<|python_start|>",
    "<|python_end|>",
    "<|output_start|>",
    "<|output_end|>",
)
"""In the order of their ids, which are the last of the vocabulary; tokenizers of others may have them elsewhere."""

SPLIT_PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)"
    r"|[^\r\n\p{L}\p{N}]?+\p{L}++"
    r"|\p{N}{1,2}"
    r"| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s{0,255}[\r\n]"
    r"|\s{1,255}(?!\S)"
    r"|\s"
)
"""GPT-4's split pattern with two changes.

Numbers are cut into one or two digits, not up to three: in a small vocabulary a thousand numbers weigh too
much. Runs of blanks are cut at 255: without a bound a document with a million blanks overflows the matcher's
stack, or takes time that grows with the square of their number.
"""

BYTES = 256
"""The vocabulary begins with one token for each byte, so that every text can be encoded."""


@dataclass(frozen=True, kw_only=True)
class StoredTokenizer:
    """What encoding needs to know of a `tokenizer.json`."""

    ranks: dict[bytes, int]
    """Token to id. An id is a merge's priority too: the lower, the earlier it is applied."""
    special_ids: dict[str, int]
    """Special token to id. Together with those of `ranks` they are all ids from 0 on."""
    pattern: str
    """The split pattern."""


def parse(content: str, where: str) -> StoredTokenizer:
    """Read the content of a `tokenizer.json`.

    If it isn't one of ours, the `UserError` names the file as `where`.
    """
    try:
        return _parse(json.loads(content))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{where}: not a tokenizer that Parrotlet can use ({type(error).__name__}: {error}). "
            "Put back the file as it was, or train a new one with `parrotlet train tokenizer`."
        ) from error


def byte_alphabet() -> dict[str, int]:
    """The byte that each character of a byte-level vocabulary stands for, as in GPT-2's published encoder.

    Printable characters of Latin-1 stand for themselves; those from U+0100 on, in order, for the other bytes.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = sorted(set(range(BYTES)) - set(printable))
    return {chr(b): b for b in printable} | {chr(BYTES + i): b for i, b in enumerate(others)}


def _parse(tree: dict[str, Any]) -> StoredTokenizer:
    alphabet = byte_alphabet()
    model = tree["model"]
    special_ids = {token["content"]: token["id"] for token in tree["added_tokens"]}
    if len(tree["added_tokens"]) != len(SPECIAL_TOKENS) or special_ids.keys() != set(SPECIAL_TOKENS):
        raise ValueError(f"the special tokens aren't {' '.join(SPECIAL_TOKENS)}, but {' '.join(special_ids) or 'none'}")
    ranks = {_spelled(token, alphabet): id for token, id in model["vocab"].items() if token not in special_ids}
    if sorted([*ranks.values(), *special_ids.values()]) != list(range(len(ranks) + len(special_ids))):
        raise ValueError("the ids aren't 0, 1, 2, … without a gap")
    _check_order(ranks, [_spelled(left + right, alphabet) for left, right in model["merges"]])
    return StoredTokenizer(ranks=ranks, special_ids=special_ids, pattern=_pattern(tree["pre_tokenizer"]))


def _pattern(pre_tokenizer: dict[str, Any]) -> str:
    """The split pattern. Raises unless it is all that texts are split by, into pieces that are bytes as they are."""
    split, byte_level = pre_tokenizer["pretokenizers"]
    pattern = split["pattern"]["Regex"]
    expected = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    as_they_are = byte_level["type"] == "ByteLevel" and not (byte_level["add_prefix_space"] or byte_level["use_regex"])
    if not isinstance(pattern, str) or split != expected or not as_they_are:
        raise ValueError("texts aren't split by one pattern and then spelled in bytes")
    return pattern


def _spelled(token: str, alphabet: dict[str, int]) -> bytes:
    return bytes([alphabet[char] for char in token])


def _check_order(ranks: dict[bytes, int], merged: list[bytes]) -> None:
    """Raise unless the ids are in the order of the merges, of which a token may have several.

    `tiktoken` merges by id and `tokenizers` by the order of the merges: they agree only if both are the same.
    """
    ordered = sorted(ranks, key=ranks.__getitem__)
    in_order = merged == sorted(merged, key=ranks.__getitem__) and list(dict.fromkeys(merged)) == ordered[BYTES:]
    if not in_order or any(len(token) != 1 for token in ordered[:BYTES]):
        raise ValueError("the ids aren't the 256 bytes and then the merges in their order")
