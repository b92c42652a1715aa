"""How well a tokenizer compresses texts, next to tokenizers that others have published."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import tiktoken
from tiktoken_ext.openai_public import r50k_pat_str

from ..errors import UserError
from .encoding import build_encoding
from .tokenizer import Tokenizer

PUBLISHED_PATTERNS = {
    "r50k_base": r50k_pat_str,
    "p50k_base": r50k_pat_str,
    "cl100k_base": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
    ),
}
"""Where the vocabularies of GPT-2, Codex and GPT-4 split a text before they merge, by the name of their rank file."""


@dataclass(frozen=True, kw_only=True)
class CompressionRow:
    """One text: its size, and how many tokens it takes."""

    name: str
    bytes: int
    """Length in UTF-8."""
    tokens: int
    reference_tokens: Mapping[str, int]
    """Tokens that each reference takes, by its name."""

    @property
    def bytes_per_token(self) -> float:
        """Higher is better; NaN for an empty text."""
        return _ratio(self.bytes, self.tokens)

    def relative_to(self, reference: str) -> float:
        """Bytes per token divided by the reference's: above 1, ours compresses better."""
        return _ratio(self.reference_tokens[reference], self.tokens)


def compression_report(
    tokenizer: Tokenizer, texts: Mapping[str, str], references: Mapping[str, tiktoken.Encoding]
) -> list[CompressionRow]:
    """One row for each of the named `texts`, in their order."""
    return [_row(name, text, tokenizer, references) for name, text in texts.items()]


def load_rank_file(path: Path, pattern: str, name: str) -> tiktoken.Encoding:
    """Read a `.tiktoken` file: a line for each token, in base64, with its rank. It has no special tokens.

    `pattern` is the split pattern published with it. Raises `UserError` naming the line that is wrong.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error})") from error
    ranks = dict(_rank(line, f"{path}, line {i + 1}") for i, line in enumerate(lines) if line)
    return build_encoding(name, pattern=pattern, ranks=ranks)


def _row(name: str, text: str, tokenizer: Tokenizer, references: Mapping[str, tiktoken.Encoding]) -> CompressionRow:
    ids = tokenizer.encode(text)
    return CompressionRow(
        name=name,
        bytes=len(tokenizer.decode_bytes(ids)),
        tokens=len(ids),
        reference_tokens={key: len(other.encode_ordinary(text)) for key, other in references.items()},
    )


def _rank(line: bytes, where: str) -> tuple[bytes, int]:
    try:
        token, rank = line.split()
        return base64.b64decode(token, validate=True), int(rank)
    except ValueError as error:
        raise UserError(f"{where}: expected a token in base64 and its rank, found {line[:60]!r}") from error


def _ratio(above: int, below: int) -> float:
    return above / below if below else float("nan")
