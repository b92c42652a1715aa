"""The order of base training: S logical streams deal out rows.

Number the rows of a run 0, 1, 2, …; row g comes from stream g mod S. Number the documents of a source 0, 1, 2, … too,
epoch after epoch, each epoch shuffled by the seed; stream s reads the documents s, s + S, s + 2S, … one after the
other, and what does not fit into a row goes on in the stream's next row of this source. Which source a row is from
follows from its number and the weights, so weights are shares of the tokens, kept to within a few rows at any time.
So every row is a function of the sources, the tokenizer, S and the seed, whatever the batch size or the number of
ranks, and a stream's rows never depend on another stream.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..errors import UserError
from ..tokenizer import Tokenizer
from .batch import Attends, Batch, Row, Source, cut
from .documents import Documents
from .planned import Planned

State = dict[str, Any]
"""Where an order stands, as JSON: what a checkpoint carries and a resumed run goes on from. `row` is the number, in the
whole stage, of the row that comes next."""


ORDER_VERSION = 1
"""Raise it whenever the same data would come in another order."""
_GOLDEN_64 = 0x9E3779B97F4A7C15
"""2^64 divided by the golden ratio."""

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

    def epochs(self, state: State) -> dict[str, int]:
        """How many times each source, or all of the conversations, have been gone through, by name."""
        ...

    def planned(self, steps: int) -> list[Planned]:
        """What so many steps take from each source."""
        ...

    @property
    def filling(self) -> str:
        """How well the rows are filled, and why."""
        ...

    def batches(self, state: State) -> Iterator[tuple[Batch, State]]:
        """The batches from `state` on, each with the state after it."""
        ...


def keep_all(text: str) -> bool:
    """Every document."""
    return True


@dataclass(frozen=True, kw_only=True)
class TextSource:
    """Documents to train on."""

    documents: Documents
    weight: float = 1.0
    """Share of the tokens, relative to the other sources."""
    keep: Callable[[str], bool] = keep_all
    """Which documents to read; the others are passed over."""


UNLUCKY_EPOCHS = 64
"""Epochs in which a stream looks for a document that is for it, where there are some."""


class Shuffle:
    """Which document is number n of a run: blocks shuffled in every epoch, and the documents inside each block.

    The blocks of a group of files are shuffled with each other, one group comes after the other. With `seed` None
    every epoch goes through the documents as they stand.
    """

    def __init__(self, documents: Documents, seed: int | None) -> None:
        self.documents, self.seed = documents, seed
        self._group = functools.lru_cache(maxsize=4)(self._shuffled_blocks)
        self._inside = functools.lru_cache(maxsize=1024)(self._shuffled_inside)

    def __getitem__(self, number: int) -> int:
        epoch, place = self.documents.locate(number)
        if self.seed is None:
            return place
        blocks, firsts = self._group(epoch, self.documents.group_of(place))
        i = bisect.bisect_right(firsts, place) - 1
        block = blocks[i]
        return self.documents.blocks[block].first + int(self._inside(epoch, block)[place - firsts[i]])

    def _shuffled_blocks(self, epoch: int, group: int) -> tuple[list[int], list[int]]:
        blocks = self.documents.groups[group]
        shuffled = np.random.default_rng([self.seed or 0, epoch, 0, group]).permutation(len(blocks)) + blocks.start
        sizes = np.array([self.documents.blocks[b].size for b in shuffled])
        firsts = np.cumsum(sizes) - sizes + self.documents.blocks[blocks.start].first
        return shuffled.tolist(), firsts.tolist()

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
        self.epoch = shuffle.documents.locate(document)[0]
        """How many times the documents have been gone through before the one that comes next."""
        self._ids: np.ndarray | None = None
        self._index = 0

    def take_row(self, length: int) -> Row:
        """The next `length` tokens."""
        inputs = np.empty(length, dtype=np.int64)
        segments = np.empty(length, dtype=np.int64)
        sources: list[Source] = []
        start = 0
        while start < length:
            ids = self._load()
            end = min(length, start + len(ids) - self.offset)
            inputs[start:end] = ids[self.offset : self.offset + end - start]
            segments[start:end] = len(sources)
            sources.append(self._source(len(sources), start, end, len(ids)))
            self.offset += end - start
            start = end
            if self.offset == len(ids):
                self._advance()
        targets = np.empty(length, dtype=np.int64)
        targets[:-1] = inputs[1:]
        targets[-1] = self.tokenizer.bos if self.offset == 0 else self._load()[self.offset]
        return Row(
            inputs=inputs,
            targets=targets,
            positions=np.arange(length, dtype=np.int64),
            segments=segments,
            sources=tuple(sources),
        )

    def _source(self, segment: int, start: int, end: int, of: int) -> Source:
        goes_on = cut(self.offset > 0, self.offset + end - start < of)
        return Source(segment, self.shuffle.documents.name, self._index, None, start, end, goes_on)

    def _load(self) -> np.ndarray:
        documents, passed_over, epochs = self.shuffle.documents, 0, 1
        while self._ids is None:
            self._index = self.shuffle[self.document]
            text = documents[self._index]
            if text.strip() and self.keep(text):
                self._ids = np.append(np.int64(self.tokenizer.bos), self.tokenizer.encode_to_array(text))
                break
            self._advance()
            passed_over += 1
            if documents.complete and passed_over > epochs * len(documents):
                if epochs == 1 and any(text.strip() and self.keep(text) for text in documents):
                    epochs = UNLUCKY_EPOCHS  # so there are some, and the next epochs may bring one
                    continue
                few = "no document" if epochs == 1 else "too few documents"
                raise UserError(
                    f"{documents.name}: {few} with any text in it for this split, of {len(documents)}; where no "
                    "files are named for validation, `holdout` is the share of the documents that are for it "
                    "(a .txt is cut into documents at blank lines)"
                )
        return self._ids

    def _advance(self) -> None:
        self.document, self.offset, self._ids = self.document + self.stride, 0, None
        self.epoch = self.shuffle.documents.locate(self.document)[0]


class StreamOrder:
    """Rows of documents, dealt out by S streams; `rows_per_step` of them make a step."""

    steps: int | None = None

    def __init__(
        self,
        sources: Sequence[TextSource],
        tokenizer: Tokenizer,
        *,
        length: int,
        rows_per_step: int,
        streams: int,
        seed: int,
        attends: Attends = "row",
    ) -> None:
        self.attends: Attends = attends
        self.sources, self.tokenizer = tuple(sources), tokenizer
        self.length, self.rows_per_step, self.streams = length, rows_per_step, streams
        self.shuffles = [Shuffle(source.documents, seed) for source in self.sources]
        weights = np.array([source.weight for source in self.sources])
        self._bounds: list[float] = (np.cumsum(weights) / weights.sum())[:-1].tolist()

    @property
    def cut(self) -> dict[str, Cuts]:
        """Nothing: what is too long goes on in the next row."""
        return {}

    @property
    def filling(self) -> str:
        """Every position is used: what does not fit goes on in the next row."""
        return f"rows of {self.length}: every position used; what does not fit goes on in the next row"

    def source_of_row(self, row: int) -> int:
        """Which source a row is from: multiples of the golden ratio, mod 1, fall evenly on the weights' shares."""
        return bisect.bisect_right(self._bounds, (row * _GOLDEN_64 % 2**64) / 2**64)

    def start(self) -> State:
        """Every stream before its first document of each source."""
        return self._state(0, [self._streams([(s, 0)] * len(self.sources)) for s in range(self.streams)])

    def epochs(self, state: State) -> dict[str, int]:
        """The epoch that the furthest stream is in, a source."""
        return {source.documents.name: epoch for source, epoch in zip(self.sources, state["epochs"], strict=True)}

    def planned(self, steps: int) -> list[Planned]:
        """Tokens as the weights say; documents and epochs estimated from a sample of each source."""
        tokens = steps * self.rows_per_step * self.length / sum(source.weight for source in self.sources)
        return [self._planned(source, round(tokens * source.weight)) for source in self.sources]

    def _planned(self, source: TextSource, tokens: int) -> Planned:
        documents, sample = source.documents, source.documents.sample()
        kept = [text for text in sample if text.strip() and source.keep(text)]
        if not kept:
            return Planned(documents.name, None, tokens, tokens, None, exact=False)
        mean = sum(1 + len(self.tokenizer.encode_to_array(text)) for text in kept) / len(kept)
        there = documents.known * len(kept) / len(sample)
        epochs = tokens / (mean * there) if documents.complete else None
        return Planned(documents.name, round(tokens / mean), tokens, tokens, epochs, exact=False)

    def batches(self, state: State) -> Iterator[tuple[Batch, State]]:
        """Endless batches from `state` on."""
        row = state["row"]
        streams = [self._streams(places) for places in state["streams"]]
        while True:
            rows = [
                streams[g % self.streams][self.source_of_row(g)].take_row(self.length)
                for g in range(row, row + self.rows_per_step)
            ]
            row += self.rows_per_step
            yield Batch.from_rows(rows, self.attends), self._state(row, streams)

    def _streams(self, places: Sequence[Sequence[int]]) -> list[Stream]:
        """One stream of each source, from where it stands."""
        return [
            Stream(shuffle, self.tokenizer, document=document, offset=offset, stride=self.streams, keep=source.keep)
            for source, shuffle, (document, offset) in zip(self.sources, self.shuffles, places, strict=True)
        ]

    def _state(self, row: int, streams: Sequence[Sequence[Stream]]) -> State:
        return {
            "row": row,
            "epochs": [max(each.epoch for each in of_source) for of_source in zip(*streams, strict=True)],
            "streams": [[[each.document, each.offset] for each in of_stream] for of_stream in streams],
        }


def validation_rows(
    documents: Documents,
    tokenizer: Tokenizer,
    *,
    length: int,
    max_tokens: float,
    keep: Callable[[str], bool] = keep_all,
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
            f"{documents.name}: the validation documents hold fewer than the {length} tokens of a row; name more files "
            "as validation, raise `holdout`, or lower model.sequence_len"
        )
    return rows
