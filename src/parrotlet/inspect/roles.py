"""Who writes a token: read off the special tokens before it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from ..tokenizer import Tokenizer

TokenRole = Literal["special", "text", "user", "assistant", "call", "output"]
"""`special`: a special token; `text`: a document's; `call` and `output`: of a tool."""


def roles_of(ids: Iterable[int], tokenizer: Tokenizer) -> list[TokenRole]:
    """The role of every token of a segment."""
    opens: dict[int, TokenRole] = {
        tokenizer.bos: "text",
        tokenizer.user_start: "user",
        tokenizer.assistant_start: "assistant",
        tokenizer.python_start: "call",
        tokenizer.python_end: "assistant",
        tokenizer.output_start: "output",
        tokenizer.output_end: "assistant",
    }
    now: TokenRole = "text"
    roles: list[TokenRole] = []
    for token in ids:
        now = opens.get(token, now)
        roles.append("special" if token in tokenizer.special_ids else now)
    return roles
