"""Rows of parquet files: read once, picked one by one."""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import UserError
from ..files import reading
from ..hub import Hub
from .rows import Rows


class ParquetRows(Rows):
    """Rows of parquet files one after the other, as mappings of some columns.

    `names` are the files' names in messages. The columns are read when the first row is asked for, and stay
    in memory in Arrow's form: about the size of their text. Rows are counted from 0 in each file.
    """

    def __init__(self, names: Sequence[str], paths: Sequence[Path], columns: Sequence[str]) -> None:
        self.names, self.paths, self.columns = tuple(names), tuple(paths), tuple(columns)
        sizes = [_row_count(name, path, columns) for name, path in zip(names, paths, strict=True)]
        self._starts: list[int] = np.cumsum([0, *sizes]).tolist()

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> dict[str, Any]:
        file, row = self._locate(index)
        return {name: column[row].as_py() for name, column in self._tables[file].items()}

    def where(self, index: int) -> str:
        """Such as "openai/gsm8k/main/train-00000-of-00001.parquet, row 17"."""
        file, row = self._locate(index)
        return f"{self.names[file]}, row {row}"

    @cached_property
    def _tables(self) -> list[dict[str, pa.ChunkedArray]]:
        files = zip(self.names, self.paths, strict=True)
        return [_read_columns(name, path, self.columns) for name, path in files]

    def _locate(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        file = bisect_right(self._starts, index) - 1
        return file, index - self._starts[file]


def dataset_rows(hub: Hub, dataset: str, pattern: str, columns: tuple[str, ...]) -> ParquetRows:
    """The rows of all parquet files of a dataset that match `pattern`, in the order of their names. Read once."""

    def read() -> ParquetRows:
        found = hub.dataset_files(dataset, pattern)
        names = [f"{dataset}/{path}" for path in found]
        return ParquetRows(names, [hub.dataset_file(dataset, path) for path in found], columns)

    return hub.once((dataset, pattern, columns), read)


def _row_count(name: str, path: Path, columns: Sequence[str]) -> int:
    with _opened(name, path) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
    wrapper = _wrapper(schema, columns)
    names = [field.name for field in schema.field(wrapper).type] if wrapper else schema.names
    if missing := [column for column in columns if column not in names]:
        raise UserError(
            f"{name}: no column {', '.join(missing)}; there are {', '.join(names)}. The task needs {', '.join(columns)}"
        )
    return rows


def _read_columns(name: str, path: Path, columns: Sequence[str]) -> dict[str, pa.ChunkedArray]:
    with _opened(name, path) as file:
        wrapper = _wrapper(file.schema_arrow, columns)
        table = file.read([wrapper] if wrapper else list(columns))
    if wrapper:
        struct = table.column(wrapper)
        names = [field.name for field in struct.type]
        table = pa.table(dict(zip(names, struct.flatten(), strict=True)))
    return {column: table.column(column) for column in columns}


@contextlib.contextmanager
def _opened(name: str, path: Path) -> Iterator[pq.ParquetFile]:
    with reading(name, f"{path} is not a readable parquet file"), pq.ParquetFile(path) as file:
        yield file


def _wrapper(schema: pa.Schema, columns: Sequence[str]) -> str | None:
    """The one struct column that holds the columns, if the file is made so.

    MMLU's auxiliary_train is: its only column is `train`, a struct of question, subject, choices and answer.
    """
    if len(schema) != 1 or not pa.types.is_struct(schema.field(0).type) or schema.names[0] in columns:
        return None
    return schema.names[0]
