"""The order of base training: S logical streams deal out rows.

Number the rows of a run 0, 1, 2, …; row g comes from stream g mod S. Number the documents of a run 0, 1, 2, … too,
epoch after epoch, each epoch shuffled by the seed; stream s reads the documents s, s + S, s + 2S, … one after the
other, and what does not fit into a row goes on in the stream's next row. So every row is a function of the
documents, the tokenizer, S and the seed, whatever the batch size or the number of ranks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from ..errors import UserError
from ..tokenizer import Tokenizer
from .batch import Attends, Batch, Row, Source, cut
from .documents import Documents

State = dict[str, Any]
"""Where an order stands, as JSON: what a checkpoint carries and a resumed run goes on from. `row` is the number, in the
whole stage, of the row that comes next."""


Cuts = dict[str, int]
"""`conversations_split` between turns, and `exchanges_left_out` because one alone was longer than a row."""


class Order(Protocol):
    """Deals out the batches of the steps, from any state it has been in."""

    steps: int | None
    """How many steps the data last for; None: as many as asked."""

    @property
    def cut(self) -> dict[str, Cuts]:
        """What did not fit into a row, by task."""
        ...

    def start(self) -> State:
        """The state before the first step."""
        ...

    def batches(self, state: State) -> Iterator[tuple[Batch, State]]:
        """The batches from `state` on, each with the state after it."""
        ...


class Shuffle:
    """Which document is number n of a run: blocks shuffled in every epoch, and the documents inside each block.

    With `seed` None every epoch goes through the documents as they stand.
    """

    def __init__(self, documents: Documents, seed: int | None) -> None:
        self.documents, self.seed = documents, seed
        self._epoch = functools.lru_cache(maxsize=2)(self._shuffled_blocks)
        self._inside = functools.lru_cache(maxsize=16)(self._shuffled_inside)

    def __getitem__(self, number: int) -> int:
        epoch, place = divmod(number, len(self.documents))
        if self.seed is None:
            return place
        blocks, firsts = self._epoch(epoch)
        i = int(np.searchsorted(firsts, place, side="right")) - 1
        block = int(blocks[i])
        return self.documents.blocks[block].first + int(self._inside(epoch, block)[place - firsts[i]])

    def _shuffled_blocks(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        blocks = np.random.default_rng([self.seed or 0, epoch]).permutation(len(self.documents.blocks))
        sizes = np.array([self.documents.blocks[b].size for b in blocks])
        return blocks, np.cumsum(sizes) - sizes

    def _shuffled_inside(self, epoch: int, block: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed or 0, epoch, block])
        return rng.permutation(self.documents.blocks[block].size)


class Stream:
    """Documents one after the other, `<|bos|>` before each, cut into rows of T tokens."""

    def __init__(
        self,
        shuffle: Shuffle,
        tokenizer: Tokenizer,
        *,
        document: int,
        offset: int = 0,
        stride: int,
        keep: Callable[[str], bool],
    ) -> None:
        self.shuffle, self.tokenizer, self.stride, self.keep = shuffle, tokenizer, stride, keep
        self.document, self.offset = document, offset
        self._ids: list[int] | None = None

    @property
    def epoch(self) -> int:
        """How many times the documents have been gone through before the one that comes next."""
        return self.document // len(self.shuffle.documents)

    def take_row(self, length: int) -> Row:
        """The next `length` tokens."""
        ids: list[int] = []
        segments: list[int] = []
        sources: list[Source] = []
        while len(ids) < length:
            document = self._load()
            piece = document[self.offset : self.offset + length - len(ids)]
            sources.append(self._source(len(sources), len(ids), len(piece), len(document)))
            ids += piece
            segments += [sources[-1].segment] * len(piece)
            self.offset += len(piece)
            if self.offset == len(document):
                self._advance()
        following = self.tokenizer.bos if self.offset == 0 else self._load()[self.offset]
        return Row(
            inputs=np.array(ids, dtype=np.int64),
            targets=np.array([*ids[1:], following], dtype=np.int64),
            positions=np.arange(length, dtype=np.int64),
            segments=np.array(segments, dtype=np.int64),
            sources=tuple(sources),
        )

    def _source(self, segment: int, start: int, taken: int, of: int) -> Source:
        documents, index = self.shuffle.documents, self.shuffle[self.document]
        goes_on = cut(self.offset > 0, self.offset + taken < of)
        return Source(segment, documents.name, index, None, start, start + taken, goes_on)

    def _load(self) -> list[int]:
        passed_over = 0
        while self._ids is None:
            text = self.shuffle.documents[self.shuffle[self.document]]
            if text.strip() and self.keep(text):
                self._ids = [self.tokenizer.bos, *self.tokenizer.encode(text)]
                break
            self._advance()
            passed_over += 1
            if passed_over > len(self.shuffle.documents):
                raise UserError(f"{self.shuffle.documents.name}: no document with any text in it for this split")
        return self._ids

    def _advance(self) -> None:
        self.document, self.offset, self._ids = self.document + self.stride, 0, None


class StreamOrder:
    """Rows of documents, dealt out by S streams; `rows_per_step` of them make a step."""

    steps: int | None = None

    def __init__(
        self,
        documents: Documents,
        tokenizer: Tokenizer,
        *,
        length: int,
        rows_per_step: int,
        streams: int,
        seed: int,
        keep: Callable[[str], bool] = lambda text: True,
        attends: Attends = "row",
    ) -> None:
        self.attends: Attends = attends
        self.documents, self.tokenizer, self.keep = documents, tokenizer, keep
        self.length, self.rows_per_step, self.streams = length, rows_per_step, streams
        self.shuffle = Shuffle(documents, seed)

    @property
    def cut(self) -> dict[str, Cuts]:
        """Nothing: what is too long goes on in the next row."""
        return {}

    def start(self) -> State:
        """Every stream before its first document."""
        return {"row": 0, "epoch": 0, "streams": [[s, 0] for s in range(self.streams)]}

    def batches(self, state: State) -> Iterator[tuple[Batch, State]]:
        """Endless batches from `state` on. The state says which epoch the furthest stream is in."""
        row = state["row"]
        streams = [
            Stream(
                self.shuffle,
                self.tokenizer,
                document=document,
                offset=offset,
                stride=self.streams,
                keep=self.keep,
            )
            for document, offset in state["streams"]
        ]
        while True:
            rows = [streams[g % self.streams].take_row(self.length) for g in range(row, row + self.rows_per_step)]
            row += self.rows_per_step
            yield (
                Batch.from_rows(rows, self.attends),
                {
                    "row": row,
                    "epoch": max(stream.epoch for stream in streams),
                    "streams": [[stream.document, stream.offset] for stream in streams],
                },
            )


def validation_rows(
    documents: Documents,
    tokenizer: Tokenizer,
    *,
    length: int,
    max_tokens: int,
    keep: Callable[[str], bool] = lambda text: True,
) -> list[Row]:
    """The first rows of the documents in the order in which they stand: once through at most."""
    stream = Stream(Shuffle(documents, None), tokenizer, document=0, stride=1, keep=keep)
    rows: list[Row] = []
    while len(rows) * length < max_tokens:
        row = stream.take_row(length)
        if stream.epoch > 0:
            break
        rows.append(row)
    if not rows:
        raise UserError(
            f"{documents.name}: the validation documents hold fewer than {length} tokens; name more of them"
        )
    return rows
