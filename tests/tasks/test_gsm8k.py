"""GSM8K: worked answers with calls of the calculator."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parrotlet.chat import Message, Part
from parrotlet.errors import UserError
from parrotlet.hub import Hub
from parrotlet.tasks import TaskSpec, build_task
from parrotlet.tasks.gsm8k import parts_of

WENG = (
    "Weng earns $12 an hour for babysitting. Yesterday, she just did 50 minutes of babysitting. How much did she earn?"
)
WENG_ANSWER = (
    "Weng earns 12/60 = $<<12/60=0.2>>0.2 per minute.\n"
    "Working 50 minutes, she earned 0.2 x 50 = $<<0.2*50=10>>10.\n#### 10"
)
WENG_PARTS = (
    Part("text", "Weng earns 12/60 = $"),
    Part("python", "12/60"),
    Part("python_output", "0.2"),
    Part("text", "0.2 per minute.\nWorking 50 minutes, she earned 0.2 x 50 = $"),
    Part("python", "0.2*50"),
    Part("python_output", "10"),
    Part("text", "10.\n#### 10"),
)


def as_annotated(parts: tuple[Part, ...]) -> str:
    """The answer that the parts were made from."""
    frames = {"text": "{}", "python": "<<{}=", "python_output": "{}>>"}
    return "".join(frames[part.type].format(part.text) for part in parts)


def test_the_conversation_to_hold_on_to() -> None:
    assert parts_of(WENG_ANSWER) == WENG_PARTS


@given(st.lists(st.one_of(st.text("ab<>=#\n "), st.just("<<1+1=2>>"), st.just("<<3=3>>"))).map("".join))
def test_no_character_is_lost(answer: str) -> None:
    parts = parts_of(answer)
    assert as_annotated(parts) == answer
    assert all(part.text for part in parts)


def test_what_is_no_annotation_stays_text() -> None:
    for text in ("1 << 2", "<<>>", "<<1+1>>", "<<=2>>", "<<1=>>", "a << b >> c"):
        assert parts_of(text) == (Part("text", text),)


@pytest.mark.parametrize(
    ("answer", "right"),
    [("#### 10", True), ("so #### $10.00", True), ("#### 11", False), ("10", False), ("", False)],
)
def test_judge(hub: Hub, write_rows: Callable[..., Path], answer: str, right: bool) -> None:
    write_rows("openai/gsm8k/main/test-00000-of-00001.parquet", [{"question": WENG, "answer": WENG_ANSWER}])
    task = build_task(TaskSpec(task="gsm8k", split="test"), hub)
    assert task.kind == "generative"
    assert task.judge(task[0], answer) == right
    assert task.chance(0) == 0


def test_a_bad_row_is_named(hub: Hub, write_rows: Callable[..., Path]) -> None:
    rows = [{"question": "q", "answer": "a"}, {"question": None, "answer": "a"}]
    write_rows("openai/gsm8k/main/test-00000-of-00001.parquet", rows)
    task = build_task(TaskSpec(task="gsm8k", split="test"), hub)
    with pytest.raises(UserError, match=r"gsm8k/main/test-00000-of-00001.parquet, row 1: .*'question' holds None"):
        task[1]


def test_an_answer_without_a_value_is_named(hub: Hub, write_rows: Callable[..., Path]) -> None:
    write_rows("openai/gsm8k/main/test-00000-of-00001.parquet", [{"question": "q", "answer": "It is 4."}])
    task = build_task(TaskSpec(task="gsm8k", split="test"), hub)
    with pytest.raises(UserError, match=r"row 0: the answer gives no value after ####: 'It is 4\.'"):
        task[0]


@pytest.mark.real_data
def test_every_real_row(real_data: Path) -> None:
    hub = Hub(folder=real_data / "hub")
    train, validation, test = (
        build_task(TaskSpec(task="gsm8k", split=split), hub) for split in ("train", "validation", "test")
    )
    assert (len(train) + len(validation), len(test)) == (7473, 200)
    calls = 0
    for task in (train, validation):
        for conversation in task:
            parts = conversation.messages[1].parts
            calls += sum(part.type == "python" for part in parts)
            text = "".join(part.text for part in parts if part.type == "text")
            assert "<<" not in text
            assert ">>" not in text
            assert task.judge(conversation, text)
    assert calls == 23_716
    weng = next(c for c in train if c.messages[0].text == WENG)
    assert weng.messages == (Message("user", WENG), Message("assistant", WENG_PARTS))
    assert re.fullmatch(r"openai/gsm8k/main/train-00000-of-00001.parquet, row 1", train.where(1))
