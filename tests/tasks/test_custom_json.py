"""Your own conversations, one a line."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from parrotlet.chat import Message, Part
from parrotlet.errors import UserError
from parrotlet.hub import Hub
from parrotlet.tasks import Task, TaskSpec, build_task

GOOD = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]


def load(tmp_path: Path, *lines: object, split: str = "train") -> Task:
    """A task from lines: texts as they stand, other values as JSON."""
    texts = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines]
    (tmp_path / "mine.jsonl").write_text("\n".join(texts) + "\n", encoding="utf-8")
    return load_file(tmp_path / "mine.jsonl", split)


def load_file(file: Path, split: str = "train") -> Task:
    return build_task(TaskSpec(task="custom-json", dataset=str(file), split=split), Hub())  # pyright: ignore


def test_tool_parts_and_system_messages(tmp_path: Path) -> None:
    parts = [
        {"type": "text", "text": "six: "},
        {"type": "python", "text": "2*3"},
        {"type": "python_output", "text": "6"},
    ]
    system = {"role": "system", "content": "说中文"}
    asked = [system, {"role": "user", "content": "2*3?"}, {"role": "assistant", "content": parts}]
    task = load(tmp_path, GOOD, "", asked, {"messages": GOOD})
    assert task.kind is None
    assert len(task) == 3
    assert task[0] == task[2]
    assert task[1].messages == (
        Message("system", "说中文"),
        Message("user", "2*3?"),
        Message("assistant", (Part("text", "six: "), Part("python", "2*3"), Part("python_output", "6"))),
    )
    assert task.where(1) == f"{tmp_path / 'mine.jsonl'}, line 3"


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        ('[{"role": "user"', "not JSON"),
        ("\x00", "not JSON"),
        ("[]", "expected a list of messages"),
        ({"prompt": "hi"}, "expected a list of messages"),
        ([{"role": "human", "content": "hi"}], "message 1: the role must be one of"),
        ([{"role": "user", "content": 1}], "message 1: the content of a user message must be a text"),
        ([*GOOD, *GOOD[1:]], "message 3 has the role 'assistant'"),
        ([GOOD[0]], "no assistant message"),
        ([*GOOD, GOOD[0]], "ends with a user message"),
        ([GOOD[0], {"role": "assistant", "content": [{"type": "tool", "text": ""}]}], "message 2, part 1"),
    ],
)
def test_a_bad_line_is_named_before_training_begins(tmp_path: Path, bad: object, what: str) -> None:
    with pytest.raises(UserError, match=rf"mine\.jsonl, line 4.*{what}"):
        load(tmp_path, GOOD, "", GOOD, bad, GOOD)


def test_all_bad_lines_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 2: .*\(bad, too: 12 more lines, 3, 4, .*, 12, …\)"):
        load(tmp_path, GOOD, *[[]] * 13)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_bytes(json.dumps(GOOD).encode() + b'\n"\xff"\n')
    with pytest.raises(UserError, match=r"mine\.jsonl, line 2: not JSON"):
        load_file(tmp_path / "mine.jsonl")
    (tmp_path / "mine.jsonl").write_bytes(b"\xff\xfe\n" + json.dumps(GOOD).encode())
    with pytest.raises(UserError, match=r"line 1: not JSON \('utf-8' codec can't decode byte 0xff"):
        load_file(tmp_path / "mine.jsonl")


def test_a_file_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.jsonl").write_text(json.dumps(GOOD))
    assert len(load_file(Path("~/mine.jsonl"))) == 1


def test_windows_files(tmp_path: Path) -> None:
    line = json.dumps(GOOD).encode()
    (tmp_path / "mine.jsonl").write_bytes(b"\xef\xbb\xbf" + line + b"\r\n" + line)
    assert len(load_file(tmp_path / "mine.jsonl")) == 2


def test_files_that_are_not_there_or_empty(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing\.jsonl: can't be read \(No such file"):
        load_file(tmp_path / "nothing.jsonl")
    with pytest.raises(UserError, match=r"can't be read \(Is a directory\)"):
        load_file(tmp_path)
    with pytest.raises(UserError, match=r"mine\.jsonl has 0 items for train"):
        load(tmp_path, "", "")


def test_validation_is_held_out(tmp_path: Path) -> None:
    conversations = [[{"role": "user", "content": str(i)}, GOOD[1]] for i in range(200)]
    train = load(tmp_path, *conversations)
    validation = load(tmp_path, *conversations, split="validation")
    held_out = {int(c.messages[0].text) for c in validation}
    assert 0 < len(held_out) < 25
    for i, n in enumerate(sorted(held_out)):
        assert validation.where(i) == f"{tmp_path / 'mine.jsonl'}, line {n + 1}"
    assert {int(c.messages[0].text) for c in train} == {*range(200)} - held_out
    with pytest.raises(UserError, match=r"none of its 3 conversations is for validation: .* about one in 20"):
        load(tmp_path, GOOD, GOOD, GOOD, split="validation")
    with pytest.raises(UserError, match="no test split"):
        load(tmp_path, GOOD, split="test")


def test_the_same_conversation_is_on_one_side_only_however_it_is_written(tmp_path: Path) -> None:
    conversations = [[{"role": "user", "content": str(i)}, GOOD[1]] for i in range(60)]
    other = [{"id": i, "messages": conversation} for i, conversation in enumerate(conversations)]
    again = [json.dumps(conversation, indent=None, separators=(" , ", " : ")) for conversation in conversations]
    again += [[dict(reversed(message.items())) for message in conversation] for conversation in conversations]
    sides = [load(tmp_path, *conversations, *other, *again, split=split) for split in ("train", "validation")]
    asked = [{c.messages[0].text for c in side} for side in sides]
    assert not asked[0] & asked[1]
    assert [len(side) for side in sides] == [4 * len(texts) for texts in asked]


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_compressed_files(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"mine.jsonl{ending}"
    with pa.output_stream(str(path), compression={".gz": "gzip", ".zst": "zstd"}[ending]) as file:
        file.write((json.dumps(GOOD) + "\n").encode() * 5)
    assert len(load_file(path)) == 5
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"mine\.jsonl.*: can't be read \("):
        load_file(path)


@pytest.mark.real_data
def test_a_real_file(real_data: Path, tmp_path: Path) -> None:
    file = real_data / "files" / "identity_conversations.jsonl"
    with pytest.raises(UserError, match=r"line 88: ends with a user message.*3 more lines, 477, 919, 982"):
        load_file(file)
    lines = file.read_text("utf-8").splitlines()
    whole = [line for number, line in enumerate(lines, start=1) if number not in (88, 477, 919, 982)]
    mended = len(load(tmp_path, *whole)) + len(load(tmp_path, *whole, split="validation"))
    assert mended == 996 - 4
