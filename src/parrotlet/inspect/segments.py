"""The segments of a batch, each with its tokens: what the views draw."""

from __future__ import annotations

from dataclasses import dataclass

from ..data import NOT_SUPERVISED, Batch, Source
from ..stages import Stage
from ..tokenizer import Tokenizer
from .material import Material
from .roles import TokenRole, roles_of

REST = "‥"
"""Stands for a token that only goes on with a character that begins in a token before it."""


@dataclass(frozen=True)
class Segment:
    """A document's or a conversation's stretch of a row."""

    stage: str
    row: int
    source: Source
    where: str
    """File and row."""
    position: int
    """Position of its first token, as the model gets it; the others follow."""
    ids: list[int]
    targets: list[int]
    """What each position is trained to predict; -1: nothing."""
    texts: list[str]
    """What to show of each token: a character that several tokens share stands at the first, `‥` at the others."""
    taught: list[bool]
    """Whether each token is a target: of the position before it in the row."""
    roles: list[TokenRole]

    @property
    def name(self) -> str:
        """Such as `word-problems[786]`."""
        return f"{self.source.task or self.source.dataset}[{self.source.index}]"

    @property
    def supervised(self) -> int:
        """Positions whose prediction is trained."""
        return sum(target != NOT_SUPERVISED for target in self.targets)


def segments_of_row(
    material: Material, stage: Stage, batch: Batch, row: int, number: int | None = None
) -> list[Segment]:
    """The segments of row `row` of a batch, which is called `number` (default: the same)."""
    inputs, targets = batch.inputs[row].tolist(), batch.targets[row].tolist()
    taught = [False, *(target != NOT_SUPERVISED for target in targets[:-1])]
    return [
        Segment(
            stage=stage.name,
            row=row if number is None else number,
            source=source,
            where=material.where(stage, source),
            position=int(batch.positions[row, source.start]),
            ids=inputs[source.start : source.end],
            targets=targets[source.start : source.end],
            texts=shown_texts(inputs[source.start : source.end], material.tokenizer),
            taught=taught[source.start : source.end],
            roles=roles_of(inputs[source.start : source.end], material.tokenizer),
        )
        for source in batch.sources[row]
    ]


def shown_texts(ids: list[int], tokenizer: Tokenizer) -> list[str]:
    """A text for every token. Put together they are the whole text, with bytes that aren't UTF-8 as `\\xe4`."""
    texts = [tokenizer.token_text(id) if id in tokenizer.special_ids else "" for id in ids]
    pieces = [tokenizer.token_bytes(id) for id in ids]
    owners = [i for i, piece in enumerate(pieces) for _ in piece]
    data = b"".join(pieces)
    at = 0
    while at < len(data):
        size = _character_size(data, at)
        texts[owners[at]] += data[at : at + size].decode(errors="backslashreplace")
        at += size
    return [text or REST for text in texts]


def joined(texts: list[str]) -> str:
    """The text that is shown as `texts`, all of a segment or some."""
    return "".join(text for text in texts if text != REST)


def _character_size(data: bytes, at: int) -> int:
    """Bytes of the character that begins at `at`; 1 where none does."""
    first = data[at]
    size = 4 if first >= 0xF0 else 3 if first >= 0xE0 else 2 if first >= 0xC2 else 1
    try:
        data[at : at + size].decode()
    except UnicodeDecodeError:
        return 1
    return size
