import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from parrotlet.data import Documents
from parrotlet.errors import UserError

TEXTS = [f"Document number {i}. 文档{i}。" for i in range(1100)]


def write_parquet(path, texts, column="text"):
    pq.write_table(pa.table({column: texts}), path, row_group_size=100)
    return path


def write_jsonl(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


def test_parquet_and_jsonl_read_alike(tmp_path):
    parquet = Documents("p", [write_parquet(tmp_path / "a.parquet", TEXTS)])
    jsonl = Documents("j", [write_jsonl(tmp_path / "a.jsonl", [json.dumps({"text": t}) for t in TEXTS])])
    for documents in (parquet, jsonl):
        assert list(documents) == TEXTS
        assert [documents[i] for i in (0, 99, 100, 700, 1099)] == [TEXTS[i] for i in (0, 99, 100, 700, 1099)]
    assert parquet.where(150) == "a.parquet, document 150"


def test_blank_lines_of_jsonl_are_no_documents(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", ["", '{"text": "a"}', "", '{"text": "b"}', ""])
    assert list(Documents("j", [path])) == ["a", "b"]


def test_txt_loses_nothing(tmp_path):
    paragraphs = [f"Paragraph {i}. " + "word " * 100 for i in range(100)]
    (tmp_path / "book.txt").write_text("\n\n".join(paragraphs), "utf-8")
    documents = list(Documents("t", [tmp_path / "book.txt"]))
    assert "\n\n".join(documents) == "\n\n".join(paragraphs)
    assert 4 < len(documents) < 8


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"text": "cut', "line 3: not JSON"),
        ('{"body": "x"}', 'line 3: expected {"text"'),
        ('{"text": 7}', 'line 3: expected {"text"'),
        ("[1, 2]", 'line 3: expected {"text"'),
    ],
)
def test_bad_line_is_named(tmp_path, line, says):
    good = '{"text": "fine"}'
    path = write_jsonl(tmp_path / "a.jsonl", [good, good, line, good])
    with pytest.raises(UserError, match=r"a\.jsonl") as caught:
        Documents("j", [path])
    assert says in str(caught.value)


def test_bad_files_are_refused(tmp_path):
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(UserError, match=r"torn\.parquet: not a readable parquet file"):
        Documents("p", [tmp_path / "torn.parquet"])
    with pytest.raises(UserError, match="no column 'text'; there are body"):
        Documents("p", [write_parquet(tmp_path / "b.parquet", TEXTS, "body")])
    with pytest.raises(UserError, match=r"read from \.parquet"):
        Documents("p", [tmp_path / "a.docx"])
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(UserError, match="byte 3 is not UTF-8"):
        Documents("t", [tmp_path / "latin.txt"])
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(UserError, match="no documents"):
        Documents("t", [tmp_path / "empty.txt"])


def test_a_null_text_is_named_by_its_row(tmp_path):
    with pytest.raises(UserError, match=r"n\.parquet, row 150"):
        Documents("p", [write_parquet(tmp_path / "n.parquet", [*TEXTS[:150], None])])


def test_fingerprint_follows_the_content(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", TEXTS)
    before = Documents("p", [path]).fingerprint
    assert Documents("p", [path]).fingerprint == before
    write_parquet(path, [*TEXTS[:-1], "changed"])
    assert Documents("p", [path]).fingerprint != before
