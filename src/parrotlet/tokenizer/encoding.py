"""Making a `tiktoken` encoding from a vocabulary, without its registry and without a network."""

from __future__ import annotations

from collections.abc import Mapping

import tiktoken

from ..errors import UserError
from .stored import BYTES


def build_encoding(
    name: str, *, pattern: str, ranks: dict[bytes, int], special_ids: Mapping[str, int] | None = None
) -> tiktoken.Encoding:
    """An encoding that splits by `pattern` and merges by `ranks`: token to id, which is its priority too.

    Raises `UserError` naming `name` if the vocabulary or the pattern can't be used.
    """
    missing = [byte for byte in range(BYTES) if bytes([byte]) not in ranks]
    if missing:
        raise UserError(f"{name}: {len(missing)} of the 256 bytes have no token, first {missing[0]:#04x}")
    special_tokens = dict(special_ids or {})
    if len({*ranks.values(), *special_tokens.values()}) != len(ranks) + len(special_tokens):
        raise UserError(f"{name}: two tokens have the same id")
    try:
        return tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens=special_tokens)
    except (ValueError, OverflowError) as error:
        raise UserError(f"{name}: tiktoken refuses this vocabulary: {error}") from error
