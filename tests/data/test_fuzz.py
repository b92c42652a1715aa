"""Damaged files: the texts, or one clear message; never a traceback, never fewer texts without a word.

FUZZED_FILES=10000 tries so many of each kind.
"""

import io
import json
import os
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from parrotlet.data import Documents
from parrotlet.errors import UserError

FILES = int(os.environ.get("FUZZED_FILES", "300"))
TEXTS = [f"Document {i}: " + "words of 文字 " * (i % 5) for i in range(40)]


def jsonl():
    return "".join(
        json.dumps({"id": i, "text": text}, ensure_ascii=False) + "\n" for i, text in enumerate(TEXTS)
    ).encode()


def parquet():
    out = io.BytesIO()
    pq.write_table(pa.table({"id": range(len(TEXTS)), "text": TEXTS}), out, row_group_size=16)
    return out.getvalue()


def compressed(codec):
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, codec) as file:
        file.write(jsonl())
    return out.getvalue().to_pybytes()


CONTENTS = {
    ".jsonl": jsonl(),
    ".jsonl.gz": compressed("gzip"),
    ".jsonl.zst": compressed("zstd"),
    ".parquet": parquet(),
}


def mutated(content: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, removed, put in or said twice; or the end cut off."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at, length = rng.randrange(len(data)), rng.choice((1, 1, 2, 8, 50))
        match rng.randrange(5):
            case 0:
                data[at] = rng.randrange(256)
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = rng.randbytes(length)
            case 3:
                data[at:at] = data[at : at + length]
            case 4 if rng.random() < 0.3:
                del data[at:]
        if not data:
            return b""
    return bytes(data)


def outcome(path) -> str:
    """`read` or `refused`; anything else fails."""
    texts = read(path)
    if isinstance(texts, UserError):
        assert str(path) in str(texts)
        return "refused"
    assert all(isinstance(text, str) for text in texts)
    if path.suffix == ".jsonl":
        lines = [line for line in path.read_bytes().split(b"\n") if line.strip()]
        assert texts == [_decoded(json.loads(line)["text"]) for line in lines], "a line is lost or changed"
    return "read"


def read(path):
    """All the texts, or the error that says what is wrong."""
    try:
        documents = Documents("fuzzed", [path])
        if path.suffix == ".parquet":
            texts = list(documents)
            assert len(texts) == len(documents)
            return texts
    except UserError as error:
        return error
    return list(documents)  # what was brought in has been looked at: no more errors


def _decoded(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PARROTLET_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("ending", CONTENTS)
def test_mutated_files(tmp_path, cache, ending):
    rng = random.Random(ending)
    outcomes = []
    for number in range(FILES):
        path = tmp_path / f"{number}{ending}"
        path.write_bytes(mutated(CONTENTS[ending], rng))
        outcomes.append(outcome(path))
        path.unlink()
    assert outcomes.count("refused") > FILES / 4, "the mutations hit"


def test_pages_with_checksums_let_no_change_through(tmp_path, cache):
    """Parquet says which bytes are wrong only if its writer put checksums in: then nothing changed is ever read."""
    out = io.BytesIO()
    pq.write_table(pa.table({"text": TEXTS}), out, write_page_checksum=True)
    rng = random.Random(0)
    for number in range(min(FILES, 1000)):
        data = bytearray(out.getvalue())
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path = tmp_path / f"{number}.parquet"
        path.write_bytes(data)
        texts = read(path)
        assert isinstance(texts, UserError) or texts == TEXTS
