import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from parrotlet.world import VALIDATION_SHARD, Conversations, write_world

SMALL = Conversations(word_problems=60, multiple_choice=60, arc=40, small_talk=40, identity=40, held_out=20)

REAL = {
    "word-problems/main": "openai/gsm8k/main",
    "multiple-choice/all": "cais/mmlu/all",
    "multiple-choice/auxiliary_train": "cais/mmlu/auxiliary_train",
    "arc/ARC-Easy": "allenai/ai2_arc/ARC-Easy",
    "small-talk/data": "HuggingFaceTB/smol-smoltalk/data",
}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        write_world(tmp_path / name, seed=seed, documents=200, conversations=SMALL)
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert a == b
    assert a.keys() == c.keys()
    assert all(a[name] != c[name] for name in a)


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_another_process_writes_the_same_bytes(tmp_path: Path, hash_seed: str) -> None:
    write_world(tmp_path / "here", documents=60, conversations=SMALL)
    code = (
        "import sys; from pathlib import Path; from parrotlet.world import Conversations, write_world; "
        f"write_world(Path(sys.argv[1]), documents=60, conversations={SMALL!r})"
    )
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "there")], check=True, env=environment)
    assert contents(tmp_path / "here") == contents(tmp_path / "there")


def test_more_of_one_thing_changes_no_other(tmp_path: Path) -> None:
    write_world(tmp_path / "a", documents=100, conversations=SMALL)
    write_world(tmp_path / "b", documents=150, conversations=SMALL)
    a, b = contents(tmp_path / "a"), contents(tmp_path / "b")
    changed = {name for name in a if a[name] != b[name]}
    assert all("world-text/shard_0" in name for name in changed - {"files/common_words.txt"})


def test_what_is_written(written: Path) -> None:
    rows = {
        str(file.relative_to(written / "datasets" / "parrotlet")): pq.ParquetFile(file).metadata.num_rows
        for file in (written / "datasets" / "parrotlet").rglob("*.parquet")
    }
    assert rows == {
        **{f"world-text/shard_{i:05d}.parquet": 5_000 for i in range(4)},
        f"world-text/{VALIDATION_SHARD}": 400,
        "word-problems/main/train-00000-of-00001.parquet": 6_000,
        "word-problems/main/test-00000-of-00001.parquet": 300,
        "word-problems/unseen/test-00000-of-00001.parquet": 300,
        "multiple-choice/auxiliary_train/train-00000-of-00001.parquet": 8_000,
        "multiple-choice/all/validation-00000-of-00001.parquet": 300,
        "multiple-choice/all/test-00000-of-00001.parquet": 300,
        "multiple-choice/unseen/test-00000-of-00001.parquet": 300,
        "arc/ARC-Easy/train-00000-of-00001.parquet": 2_000,
        "arc/ARC-Easy/validation-00000-of-00001.parquet": 300,
        "arc/ARC-Easy/test-00000-of-00001.parquet": 300,
        "small-talk/data/train-00000-of-00001.parquet": 2_000,
        "small-talk/data/test-00000-of-00001.parquet": 300,
        "questions/data/train-00000-of-00001.parquet": 2_122,
        "finding/data/train-00000-of-00001.parquet": 24_000,
        "choosing/data/train-00000-of-00001.parquet": 16_000,
        "identity/data/train-00000-of-00001.parquet": 3_200,
        "identity/data/validation-00000-of-00001.parquet": 100,
        "identity/data/test-00000-of-00001.parquet": 300,
    }
    assert {f.name for f in (written / "files").iterdir()} == {
        "words.txt",
        "common_words.txt",
        "identity_conversations.jsonl",
    }


def test_common_words_are_those_that_the_documents_use(written: Path) -> None:
    words, common = ((written / "files" / name).read_text().split() for name in ("words.txt", "common_words.txt"))
    assert set(common) < set(words)
    assert 500 < len(common) < 800
    assert {"window", "cheese", "basket", "bridge"} <= set(common)
    files = (written / "datasets/parrotlet/world-text").glob("shard_0*")
    text = "\n".join(text for file in files for text in pq.read_table(file)["text"].to_pylist())
    times = {word: len(re.findall(rf"\b{word}\b", text)) for word in (*common[:20], *words[:20])}
    assert all((times[word] >= 20) == (word in common) for word in times)


def test_text_comes_in_row_groups(written: Path) -> None:
    text = written / "datasets" / "parrotlet" / "world-text"
    for file in text.iterdir():
        meta = pq.ParquetFile(file).metadata
        assert all(meta.row_group(i).num_rows <= 1_000 for i in range(meta.num_row_groups))
        if file.name != VALIDATION_SHARD:
            assert meta.num_row_groups >= 8
    assert 4e6 < sum(len(t.encode()) for f in text.iterdir() for t in pq.read_table(f)["text"].to_pylist()) < 8e6


def test_conversations_fit_into_small_rows(written: Path) -> None:
    """Rows of 256 tokens, of at least 3 bytes each: 700 bytes leave room for the special tokens."""
    problems = written / "datasets/parrotlet/word-problems/main/train-00000-of-00001.parquet"
    assert max(len(r["question"] + r["answer"]) for r in pq.read_table(problems).to_pylist()) < 450
    talk = written / "datasets/parrotlet/small-talk/data/train-00000-of-00001.parquet"
    for row in pq.read_table(talk).to_pylist():
        assert sum(len(m["content"].encode()) for m in row["messages"]) < 700


@pytest.mark.real_data
@pytest.mark.parametrize("ours", REAL)
def test_schemas_are_those_of_the_real_datasets(written: Path, real_data, ours: str) -> None:
    theirs = {file.name.split("-")[0]: file for file in (real_data / "hub" / "datasets" / REAL[ours]).glob("*.parquet")}
    any_of_theirs = next(iter(theirs.values()))
    for file in (written / "datasets" / "parrotlet" / ours).glob("*.parquet"):
        real = pq.read_schema(theirs.get(file.name.split("-")[0], any_of_theirs))
        assert pq.read_schema(file).remove_metadata() == real.remove_metadata()
