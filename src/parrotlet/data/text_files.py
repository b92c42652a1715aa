"""Files of texts: parquet as it is; jsonl, txt and md (.gz and .zst, too) brought into parquet once, in the cache.

So there is one way to read, by row groups, and a bad line is found before anything is trained.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import BadRows, UserError
from ..files import (
    cache_folder,
    open_plain,
    parse_json_line,
    plain_suffix,
    read_lines,
    reading,
    sha256,
    written_aside,
)
from ..tokenizer.training import without_surrogates

DOCUMENTS_A_BLOCK = 512
CHARACTERS_A_TXT_DOCUMENT = 10_000
IMPORT_VERSION = 1
"""Raise it whenever the same file would be brought in as other documents."""
ENDINGS = (".parquet", ".jsonl", ".txt", ".md")
"""What texts are read from; all but parquet may be followed by .gz or .zst."""

Progress = Callable[[int, int], None]
"""Called with how many documents were looked at so far, and of how many; 0: nobody knows yet."""


class TextFile:
    """A parquet file with a column of texts; a row group is a block, the unit that is read at once.

    Raises `UserError` unless its footer is whole and the column is there and holds texts.
    """

    def __init__(self, path: Path, column: str, *, name: str, imported: bool = False) -> None:
        self.path, self.column, self.name, self._imported = path, column, name, imported
        with reading(name, "not a readable parquet file"), pq.ParquetFile(path) as file:
            schema, meta = file.schema_arrow, file.metadata
            self.block_sizes = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
        if (count := schema.names.count(column)) != 1:
            names = ", ".join(schema.names)
            found = f"{count} columns" if count else "no column"
            raise UserError(f"{name}: {found} {column!r}; there are {names}. Name the right one as `text`")
        if not _is_text(kind := schema.field(column).type):
            raise UserError(f"{name}: the column {column!r} holds {kind}, expected texts. Name the right one as `text`")

    def read_block(self, block: int) -> pa.StringArray:
        """The texts of row group `block`; `BadRows` if some are missing, `UserError` if it can't be read."""
        with reading(self.name, f"row group {block} can't be read"):
            with pq.ParquetFile(self.path, page_checksum_verification=True) as file:
                texts = file.read_row_group(block, columns=[self.column]).column(0).cast(pa.large_string())
            texts = pa.concat_arrays(texts.chunks) if texts.num_chunks else pa.array([], pa.large_string())
            texts.validate(full=True)
        if len(texts) != self.block_sizes[block]:
            raise UserError(f"{self.name}: row group {block} has {len(texts)} rows, not {self.block_sizes[block]}")
        bad = BadRows()
        if texts.null_count:  # (asked for a numpy array, pyarrow would import pandas)
            for row, missing in enumerate(texts.is_null().to_pylist(), start=sum(self.block_sizes[:block])):
                if missing:
                    bad.add(row, f"{self.name}, row {row}: the column {self.column!r} holds nothing, expected a text")
        bad.finish()
        return texts

    def check(self, on_progress: Progress) -> None:
        """Read all of it, once for the same content: raises `BadRows`, or `UserError` if it can't be read."""
        # The footer's statistics would tell sooner whether a text is missing, but pyarrow aborts on damaged ones.
        checked = cache_folder() / "checked" / _key(self.path, self.column)
        if checked.exists():
            return
        bad = BadRows()
        for block in range(len(self.block_sizes)):
            try:
                self.read_block(block)
            except BadRows as error:
                for row, message in error.messages.items():
                    bad.add(row, message)
            on_progress(sum(self.block_sizes[: block + 1]), sum(self.block_sizes))
        bad.finish()
        checked.parent.mkdir(parents=True, exist_ok=True)
        checked.touch()

    def where(self, row: int) -> str:
        """The place of a document: `a.jsonl, line 7`."""
        name = Path(self.name).name
        return f"{name}, line {self._lines[row]}" if self._imported else f"{name}, document {row}"

    @cached_property
    def _lines(self) -> list[int]:
        return pq.read_table(self.path, columns=["line"]).column(0).to_pylist()


