"""What an audit finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal[
    "nothing supervised",
    "stop token never supervised",
    "answer cut",
    "double bos",
    "tool output supervised",
    "special-token text",
    "malformed document",
    "malformed conversation",
    "too much padding",
    "duplicated conversations",
    "held-out items in training",
    "supervised share far from plan",
    "unexpected encoding",
]

REMEDIES: dict[Kind, str] = {
    "nothing supervised": "conversations without an answer teach nothing in this stage: drop them, or give them one",
    "stop token never supervised": "a model trained so never stops: conversations must end with the assistant's answer",
    "answer cut": "an answer without its stop token is taught as if it were whole: cut between turns, or drop it",
    "double bos": "the data bring a <|bos|> of their own: let the renderer alone write it",
    "tool output supervised": "the model would learn to invent results: write outputs as parts of type python_output",
    "special-token text": "it is read as plain text, not as a token: take it out of the data, or write it as messages",
    "malformed document": "mend the rows, or drop them; what is not UTF-8: iconv -t utf-8",
    "malformed conversation": "mend the row, or drop it",
    "too much padding": "computation is spent on nothing: lower model.sequence_len, or raise what a step holds",
    "duplicated conversations": "keep one of each; where more weight is meant, say so with `repeat`",
    "held-out items in training": "what is measured on must not be trained on: take them out of the training data",
    "supervised share far from plan": "the task is planned for but hardly learned from: use `repeat`, or drop it",
    "unexpected encoding": "convert the file to UTF-8 (iconv -t utf-8) from the encoding that it was written in",
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, where, and how often."""

    stage: str
    kind: Kind
    what: str
    """In one sentence."""
    places: list[str] = field(default_factory=list)
    """File and row, the first few."""
    count: int = 1
    """How many places there are."""

    @property
    def remedy(self) -> str:
        """What to do."""
        return REMEDIES[self.kind]


SHOWN = 3
"""Places that a finding names."""


@dataclass
class Places:
    """Gathers where something was found."""

    count: int = 0
    shown: list[str] = field(default_factory=list)

    def add(self, place: str) -> None:
        """Count it, and remember the first few."""
        self.count += 1
        if len(self.shown) < SHOWN and place not in self.shown:
            self.shown.append(place)

    def finding(self, stage: str, kind: Kind, what: str) -> list[Finding]:
        """The finding, if there is any."""
        return [Finding(stage, kind, what, self.shown, self.count)] if self.count else []
