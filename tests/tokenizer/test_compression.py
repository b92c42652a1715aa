"""The compression report, and encoding from published rank files against published ids."""

import base64
import json
import math
import re
from pathlib import Path

import pytest
import tiktoken

from parrotlet.errors import UserError
from parrotlet.tokenizer import PUBLISHED_PATTERNS, Tokenizer, compression_report, load_rank_file

PATTERN = r"\S+|\s+"
PUBLISHED = ("r50k_base", "cl100k_base")


def rank_lines(*extra: bytes) -> list[bytes]:
    tokens = [*(bytes([byte]) for byte in range(256)), *extra]
    return [base64.b64encode(token) + b" %d" % rank for rank, token in enumerate(tokens)]


def rank_file(folder: Path, lines: list[bytes]) -> Path:
    path = folder / "some.tiktoken"
    path.write_bytes(b"\n".join(lines))
    return path


def test_the_report(tmp_path: Path):
    reference = load_rank_file(rank_file(tmp_path, rank_lines(b"ab")), PATTERN, "pairs")
    tokenizer = Tokenizer.train(["abab " * 9], 267)  # merges ab, abab
    rows = compression_report(
        tokenizer, {"latin": "abab", "chinese": "鹦", "broken": "\ud800", "empty": ""}, {"pairs": reference}
    )
    assert [(row.name, row.bytes, row.tokens) for row in rows] == [
        ("latin", 4, 1),
        ("chinese", 3, 3),
        ("broken", 3, 3),
        ("empty", 0, 0),
    ]
    assert rows[0].reference_tokens == {"pairs": 2}
    assert (rows[0].bytes_per_token, rows[0].relative_to("pairs")) == (4.0, 2.0)
    assert (rows[1].bytes_per_token, rows[1].relative_to("pairs")) == (1.0, 1.0)
    assert math.isnan(rows[3].bytes_per_token)
    assert math.isnan(rows[3].relative_to("pairs"))


def test_the_report_without_references():
    (row,) = compression_report(Tokenizer.train(["a"], 265), {"one": "ab"}, {})
    assert row.reference_tokens == {}
    assert row.bytes_per_token == 1.0


def test_a_rank_file(tmp_path: Path):
    encoding = load_rank_file(rank_file(tmp_path, [*rank_lines(b"ab", b"abc"), b""]), PATTERN, "mine")
    assert encoding.name == "mine"
    assert encoding.encode_ordinary("abcab b") == [257, 256, 32, 98]


@pytest.mark.parametrize("line", [b"YWI=", b"YWI= x", b"Y W I", b"!! 256", b"YWI= 256 1", b"\xff 256"])
def test_a_bad_line_is_named(tmp_path: Path, line: bytes):
    path = rank_file(tmp_path, [*rank_lines(), line])
    with pytest.raises(UserError, match=r"some\.tiktoken, line 257: expected a token in base64"):
        load_rank_file(path, PATTERN, "mine")


def test_a_rank_file_that_is_missing(tmp_path: Path):
    with pytest.raises(UserError, match=r"none\.tiktoken: can't be read"):
        load_rank_file(tmp_path / "none.tiktoken", PATTERN, "mine")


def test_a_rank_file_without_all_bytes(tmp_path: Path):
    with pytest.raises(UserError, match="mine: 255 of the 256 bytes"):
        load_rank_file(rank_file(tmp_path, rank_lines()[:1]), PATTERN, "mine")


def published_vectors(path: Path) -> dict[str, list[tuple[str, list[int]]]]:
    entry = re.compile(r"EncodingName: (\w+)\r?\nSample: (.*?)\r?\nEncoded: (\[.*?\])", re.DOTALL)
    vectors: dict[str, list[tuple[str, list[int]]]] = {}
    for name, sample, ids in entry.findall(path.read_text(encoding="utf-8")):
        vectors.setdefault(name, []).append((sample, json.loads(ids)))
    return vectors


@pytest.fixture(scope="module")
def oracles(real_data: Path) -> dict[str, tiktoken.Encoding]:
    folder = real_data / "tokenizer_oracles"
    return {name: load_rank_file(folder / f"{name}.tiktoken", PUBLISHED_PATTERNS[name], name) for name in PUBLISHED}


@pytest.mark.real_data
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_vectors(real_data: Path, oracles: dict[str, tiktoken.Encoding], name: str):
    vectors = published_vectors(real_data / "tokenizer_oracles" / "TestPlans.gpt-tokenizer.txt")[name]
    assert len(vectors) == 64
    for sample, ids in vectors:
        assert oracles[name].encode_ordinary(sample) == ids, sample


@pytest.mark.real_data
def test_a_report_on_real_text(oracles: dict[str, tiktoken.Encoding]):
    """The reference counts are those of the references, and a vocabulary of bytes compresses nothing."""
    text = "The parrot learned to speak, and then to speak well. 鹦鹉学会了说话。"
    (row,) = compression_report(Tokenizer.train(["a"], 265), {"text": text}, oracles)
    assert row.tokens == row.bytes == len(text.encode())
    assert row.reference_tokens == {name: len(ref.encode_ordinary(text)) for name, ref in oracles.items()}
    assert row.relative_to("cl100k_base") < row.relative_to("r50k_base") < 1
