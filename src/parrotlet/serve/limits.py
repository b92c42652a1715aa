"""What a client may ask for; more is refused, with the reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds on what one request asks for, and on what all ask for together."""

    body_bytes: int = 1 << 20
    """Of a request. Larger: 413."""
    messages: int = 256
    """In a conversation. More: 400."""
    choices: int = 16
    """Answers of one request: `n`, times the prompts. More: 400."""
    rows: int = 32
    """Answers that a stage writes at a time; memory for them is taken when the stage is first asked for."""
    queue: int = 64
    """Answers that wait for a row of a stage. More: 429."""
