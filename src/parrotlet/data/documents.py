"""Documents: raw texts in parquet, jsonl or txt files, numbered and read at random.

Files are cut into blocks (a row group, or some hundred lines), the unit that is read and kept in memory.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import UserError

LINES_A_BLOCK = 512
CHARACTERS_A_TXT_DOCUMENT = 10_000
BLOCKS_KEPT = 8


class DocumentFile(Protocol):
    """A file of documents, in blocks of known sizes."""

    path: Path
    block_sizes: list[int]

    def read_block(self, block: int) -> list[str]:
        """The documents of a block."""
        ...


class ParquetFile:
    """A parquet file with a text column; a row group is a block."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text = path, text
        try:
            with pq.ParquetFile(path) as file:
                names = file.schema_arrow.names
                meta = file.metadata
                self.block_sizes = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{path}: not a readable parquet file ({_first_line(error)})") from None
        if text not in names:
            raise UserError(f"{path}: no column {text!r}; there are {', '.join(names)}. Name the right one as `text`")

    def read_block(self, block: int) -> list[str]:
        """The texts of row group `block`."""
        try:
            with pq.ParquetFile(self.path) as file:
                column = file.read_row_group(block, columns=[self.text]).column(0)
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{self.path}: row group {block} can't be read ({_first_line(error)})") from None
        texts = column.to_pylist()
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                row = sum(self.block_sizes[:block]) + i
                raise UserError(f"{self.path}, row {row}: the column {self.text!r} holds {text!r}, expected a text")
        return texts


class JsonlFile:
    """A file with one JSON object a line, each with a text field; some hundred lines are a block."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text = path, text
        self.block_sizes: list[int] = []
        self._starts: list[tuple[int, int]] = []  # byte offset and line number of each block
        offset = 0
        with path.open("rb") as file:
            for number, line in enumerate(file):
                if number % LINES_A_BLOCK == 0:
                    self._starts.append((offset, number))
                    self.block_sizes.append(0)
                self.block_sizes[-1] += bool(line.strip())
                offset += len(line)

    def read_block(self, block: int) -> list[str]:
        """The texts of the lines of `block`; blank lines are passed over."""
        offset, first = self._starts[block]
        with self.path.open("rb") as file:
            file.seek(offset)
            lines = list(itertools.islice(file, LINES_A_BLOCK))
        return [self._parse(line, first + i + 1) for i, line in enumerate(lines) if line.strip()]

    def _parse(self, line: bytes, number: int) -> str:
        try:
            value = json.loads(line)
        except ValueError as error:
            raise UserError(f"{self.path}, line {number}: not JSON ({error})") from None
        if not isinstance(value, dict) or not isinstance(value.get(self.text), str):
            raise UserError(
                f'{self.path}, line {number}: expected {{"{self.text}": "…"}}, found {line[:80]!r}. '
                "Name the field that holds the text as `text`"
            )
        return value[self.text]


class TxtFile:
    """A text file: paragraphs (between blank lines) gathered into documents of about 10,000 characters."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.block_sizes = [len(self.read_block(0))]

    def read_block(self, block: int) -> list[str]:
        """All documents of the file, which is one block."""
        assert block == 0
        try:
            text = self.path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{self.path}: byte {error.start} is not UTF-8; convert the file (iconv -t utf-8)"
            ) from None
        documents, size = [[]], 0
        for paragraph in text.split("\n\n"):
            if size > CHARACTERS_A_TXT_DOCUMENT:
                documents.append([])
                size = 0
            documents[-1].append(paragraph)
            size += len(paragraph)
        joined = ("\n\n".join(paragraphs).strip("\n") for paragraphs in documents)
        return [document for document in joined if document]


def open_file(path: Path, text: str) -> DocumentFile:
    """Open a file of documents by its ending; `text` names the column or field that holds the text."""
    match path.suffix:
        case ".parquet":
            return ParquetFile(path, text)
        case ".jsonl":
            return JsonlFile(path, text)
        case ".txt" | ".md":
            return TxtFile(path)
    raise UserError(f"{path}: documents are read from .parquet, .jsonl, .txt and .md files")


@dataclass(frozen=True, slots=True)
class Block:
    """Part of a file that is read at once."""

    file: int
    number: int
    first: int
    """Number, in the whole source, of its first document."""
    size: int


class Documents:
    """The documents of some files, numbered from 0. Keeps the last few blocks read in memory."""

    def __init__(self, name: str, paths: Sequence[Path], text: str = "text") -> None:
        self.name = name
        self.files = [open_file(path, text) for path in paths]
        self.blocks: list[Block] = []
        first = 0
        for f, file in enumerate(self.files):
            for number, size in enumerate(file.block_sizes):
                if size:
                    self.blocks.append(Block(f, number, first, size))
                    first += size
        self._length = first
        self._firsts = [block.first for block in self.blocks]
        self._cache: OrderedDict[int, list[str]] = OrderedDict()
        if not first:
            raise UserError(f"{name}: no documents in {', '.join(str(p) for p in paths) or 'no files'}")

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> str:
        block = bisect.bisect_right(self._firsts, index) - 1
        return self.read_block(block)[index - self._firsts[block]]

    def __iter__(self) -> Iterator[str]:
        for block in range(len(self.blocks)):
            yield from self.read_block(block)

    def read_block(self, block: int) -> list[str]:
        """The documents of block number `block`."""
        if block in self._cache:
            self._cache.move_to_end(block)
            return self._cache[block]
        place = self.blocks[block]
        texts = self.files[place.file].read_block(place.number)
        self._cache[block] = texts
        if len(self._cache) > BLOCKS_KEPT:
            self._cache.popitem(last=False)
        return texts

    def where(self, index: int) -> str:
        """File and row of a document, for messages."""
        block = self.blocks[bisect.bisect_right(self._firsts, index) - 1]
        file = self.files[block.file]
        row = sum(file.block_sizes[: block.number]) + index - block.first
        return f"{file.path.name}, document {row}"

    @property
    def fingerprint(self) -> str:
        """Changes when the files' names or content do."""
        digest = hashlib.sha256()
        for file in self.files:
            with file.path.open("rb") as handle:
                digest.update(f"{file.path.name}:{hashlib.file_digest(handle, 'sha256').hexdigest()}\n".encode())
        return digest.hexdigest()


def held_out(text: str, share: float) -> bool:
    """Whether a document belongs to validation where no shards are named for it: a fixed share, by its content."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
