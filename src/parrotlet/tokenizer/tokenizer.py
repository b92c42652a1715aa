"""The tokenizer that everything above uses."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..files import write_text
from . import stored, training
from .agreement import check_pattern
from .encoding import build_encoding

FILE_NAME = "tokenizer.json"

MAX_THREADS = 8
"""More would only wait for each other: the lists of ids are made under Python's lock."""


class Tokenizer:
    """Text to ids and back: the 256 bytes, then the merges, and the nine special tokens, in ours the last.

    Make one with `train` or `load`. Encoding is safe from several threads at once.
    """

    bos: int
    user_start: int
    user_end: int
    assistant_start: int
    assistant_end: int
    python_start: int
    python_end: int
    output_start: int
    output_end: int

    vocab_size: int
    """Bytes, merges and special tokens together."""
    special_ids: frozenset[int]
    bytes_per_token: np.ndarray
    """How many bytes of text each id stands for: (V,) int64, read-only; 0 for the special tokens."""
    fingerprint: str
    """SHA-256, in hex, of the stored file."""

    def __init__(self, content: str, where: str = FILE_NAME):
        """Take the content of a `tokenizer.json`; `where` names it in the `UserError` if it can't be used."""
        parts = stored.parse(content, where)
        self._content = content
        self._encoding = build_encoding(where, pattern=parts.pattern, ranks=parts.ranks, special_ids=parts.special_ids)
        if parts.pattern != stored.SPLIT_PATTERN:
            check_pattern(parts.pattern, where)
        self.vocab_size = len(parts.ranks) + len(parts.special_ids)
        self._token_bytes = [b""] * self.vocab_size
        for token, id in parts.ranks.items():
            self._token_bytes[id] = token
        self.special_ids = frozenset(parts.special_ids.values())
        self.bytes_per_token = np.array([len(token) for token in self._token_bytes], dtype=np.int64)
        self.bytes_per_token.flags.writeable = False
        self.fingerprint = hashlib.sha256(content.encode()).hexdigest()
        for token, id in parts.special_ids.items():
            setattr(self, token.strip("<|>"), id)

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> Tokenizer:
        """Train on `texts`; `vocab_size` counts bytes, merges and special tokens.

        Deterministic. Raises `UserError` if `vocab_size` is below 265 or the text doesn't reach it.
        """
        return cls(training.train(texts, vocab_size))

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Read `tokenizer.json` in `folder`; raises `UserError` if it is missing or not one of ours."""
        path = folder / FILE_NAME
        try:
            content = path.read_bytes().decode()
        except FileNotFoundError:
            raise UserError(f"{path}: no tokenizer; train one with `parrotlet train tokenizer`") from None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: can't be read ({error}); put it back or train a new one") from error
        return cls(content, where=str(path))

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` into `folder`, which is made if need be. It appears whole or not at all."""
        write_text(folder / FILE_NAME, self._content)

    def encode(self, text: str) -> list[int]:
        """Encode plain text: text that spells a special token is plain text as well.

        A lone surrogate, which is no character, is encoded as U+FFFD.
        """
        return self._encoding.encode_ordinary(text)

    def encode_to_array(self, text: str) -> np.ndarray:
        """The same ids as `encode`, as an array of uint32: without a Python object for each."""
        try:
            return self._encoding.encode_to_numpy(text, disallowed_special=())
        except UnicodeEncodeError:
            return np.array(self.encode(text), dtype=np.uint32)

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """Encode each of `texts`, in several threads."""
        return self._encoding.encode_ordinary_batch(texts, num_threads=min(os.cpu_count() or 1, MAX_THREADS))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`: special tokens as their names, bytes that aren't UTF-8 as U+FFFD."""
        return self._encoding.decode(ids)

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """The bytes of `ids`; special tokens have none."""
        return self._encoding.decode_bytes([id for id in ids if id not in self.special_ids])

    def token_bytes(self, id: int) -> bytes:
        """The bytes of one token; a special token has none."""
        assert id >= 0, f"{id} is no token"
        return self._token_bytes[id]

    def token_text(self, id: int) -> str:
        r"""One token for display: a special token's name; bytes that aren't UTF-8 as `\xe4`."""
        return self._encoding.decode_single_token_bytes(id).decode(errors="backslashreplace")
