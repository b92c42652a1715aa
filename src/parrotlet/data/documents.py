"""Documents: raw texts in files, numbered over all of them and read at random.

Files are opened in groups of a few, in the order of their names, when the first document of a group is asked for: so
training on a source of many files that have to be fetched begins when the first ones are there.
"""

from __future__ import annotations

import bisect
import functools
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ..errors import UserError
from ..files import sha256
from .text_files import IMPORT_VERSION, Progress, TextFile, open_texts

FILES_A_GROUP = 8
BYTES_CHECKED = 100_000_000
"""How much of a source of parquet files is read beforehand, to find what is wrong with it: a second's worth."""
SAMPLED_PLACES = 16
BYTES_KEPT = 1 << 29
"""How much text is kept in memory. Streams get ahead of each other: they need blocks some way apart."""


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file of a source, wherever it is."""

    name: str
    fetch: Callable[[], Path]
    """Brings it here if need be."""
    identity: Callable[[], str]
    """Changes when its content does; known without fetching it."""
    remote: bool = False
    """Whether fetching takes its time."""

    @classmethod
    def local(cls, path: Path) -> SourceFile:
        """A file on this machine."""
        return cls(name=str(path), fetch=lambda: path, identity=functools.partial(sha256, path))


@dataclass(frozen=True, slots=True)
class Block:
    """Part of a file that is read at once."""

    file: int
    number: int
    first: int
    """Number, in the whole source, of its first document."""
    size: int


class Documents:
    """The documents of some files, numbered from 0. Keeps what was read last in memory, up to `BYTES_KEPT`.

    Files that are here are opened and brought into parquet at once, and checked (parquet only up to `BYTES_CHECKED`);
    remote ones are opened group by group, when they are needed, and the next group is fetched meanwhile.
    """

    def __init__(
        self,
        name: str,
        files: Sequence[Path | SourceFile],
        text: str = "text",
        on_progress: Progress = lambda done, of: None,
    ) -> None:
        self.name, self.text = name, text
        self.sources = [SourceFile.local(file) if isinstance(file, Path) else file for file in files]
        self.files: list[TextFile] = []
        """Those that are open."""
        self.blocks: list[Block] = []
        self.groups: list[range] = []
        """The blocks of each group of files that is open."""
        self.known = 0
        """Documents in the files that are open."""
        self._on_progress = on_progress
        self._firsts: list[int] = []
        self._group_firsts: list[int] = []
        self._cache: OrderedDict[int, pa.LargeStringArray] = OrderedDict()
        self._fetched_ahead = 0
        self._looked_at = 0
        self.remote = any(source.remote for source in self.sources)
        while not (self.complete or (self.remote and self.known)):
            self.open_group()

    @property
    def complete(self) -> bool:
        """Whether all files are open."""
        return len(self.files) == len(self.sources) and bool(self.known)

    def __len__(self) -> int:
        while not self.complete:
            self.open_group()
        return self.known

    def __getitem__(self, index: int) -> str:
        self.locate(index)
        block = bisect.bisect_right(self._firsts, index) - 1
        return self.read_block(block)[index - self._firsts[block]].as_py()

    def __iter__(self) -> Iterator[str]:
        for index in range(len(self)):
            yield self[index]

    def locate(self, number: int) -> tuple[int, int]:
        """Of number `number` of the documents of all epochs: which epoch, and which document. Opens what it takes."""
        while number >= self.known and not self.complete:
            self.open_group()
        if self.remote and not self.complete and number >= (self._group_firsts[-1] + self.known) // 2:
            self._fetch_ahead()
        return divmod(number, self.known) if self.complete else (0, number)

    def group_of(self, index: int) -> int:
        """Which group of files a document is in."""
        return bisect.bisect_right(self._group_firsts, index) - 1

    def read_block(self, block: int) -> pa.LargeStringArray:
        """The documents of block number `block`."""
        if block in self._cache:
            self._cache.move_to_end(block)
            return self._cache[block]
        place = self.blocks[block]
        texts = self.files[place.file].read_block(place.number)
        self._cache[block] = texts
        while len(self._cache) > 1 and sum(kept.nbytes for kept in self._cache.values()) > BYTES_KEPT:
            self._cache.popitem(last=False)
        return texts

    def where(self, index: int) -> str:
        """File and row of a document, for messages."""
        self.locate(index)
        block = self.blocks[bisect.bisect_right(self._firsts, index) - 1]
        file = self.files[block.file]
        return file.where(sum(file.block_sizes[: block.number]) + index - block.first)

    def sample(self) -> list[str]:
        """Some documents from `SAMPLED_PLACES` places, evenly spread over the files that are open."""
        starts = [self.known * place // SAMPLED_PLACES for place in range(SAMPLED_PLACES)]
        return [self[i] for i in sorted({min(s + j, self.known - 1) for s in starts for j in range(SAMPLED_PLACES)})]

    @functools.cached_property
    def fingerprint(self) -> str:
        """Changes when the files' names or content do, or how they are brought in."""
        digest = hashlib.sha256()
        if not all(source.name.endswith(".parquet") for source in self.sources):
            digest.update(f"{IMPORT_VERSION}\n".encode())
        for source in self.sources:
            digest.update(f"{Path(source.name).name}:{source.identity()}\n".encode())
        return digest.hexdigest()

    def _next_group(self) -> list[SourceFile]:
        return self.sources[len(self.files) : len(self.files) + FILES_A_GROUP]

    def open_group(self) -> None:
        """Open the next files, fetching them if need be."""
        first_block, first = len(self.blocks), self.known
        for source in self._next_group():
            self._open(source)
        if self.known > first:
            self.groups.append(range(first_block, len(self.blocks)))
            self._group_firsts.append(first)
        elif not self.known and len(self.files) == len(self.sources):
            named = ", ".join(source.name for source in self.sources) or "no files"
            raise UserError(f"{self.name}: no documents in {named}")

    def _open(self, source: SourceFile) -> None:
        file = open_texts(source.fetch(), self.text, source.name, self._on_progress)
        if not self.remote and self._looked_at < BYTES_CHECKED:
            file.check(self._on_progress)
            self._looked_at += file.path.stat().st_size
        for number, size in enumerate(file.block_sizes):
            if size:
                self.blocks.append(Block(len(self.files), number, self.known, size))
                self._firsts.append(self.known)
                self.known += size
        self.files.append(file)

    def _fetch_ahead(self) -> None:
        if self._fetched_ahead < len(self.files):
            self._fetched_ahead = len(self.files)
            threading.Thread(target=_fetch, args=(self._next_group(),), name="fetch ahead", daemon=True).start()


def held_out(text: str, share: float) -> bool:
    """Whether a document belongs to validation where no shards are named for it: a fixed share, by its content."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def _fetch(files: Sequence[SourceFile]) -> None:
    """Bring files here. What goes wrong is left to those who need them: it happens again there."""
    for file in files:
        try:
            file.fetch()
        except UserError:
            return
