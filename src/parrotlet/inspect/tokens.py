"""How a tokenizer splits a text, and how another one does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tokenizers

from ..chat import Conversation
from ..errors import UserError
from ..files import read_text
from ..tokenizer import PUBLISHED_PATTERNS, Tokenizer, load_rank_file
from ..tokenizer.stored import byte_alphabet
from ..tokenizer.training import without_surrogates

Split = Callable[[str], list[tuple[int, str]]]


@dataclass(frozen=True)
class Splitter:
    """A tokenizer, reduced to what it makes of a text."""

    name: str
    vocab_size: int
    split: Split
    """The tokens of a text: id, and text with bytes that aren't UTF-8 as `\\xe4`."""


@dataclass(frozen=True)
class Passage:
    """A text to be split, and what it is: `user`, `assistant python`, or nothing for plain text."""

    label: str
    text: str


def our_splitter(tokenizer: Tokenizer, name: str) -> Splitter:
    """One of Parrotlet's own."""

    def split(text: str) -> list[tuple[int, str]]:
        return [(id, tokenizer.token_text(id)) for id in tokenizer.encode(text)]

    return Splitter(name, tokenizer.vocab_size, split)


def any_splitter(path: Path) -> Splitter:
    """Any `tokenizer.json` of the Hugging Face kind. Raises `UserError` if it can't be read."""
    try:
        other = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises Exception itself
        raise UserError(f"{path}: not a tokenizer.json that the library `tokenizers` reads ({error})") from None
    other.no_truncation()
    other.no_padding()
    by_bytes = isinstance(other.decoder, tokenizers.decoders.ByteLevel)

    def split(text: str) -> list[tuple[int, str]]:
        text = without_surrogates(text)
        encoding = other.encode(text, add_special_tokens=False)
        found = zip(encoding.ids, encoding.tokens, encoding.offsets, strict=True)
        return [(id, _of_bytes(token) if by_bytes else _of_offsets(token, text[a:b])) for id, token, (a, b) in found]

    return Splitter(str(path), other.get_vocab_size(), split)


def rank_splitter(path: Path) -> Splitter:
    """A `.tiktoken` file of one of the published vocabularies; raises `UserError` if it is none."""
    if path.stem not in PUBLISHED_PATTERNS:
        known = ", ".join(f"{name}.tiktoken" for name in PUBLISHED_PATTERNS)
        raise UserError(f"{path}: a rank file does not say where it splits words; by name, that is known of {known}")
    other = load_rank_file(path, PUBLISHED_PATTERNS[path.stem], path.stem)

    def split(text: str) -> list[tuple[int, str]]:
        ids = other.encode_ordinary(text)
        return [(id, other.decode_single_token_bytes(id).decode(errors="backslashreplace")) for id in ids]

    return Splitter(str(path), other.n_vocab, split)


def _of_bytes(token: str) -> str:
    alphabet = byte_alphabet()
    if not all(char in alphabet for char in token):
        return token
    return bytes(alphabet[char] for char in token).decode(errors="backslashreplace")


def _of_offsets(token: str, text: str) -> str:
    """A token for a single byte (`<0xE9>`) has the offsets of the whole character."""
    byte = re.fullmatch(r"<0x([0-9A-F]{2})>", token)
    if byte is None or token == text:
        return text
    return bytes.fromhex(byte[1]).decode(errors="backslashreplace")


def read_passages(path: Path) -> list[Passage]:
    """The parts of the conversations in a `.json` (one) or `.jsonl` (one a line) file, or the text of any other."""
    content = read_text(path)
    if path.suffix == ".json":
        return _parts(_json(content, str(path)), str(path))
    if path.suffix == ".jsonl":
        lines = [(n, line) for n, line in enumerate(content.split("\n"), start=1) if line.strip()]
        places = ((f"{path}, line {n}", line) for n, line in lines)
        return [passage for where, line in places for passage in _parts(_json(line, where), where)]
    return [Passage("", content)]


def _json(content: str, where: str) -> object:
    try:
        return json.loads(content)
    except ValueError as error:
        raise UserError(f"{where}: not JSON ({error})") from None


def _parts(value: object, where: str) -> list[Passage]:
    messages = value.get("messages") if isinstance(value, dict) else value
    conversation = Conversation.from_messages(messages, where)
    return [
        Passage(message.role if part.type == "text" else f"{message.role} {part.type}", part.text)
        for message in conversation.messages
        for part in message.parts
    ]
