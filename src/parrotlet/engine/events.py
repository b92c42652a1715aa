"""What the engine gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..chat import Part
from .sampling import Logprob
from .transcript import PieceKind

Finish = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, kw_only=True)
class Completion:
    """An answer."""

    ids: tuple[int, ...]
    """All tokens after the prompt, without the final `<|assistant_end|>`."""
    injected: tuple[bool, ...]
    """Which of them the engine wrote: tool outputs."""
    logprobs: tuple[Logprob | None, ...] | None
    """Of each of them, None where the engine wrote it; None as a whole where they weren't asked for."""
    finish: Finish
    """`stop`: the model ended it, or a stop string came. `length`: max_tokens, or the context is full."""
    parts: tuple[Part, ...]
    """As a message's content: rendered again it gives the same ids, unless the model spelled a text in other tokens
    than the tokenizer would. A call without a result is left out, and what comes from a stop string on."""
    prompt_tokens: int
    """Length of the prompt."""
    left_out: int = 0
    """Oldest exchanges that were left out because the context was full."""
    reused: int = field(default=0, compare=False)
    """Tokens of the prompt whose keys and values were in memory already. It changes the speed, nothing else."""

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part.text for part in self.parts if part.type == "text")


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that a request has to tell: a piece of text (whole characters only), a whole call, its result, the
    end."""

    request: int
    kind: PieceKind | Literal["end"]
    text: str = ""
    completion: Completion | None = None
    """With the end: the whole answer."""
