"""MMLU and ARC: how questions are asked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from parrotlet.errors import UserError
from parrotlet.hub import Hub
from parrotlet.tasks import Split, Task, TaskSpec, build_task

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def mmlu_row(**changes: Any) -> dict[str, Any]:
    row = {"question": "2 + 2?", "subject": "arithmetic", "choices": ["1", "2", "3", "4"], "answer": 3}
    return row | changes


def arc_row(labels: str, answer: str) -> dict[str, Any]:
    choices = {"text": [f"choice {i}" for i in range(len(labels))], "label": list(labels)}
    return {"id": "x", "question": "Which?", "choices": choices, "answerKey": answer}


def arc(hub: Hub, write_rows: Callable[..., Path], *rows: dict[str, Any]) -> Task:
    write_rows("allenai/ai2_arc/ARC-Easy/test-00000-of-00001.parquet", rows)
    return build_task(TaskSpec(task="arc-easy", split="test"), hub)


def test_how_a_question_is_asked(hub: Hub, write_rows: Callable[..., Path]) -> None:
    write_rows("cais/mmlu/all/test-00000-of-00001.parquet", [mmlu_row()])
    task = build_task(TaskSpec(task="mmlu", split="test"), hub)
    question, answer = task[0].messages
    assert question.text == (
        "Multiple Choice question: 2 + 2?\n- 1=A\n- 2=B\n- 3=C\n- 4=D\n\n"
        "Respond only with the letter of the correct answer."
    )
    assert (answer.role, answer.text) == ("assistant", "D")
    assert (task[0].letters, task[0].subject) == (("A", "B", "C", "D"), "arithmetic")
    assert task.kind == "choice"
    assert task.chance(0) == 0.25
    assert [task.judge(task[0], letter) for letter in "ABCD"] == [False, False, False, True]


def test_auxiliary_train_is_a_struct_column(hub: Hub, write_rows: Callable[..., Path]) -> None:
    rows = [{"train": mmlu_row(answer=i % 4, subject="")} for i in range(8)]
    write_rows("cais/mmlu/auxiliary_train/train-00000-of-00001.parquet", rows)
    task = build_task(TaskSpec(task="mmlu"), hub)
    assert "".join(c.messages[1].text for c in task) == "ABCDABCD"
    assert task[0].subject is None
    assert task.where(5) == "cais/mmlu/auxiliary_train/train-00000-of-00001.parquet, row 5"


def test_mmlu_subsets(hub: Hub, write_rows: Callable[..., Path]) -> None:
    write_rows("cais/mmlu/all/dev-00000-of-00001.parquet", [mmlu_row(question="from dev")])
    write_rows("cais/mmlu/astronomy/test-00000-of-00001.parquet", [mmlu_row(question="from astronomy")])
    dev = build_task(TaskSpec(task="mmlu", subset="dev"), hub)
    astronomy = build_task(TaskSpec(task="mmlu", subset="astronomy", split="test"), hub)
    assert "from dev" in dev[0].messages[0].text
    assert "from astronomy" in astronomy[0].messages[0].text


@pytest.mark.parametrize(("answer", "row"), [(4, 0), (-1, 0), (None, 0)])
def test_mmlu_answers_that_are_none(hub: Hub, write_rows: Callable[..., Path], answer: Any, row: int) -> None:
    write_rows("cais/mmlu/all/test-00000-of-00001.parquet", [mmlu_row(answer=answer), mmlu_row()])
    task = build_task(TaskSpec(task="mmlu", split="test"), hub)
    with pytest.raises(UserError, match=r"cais/mmlu/all/test-00000-of-00001.parquet, row 0: .*answer"):
        task[row]


@pytest.mark.parametrize("labels", ["ABC", "ABCD", "ABCDE", "123", "1234", "12345"])
def test_arc_letters_go_by_position(hub: Hub, write_rows: Callable[..., Path], labels: str) -> None:
    task = arc(hub, write_rows, *(arc_row(labels, label) for label in labels))
    letters = "ABCDE"[: len(labels)]
    assert "".join(c.messages[1].text for c in task) == letters
    assert all(c.letters == tuple(letters) for c in task)
    assert all(f"- choice {i}={letter}\n" in task[0].messages[0].text for i, letter in enumerate(letters))
    assert task.chance(0) == pytest.approx(1 / len(labels))


def test_an_arc_answer_that_is_no_label(hub: Hub, write_rows: Callable[..., Path]) -> None:
    task = arc(hub, write_rows, arc_row("ABC", "D"))
    with pytest.raises(UserError, match=r"row 0: the answer 'D' is none of the labels A, B, C"):
        task[0]


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"choices": None}, "label"),
        ({"choices": {"text": ["a", None], "label": ["A", "B"]}}, "text"),
    ],
)
def test_arc_choices_that_are_none(
    hub: Hub, write_rows: Callable[..., Path], changes: dict[str, Any], column: str
) -> None:
    task = arc(hub, write_rows, arc_row("AB", "A") | changes, arc_row("AB", "A"))
    with pytest.raises(UserError, match=rf"row 0: the column '{column}' holds .*, expected a list of texts"):
        task[0]


def test_arc_choices_of_another_form(hub: Hub, write_rows: Callable[..., Path]) -> None:
    task = arc(hub, write_rows, arc_row("AB", "A") | {"choices": ["a", "b"]})
    with pytest.raises(UserError, match=r"row 0: the column 'label' holds \['a', 'b'\], expected a list of texts"):
        task[0]


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "folder", "counts"),
    [("arc-easy", "ARC-Easy", (1951, 300, 100)), ("arc-challenge", "ARC-Challenge", (969, 150, 100))],
)
def test_every_real_arc_row(real_data: Path, name: str, folder: str, counts: tuple[int, ...]) -> None:
    hub = Hub(folder=real_data / "hub")
    tasks = [build_task(TaskSpec(task=name, split=split), hub) for split in SPLITS]
    assert tuple(map(len, tasks)) == counts
    train, validation, test = ({c.messages[0].text for c in task} for task in tasks)
    assert not test & (train | validation)
    assert len(train & validation) <= 1  # one question is twice in the published train set
    for task in tasks:
        file = hub.dataset_file("allenai/ai2_arc", f"{folder}/{task.split}-00000-of-00001.parquet")
        for row, conversation in zip(pq.read_table(file).to_pylist(), task, strict=True):
            question, answer = (message.text for message in conversation.messages)
            right = row["choices"]["text"][row["choices"]["label"].index(row["answerKey"])]
            assert f"- {right}={answer}\n" in question
            assert task.judge(conversation, answer)
            assert conversation.letters is not None
            assert len(conversation.letters) == len(row["choices"]["text"])
    assert {len(c.letters or ()) for c in tasks[0]} == {3, 4, 5}


@pytest.mark.real_data
def test_every_real_mmlu_row(real_data: Path) -> None:
    hub = Hub(folder=real_data / "hub")
    train = build_task(TaskSpec(task="mmlu"), hub)
    validation = build_task(TaskSpec(task="mmlu", split="validation"), hub)
    dev = build_task(TaskSpec(task="mmlu", subset="dev"), hub)
    assert (len(train), len(validation), len(dev)) == (1218, 1531, 285)
    assert len({c.subject for c in validation}) == len({c.subject for c in dev}) == 57
    for task in (train, validation, dev):
        assert all(c.letters == tuple("ABCD") and c.messages[1].text in "ABCD" for c in task)
