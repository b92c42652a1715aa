"""SmolTalk and identity: conversations as they stand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from parrotlet.chat import Message
from parrotlet.errors import UserError
from parrotlet.hub import Hub
from parrotlet.tasks import TaskSpec, build_task


def talk(*texts: str, system: str | None = None) -> list[dict[str, str]]:
    messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
    return [{"role": "system", "content": system}, *messages] if system else messages


def test_turns_and_system_messages_stay(hub: Hub, write_rows: Callable[..., Path]) -> None:
    rows = [{"messages": talk("a", "b", "c", "d", system="s"), "source": "x"}]
    write_rows("HuggingFaceTB/smol-smoltalk/data/test-00000-of-00001.parquet", rows)
    task = build_task(TaskSpec(task="smoltalk", split="test"), hub)
    assert task[0].messages == (
        Message("system", "s"),
        Message("user", "a"),
        Message("assistant", "b"),
        Message("user", "c"),
        Message("assistant", "d"),
    )
    assert task.kind is None
    with pytest.raises(NotImplementedError, match="only be trained on"):
        task.judge(task[0], "d")


def test_files_follow_each_other(hub: Hub, write_rows: Callable[..., Path]) -> None:
    for part in range(3):
        rows = [{"messages": talk(f"{part}.{i}", "x")} for i in range(5)]
        write_rows(f"HuggingFaceTB/smol-smoltalk/data/test-0000{part}-of-00003.parquet", rows)
    task = build_task(TaskSpec(task="smoltalk", split="test"), hub)
    assert [c.messages[0].text for c in task] == [f"{part}.{i}" for part in range(3) for i in range(5)]
    assert task.where(7) == "HuggingFaceTB/smol-smoltalk/data/test-00001-of-00003.parquet, row 2"
    with pytest.raises(IndexError):
        task[15]


def test_the_user_may_have_the_last_word(hub: Hub, write_rows: Callable[..., Path]) -> None:
    rows = [{"messages": talk("a", "b", "c")}]
    write_rows("HuggingFaceTB/smol-smoltalk/data/test-00000-of-00001.parquet", rows)
    task = build_task(TaskSpec(task="smoltalk", split="test"), hub)
    assert [message.text for message in task[0].messages] == ["a", "b", "c"]


def test_a_bad_conversation_is_named(hub: Hub, write_rows: Callable[..., Path]) -> None:
    rows = [{"messages": talk("a", "b")}, {"messages": talk("a", "b")[1:]}]
    write_rows("HuggingFaceTB/smol-smoltalk/data/test-00000-of-00001.parquet", rows)
    task = build_task(TaskSpec(task="smoltalk", split="test"), hub)
    with pytest.raises(UserError, match=r"test-00000-of-00001.parquet, row 1: message 1 has the role"):
        task[1]


def identity(hub: Hub, write_rows: Callable[..., Path], *expects: Any) -> Any:
    rows = [{"messages": talk(f"Who are you ({i})?", "…"), "expects": e} for i, e in enumerate(expects)]
    write_rows("parrotlet/identity/data/test-00000-of-00001.parquet", rows)
    return build_task(TaskSpec(task="identity", split="test"), hub)


def test_identity_is_judged_by_what_it_says(hub: Hub, write_rows: Callable[..., Path]) -> None:
    task = identity(hub, write_rows, ["Parrotlet", "small"], ["鹦鹉"])
    assert task.kind == "generative"
    assert task.judge(task[0], "I am PARROTLET, a Small one.")
    assert not task.judge(task[0], "I am Parrotlet.")
    assert task.judge(task[1], "我是一只小鹦鹉。")
    assert not task.judge(task[1], "I am Parrotlet, small.")


def test_identity_judges_slices_too(hub: Hub, write_rows: Callable[..., Path]) -> None:
    identity(hub, write_rows, ["a"], ["b"])
    task = build_task(TaskSpec(task="identity", split="test", start=1), hub)
    assert task.judge(task[0], "b")
    assert not task.judge(task[0], "a")


@pytest.mark.parametrize("expects", [[], [""], None])
def test_identity_without_expectations_is_refused(
    hub: Hub, write_rows: Callable[..., Path], expects: list[str] | None
) -> None:
    task = identity(hub, write_rows, ["a"], expects)
    with pytest.raises(UserError, match=r"test-00000-of-00001.parquet, row 1: .*'expects'"):
        task.judge(task[0], "a")


@pytest.mark.real_data
def test_every_real_conversation(real_data: Path) -> None:
    hub = Hub(folder=real_data / "hub")
    train, validation, test = (
        build_task(TaskSpec(task="smoltalk", split=split), hub) for split in ("train", "validation", "test")
    )
    assert (len(train) + len(validation), len(validation), len(test)) == (5425, 274, 400)
    for task in (train, validation, test):
        assert all(len(c.messages) >= 2 and c.messages[-1].role == "assistant" for c in task)
