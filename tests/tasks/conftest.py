"""Small datasets in the Hub's layout, written by the tests."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from parrotlet.hub import Hub

WriteRows = Callable[[str, Sequence[dict[str, Any]]], Path]


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(folder=tmp_path)


@pytest.fixture
def write_rows(tmp_path: Path) -> WriteRows:
    """Writes rows as parquet to a path such as "openai/gsm8k/main/train-00000-of-00001.parquet"."""

    def write(path: str, rows: Sequence[dict[str, Any]]) -> Path:
        file = tmp_path / "datasets" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(list(rows)), file, row_group_size=3)
        return file

    return write
