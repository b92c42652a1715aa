"""Writes the world as a folder with the Hub's layout and the real datasets' schemas."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .building import build_world
from .choices import Item
from .documents import Document, write_documents
from .drills import write_choosing, write_finding, write_questions
from .facts import World
from .identity import write_identity
from .problems import write_problems
from .questions import Part, write_arc, write_multiple_choice
from .splits import Split
from .talk import write_talk
from .words import word_list

Progress = Callable[[int, int], None]
"""Called with what is done and the total."""

MESSAGES = pa.list_(pa.struct({"content": pa.string(), "role": pa.string()}))
TEXT = pa.schema({"text": pa.string(), "title": pa.string(), "source": pa.string()})
PROBLEM = pa.schema({"question": pa.string(), "answer": pa.string()})
QUESTION = pa.schema(
    {"question": pa.string(), "subject": pa.string(), "choices": pa.list_(pa.string()), "answer": pa.int64()}
)
QUESTION_IN_TRAIN = pa.schema({"train": pa.struct(list(QUESTION))})
ARC = pa.schema(
    {
        "id": pa.string(),
        "question": pa.string(),
        "choices": pa.struct({"text": pa.list_(pa.string()), "label": pa.list_(pa.string())}),
        "answerKey": pa.string(),
    }
)
TALK = pa.schema({"messages": MESSAGES, "source": pa.string()})
IDENTITY = pa.schema({"messages": MESSAGES, "expects": pa.list_(pa.string())})

SHARDS = 4
"""Training shards of documents."""
VALIDATION_SHARD = "shard_val.parquet"
"""The shard that is for validation only."""
ROWS_A_GROUP = 500
"""Rows of a row group, in every file."""
COMMON = 20
"""Words of the list that stand in the documents at least so often are listed as common, too."""
WORLD_VERSION = 10
"""Raise it whenever the same seed and sizes would write another world."""


@dataclass(frozen=True, kw_only=True)
class Conversations:
    """How many conversations of each family train has, and each of the other splits."""

    word_problems: int = 6_000
    multiple_choice: int = 8_000
    arc: int = 2_000
    small_talk: int = 2_000
    finding: int = 24_000
    choosing: int = 16_000
    identity: int = 3_200
    held_out: int = 300


def write_world(
    folder: Path,
    *,
    seed: int = 0,
    documents: int = 20_000,
    conversations: Conversations | None = None,
    on_progress: Progress = lambda done, total: None,
) -> None:
    """Write a world into `folder`, which then holds `datasets/parrotlet/…` and `files/…`.

    `documents` (about 250 bytes each) are for base training; a fiftieth more of them is for validation. The
    same arguments write the same bytes. Takes seconds.
    """
    sizes = conversations or Conversations()
    total = documents + sum(vars(sizes).values())
    world = build_world(seed)
    words, spelled = word_list(seed)
    texts = _write_text(
        folder / "datasets/parrotlet/world-text", world, documents, spelled, lambda done: on_progress(done, total)
    )
    done = documents
    for dataset in (_word_problems, _multiple_choice, _arc, _small_talk, _drills, _identity):
        for path, (schema, rows) in dataset(world, sizes).items():
            done += _write(folder / "datasets/parrotlet" / path, schema, rows)
            on_progress(min(done, total), total)
    _write_files(folder / "files", world, sizes, words, texts)


Rows = Iterable[Mapping[str, Any]]
Files = dict[str, tuple[pa.Schema, Rows]]


def _write_text(
    folder: Path, world: World, number: int, spelled: Sequence[str], on_document: Callable[[int], None]
) -> list[str]:
    train = write_documents(world, number, spelled, on_document=on_document)
    known = {document.text for document in train}
    held_out = write_documents(world, max(number // 50, 50), spelled, part="validation", without=known)
    size = -(-number // SHARDS)
    for shard in range(SHARDS):
        _write_documents(folder / f"shard_{shard:05d}.parquet", train[shard * size : (shard + 1) * size])
    _write_documents(folder / VALIDATION_SHARD, held_out)
    return [document.text for document in train]


def _write_documents(path: Path, documents: Sequence[Document]) -> None:
    _write(path, TEXT, map(vars, documents))


def _word_problems(world: World, sizes: Conversations) -> Files:
    def rows(number: int, part: Any) -> Rows:
        return [{"question": p.question, "answer": p.answer} for p in write_problems(world, number, part)]

    return {
        "word-problems/main/train-00000-of-00001.parquet": (PROBLEM, rows(sizes.word_problems, "train")),
        "word-problems/main/test-00000-of-00001.parquet": (PROBLEM, rows(sizes.held_out, "test")),
        "word-problems/unseen/test-00000-of-00001.parquet": (PROBLEM, rows(sizes.held_out, "unseen")),
    }


def _multiple_choice(world: World, sizes: Conversations) -> Files:
    train = write_multiple_choice(world, sizes.multiple_choice, "train")
    files: Files = {
        "multiple-choice/auxiliary_train/train-00000-of-00001.parquet": (
            QUESTION_IN_TRAIN,
            [{"train": vars(item)} for item in train],
        )
    }
    parts: dict[str, Part] = {"all/validation": "validation", "all/test": "test", "unseen/test": "unseen"}
    for path, part in parts.items():
        items = write_multiple_choice(world, sizes.held_out, part)
        files[f"multiple-choice/{path}-00000-of-00001.parquet"] = (QUESTION, map(vars, items))
    return files


def _arc(world: World, sizes: Conversations) -> Files:
    parts: dict[Split, int] = {"train": sizes.arc, "validation": sizes.held_out, "test": sizes.held_out}
    return {
        f"arc/ARC-Easy/{part}-00000-of-00001.parquet": (
            ARC,
            [_arc_row(item, f"world_{part}_{i}") for i, item in enumerate(write_arc(world, number, part))],
        )
        for part, number in parts.items()
    }


def _arc_row(item: Item, name: str) -> dict[str, Any]:
    labels = "ABCDE"[: len(item.choices)]
    return {
        "id": name,
        "question": item.question,
        "choices": {"text": item.choices, "label": list(labels)},
        "answerKey": labels[item.answer],
    }


def _small_talk(world: World, sizes: Conversations) -> Files:
    parts: dict[Split, int] = {"train": sizes.small_talk, "test": sizes.held_out}
    return {
        f"small-talk/data/{part}-00000-of-00001.parquet": (TALK, map(vars, write_talk(world, number, part)))
        for part, number in parts.items()
    }


def _drills(world: World, sizes: Conversations) -> Files:
    written = {
        "questions": write_questions(world),
        "finding": write_finding(world, sizes.finding),
        "choosing": write_choosing(world, sizes.choosing),
    }
    return {f"{name}/data/train-00000-of-00001.parquet": (TALK, map(vars, talks)) for name, talks in written.items()}


def _identity(world: World, sizes: Conversations) -> Files:
    parts: dict[Split, int] = {
        "train": sizes.identity,
        "validation": sizes.held_out // 3,
        "test": sizes.held_out,
    }
    return {
        f"identity/data/{part}-00000-of-00001.parquet": (
            IDENTITY,
            map(vars, write_identity(world, number, part)),
        )
        for part, number in parts.items()
    }


def _write_files(folder: Path, world: World, sizes: Conversations, words: Sequence[str], texts: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    times = Counter(word for text in texts for word in re.findall("[a-z]+", text))
    for name, listed in (("words.txt", words), ("common_words.txt", [w for w in words if times[w] >= COMMON])):
        (folder / name).write_text("\n".join(listed) + "\n", "utf-8")
    talks = write_identity(world, sizes.identity, "train")
    lines = (json.dumps(list(talk.messages), ensure_ascii=False) for talk in talks)
    (folder / "identity_conversations.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


def _write(path: Path, schema: pa.Schema, rows: Rows) -> int:
    """Returns how many there are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    pq.write_table(table, path, row_group_size=ROWS_A_GROUP)
    return len(table)
