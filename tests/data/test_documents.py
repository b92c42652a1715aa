import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from parrotlet.data import Documents, Shuffle, SourceFile
from parrotlet.data.documents import FILES_A_GROUP
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


def test_reading_does_not_import_pandas(tmp_path):
    """pyarrow does where it is asked for numpy arrays and pandas is installed: 30 MB and a second."""
    path = write_parquet(tmp_path / "a.parquet", TEXTS)
    command = "import sys; from pathlib import Path; from parrotlet.data import Documents; "
    command += "list(Documents('p', [Path(sys.argv[1])])); sys.exit('pandas' in sys.modules)"
    subprocess.run([sys.executable, "-c", command, path], check=True)


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
    twice = pa.table([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    pq.write_table(twice, tmp_path / "twice.parquet")
    with pytest.raises(UserError, match=r"twice\.parquet: 2 columns 'text'; there are text, text"):
        Documents("p", [tmp_path / "twice.parquet"])
    with pytest.raises(UserError, match="no column 'text'; there are body"):
        Documents("p", [write_parquet(tmp_path / "b.parquet", TEXTS, "body")])
    with pytest.raises(UserError, match=r"read from \.parquet"):
        Documents("p", [tmp_path / "a.docx"])
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(UserError, match="line 1: byte 0xe9 is not UTF-8"):
        Documents("t", [tmp_path / "latin.txt"])
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(UserError, match="no documents"):
        Documents("t", [tmp_path / "empty.txt"])


def test_a_null_text_is_named_by_its_row(tmp_path):
    texts = pa.table({"text": [*TEXTS[:150], None]})
    for statistics in (True, False):
        pq.write_table(texts, tmp_path / "n.parquet", row_group_size=100, write_statistics=statistics)
        with pytest.raises(UserError, match=r"n\.parquet, row 150"):
            Documents("p", [tmp_path / "n.parquet"])


def test_fingerprint_follows_the_content(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", TEXTS)
    before = Documents("p", [path]).fingerprint
    assert Documents("p", [path]).fingerprint == before
    write_parquet(path, [*TEXTS[:-1], "changed"])
    assert Documents("p", [path]).fingerprint != before


@pytest.mark.parametrize("ending", [".jsonl", ".txt", ".md"])
@pytest.mark.parametrize("packed", [".gz", ".zst"])
def test_compressed_files_read_as_what_is_in_them(tmp_path, ending, packed):
    plain = tmp_path / f"a{ending}"
    lines = [json.dumps({"text": t}) if ending == ".jsonl" else f"{t}\n" for t in TEXTS]
    write_jsonl(plain, lines)
    with pa.output_stream(str(plain) + packed, compression={".gz": "gzip", ".zst": "zstd"}[packed]) as file:
        file.write(plain.read_bytes())
    compressed = tmp_path / f"a{ending}{packed}"
    assert list(Documents("c", [compressed])) == list(Documents("p", [plain]))
    compressed.write_bytes(compressed.read_bytes()[:-30])
    with pytest.raises(UserError, match=rf"a{ending}{packed}: can't be read"):
        Documents("c", [compressed])


def test_places_of_documents(tmp_path):
    jsonl = Documents("j", [write_jsonl(tmp_path / "a.jsonl", ['{"text": "a"}', "", '{"text": "b"}'])])
    assert [jsonl.where(i) for i in range(2)] == ["a.jsonl, line 1", "a.jsonl, line 3"]
    paragraphs = ["word " * 2500, "second\nline", "third"]
    (tmp_path / "b.txt").write_text("\n\n" + "\n\n".join(paragraphs))
    txt = Documents("t", [tmp_path / "b.txt"])
    assert list(txt) == [paragraphs[0], "second\nline\n\nthird"]
    assert [txt.where(i) for i in range(2)] == ["b.txt, line 3", "b.txt, line 5"]


def test_windows_lines_and_characters_that_are_none(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + b"\r\n\r\n".join([b"x" * 10_001, b"second"]))
    assert list(Documents("t", [tmp_path / "a.txt"])) == ["x" * 10_001, "second"]
    path = write_jsonl(tmp_path / "a.jsonl", ['{"text": "lone \\ud800 and pair \\ud83d\\ude00"}'])
    assert list(Documents("j", [path])) == ["lone \ufffd and pair 😀"]


def test_bytes_that_are_no_text_in_parquet(tmp_path):
    bad = pa.array([b"fine", b"\xff\xfe"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": bad}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet: row group 0 can't be read \(.*UTF8"):
        list(Documents("p", [tmp_path / "a.parquet"]))
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"b\.parquet: the column 'text' holds int64, expected texts"):
        Documents("p", [tmp_path / "b.parquet"])


def remote(paths, fetched):
    """Files that are far away, and a list of those that were brought here."""

    def source(path):
        def fetch():
            fetched.append(path.name)
            return path

        return SourceFile(name=path.name, fetch=fetch, identity=lambda: path.name, remote=True)

    return [source(path) for path in paths]


def test_remote_files_are_fetched_group_by_group(tmp_path):
    count = 2 * FILES_A_GROUP + 3
    paths = [write_parquet(tmp_path / f"{i:05d}.parquet", [f"{i} {j}" for j in range(10 + i)]) for i in range(count)]
    fetched = []
    documents = Documents("r", remote(paths, fetched))
    assert len(fetched) == FILES_A_GROUP
    whole = Documents("w", paths)
    lazy, eager = Shuffle(documents, 3), Shuffle(whole, 3)
    first_group = documents.known
    assert [lazy[n] for n in range(first_group // 2)] == [eager[n] for n in range(first_group // 2)]
    assert len(fetched) == FILES_A_GROUP, "nothing more before it is needed"
    lazy[first_group]
    assert len(documents.files) == 2 * FILES_A_GROUP
    assert [lazy[n] for n in range(2 * len(whole))] == [eager[n] for n in range(2 * len(whole))]
    assert sorted(lazy[n] for n in range(len(whole))) == [*range(len(whole))]
    assert [documents[i] for i in range(len(whole))] == list(whole)


def test_the_fingerprint_is_known_before_anything_is_fetched(tmp_path):
    paths = [write_parquet(tmp_path / f"{i}.parquet", TEXTS) for i in range(FILES_A_GROUP + 1)]
    fetched = []
    documents = Documents("r", remote(paths, fetched))
    before = documents.fingerprint
    assert f"{FILES_A_GROUP}.parquet" not in fetched
    assert Documents("r", remote(paths[:-1], [])).fingerprint != before