def open_texts(path: Path, column: str, name: str, on_progress: Progress = lambda done, of: None) -> TextFile:
    """Open a file of texts by its ending; `column` names the column or field that holds the text."""
    kind = plain_suffix(path)
    if kind == ".parquet" and path.suffix.lower() == kind:
        return TextFile(path, column, name=name)
    if kind == ".jsonl":
        documents = _json_texts(path, column, name)
    elif kind in (".txt", ".md"):
        documents = _paragraphs(path, name)
    else:
        raise UserError(
            f"{name}: documents are read from .parquet, .jsonl, .txt and .md files, the last three also .gz and .zst"
        )
    imported = cache_folder() / "texts" / f"{_key(path, kind, column, IMPORT_VERSION)}.parquet"
    if not imported.exists():
        _write(imported, documents, on_progress)
    return TextFile(imported, "text", name=name, imported=True)


def is_text_file(path: str) -> bool:
    """Whether a path ends as files of texts do."""
    return plain_suffix(Path(path)) in ENDINGS


def _write(path: Path, documents: Iterator[tuple[int, str]], on_progress: Progress) -> None:
    schema = pa.schema([("text", pa.large_string()), ("line", pa.int64())])
    done = 0
    with written_aside(path) as aside, pq.ParquetWriter(aside, schema, compression="zstd") as writer:
        while block := list(itertools.islice(documents, DOCUMENTS_A_BLOCK)):
            lines, texts = zip(*block, strict=True)
            writer.write_table(
                pa.table([pa.array(texts, pa.large_string()), pa.array(lines, pa.int64())], schema=schema)
            )
            done += len(block)
            on_progress(done, 0)


def _json_texts(path: Path, field: str, name: str) -> Iterator[tuple[int, str]]:
    bad = BadRows()
    for number, line in read_lines(path, name):
        try:
            yield number, _json_text(name, number, line, field)
        except UserError as error:
            bad.add(number, error)
    bad.finish()


def _json_text(name: str, number: int, line: bytes, field: str) -> str:
    expected = f'{{"{field}": "…"}}'
    value = parse_json_line(name, number, line, expected)
    if not isinstance(value, dict) or not isinstance(value.get(field), str):
        raise UserError(
            f"{name}, line {number}: expected {expected}, found {line[:80]!r}. "
            "Name the field that holds the text as `text`"
        )
    return without_surrogates(value[field])


def _paragraphs(path: Path, name: str) -> Iterator[tuple[int, str]]:
    """Paragraphs (between blank lines) gathered into documents of about 10,000 characters; none is lost."""
    line, gathered, size = 1, [], 0
    for paragraph in _plain_text(path, name).split("\n\n"):
        if size > CHARACTERS_A_TXT_DOCUMENT:
            yield from _document(gathered, line)
            line += "\n\n".join(gathered).count("\n") + 2
            gathered, size = [], 0
        gathered.append(paragraph)
        size += len(paragraph)
    yield from _document(gathered, line)


def _document(paragraphs: list[str], line: int) -> Iterator[tuple[int, str]]:
    joined = "\n\n".join(paragraphs)
    if text := joined.strip("\n"):
        yield line + len(joined) - len(joined.lstrip("\n")), text


def _plain_text(path: Path, name: str) -> str:
    bad = BadRows()
    with reading(name), open_plain(path) as file:
        content = file.read()
        for number, line in enumerate(content.split(b"\n"), start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                found = f"byte {line[error.start]:#04x} is not UTF-8; convert the file (iconv -t utf-8)"
                bad.add(number, f"{name}, line {number}: {found}")
        bad.finish()
        return content.decode("utf-8-sig").replace("\r\n", "\n")


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _key(path: Path, *what: object) -> str:
    with reading(path):
        return hashlib.sha256(repr((sha256(path), *what)).encode()).hexdigest()[:32]
