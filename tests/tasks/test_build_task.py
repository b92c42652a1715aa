"""From specs to tasks."""

from collections.abc import Callable
from pathlib import Path

import pytest

from parrotlet.errors import UserError
from parrotlet.hub import Hub
from parrotlet.tasks import TaskSpec, build_task
from parrotlet.tasks.build import MADE, READ
from parrotlet.tasks.rows import RowTask
from parrotlet.tasks.spec import TAKES, TRAINED_ON_ONLY
from parrotlet.tasks.spelling import WordTask

TRAIN = "openai/gsm8k/main/train-00000-of-00001.parquet"


def problems(count: int, mark: str = "") -> list[dict[str, str]]:
    return [{"question": f"{mark}{i}?", "answer": f"#### {i}"} for i in range(count)]


def test_every_name_can_be_built() -> None:
    assert sorted(TAKES) == sorted([*READ, *MADE])


def test_all_have_a_judge_but_those_that_say_so() -> None:
    kinds = [kind for parent in (RowTask, WordTask) for kind in parent.__subclasses__()]
    own = [kind for kind in kinds if kind.__module__.startswith("parrotlet.") and not kind.__subclasses__()]
    modules = {kind.__module__.rpartition(".")[2] for kind in own if kind.kind is None}
    assert {name.replace("_", "-") for name in modules} == set(TRAINED_ON_ONLY)


def test_an_unknown_task_suggests_the_nearest() -> None:
    with pytest.raises(UserError, match=r"no task 'gsm-8k' \(did you mean 'gsm8k'\?\); there are smoltalk, mmlu"):
        TaskSpec(task="gsm-8k")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"task": "gsm8k", "size": 3}, "task gsm8k: size has no meaning"),
        ({"task": "gsm8k", "words": "world"}, "task gsm8k: words has no meaning"),
        ({"task": "spelling", "dataset": "a/b"}, "task spelling: dataset has no meaning"),
        ({"task": "custom-json", "dataset": "a", "subset": "b"}, "subset has no meaning"),
        ({"task": "custom-json"}, "name the file"),
        ({"task": "gsm8k", "start": -1}, "start = -1 must be at least 0"),
        ({"task": "gsm8k", "start": 5, "stop": 5}, "stop = 5 must be at least 6"),
        ({"task": "gsm8k", "repeat": 0}, "repeat = 0 must be at least 1"),
        ({"task": "spelling", "size": 0}, "size = 0 must be at least 1"),
    ],
)
def test_specs_that_make_no_sense(fields: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TaskSpec(**fields)  # pyright: ignore[reportArgumentType]


def test_names_repeats_and_slices(hub: Hub, write_rows: Callable[..., Path]) -> None:
    write_rows(TRAIN, problems(100))
    spec = TaskSpec(task="gsm8k", name="word-problems", start=18, stop=21, repeat=3)
    task = build_task(spec, hub)
    assert (task.name, task.repeat, task.split, task.dataset) == ("word-problems", 3, "train", "openai/gsm8k")
    held_out = {c.messages[0].text for c in build_task(TaskSpec(task="gsm8k", split="validation"), hub)}
    trained = [text for i in range(100) if (text := f"{i}?") not in held_out]
    assert [c.messages[0].text for c in task] == trained[18:21]
    assert task.where(1) == f"{TRAIN}, row 20"
    assert build_task(TaskSpec(task="gsm8k"), hub).name == "gsm8k"
    assert len(build_task(TaskSpec(task="gsm8k", stop=1_000_000), hub)) == 95
    with pytest.raises(UserError, match=r"gsm8k has 95 items for train, none from start = 95 on"):
        build_task(TaskSpec(task="gsm8k", start=95), hub)


def test_train_and_validation_are_apart_and_neither_reads_test(hub: Hub, write_rows: Callable[..., Path]) -> None:
    write_rows(TRAIN, problems(100))
    write_rows(TRAIN.replace("train", "test"), problems(7, "test "))
    train, validation, test = (
        {c.messages[0].text for c in build_task(TaskSpec(task="gsm8k", split=split), hub)}
        for split in ("train", "validation", "test")
    )
    assert train | validation == {f"{i}?" for i in range(100)}
    assert not train & validation
    assert len(validation) == 5
    assert test == {f"test {i}?" for i in range(7)}


def test_another_dataset_and_subset(hub: Hub, write_rows: Callable[..., Path]) -> None:
    write_rows("parrotlet/word-problems/hard/test-00000-of-00001.parquet", problems(3))
    spec = TaskSpec(task="gsm8k", dataset="parrotlet/word-problems", subset="hard", split="test")
    assert len(build_task(spec, hub)) == 3


def test_missing_data(hub: Hub, write_rows: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match=r"datasets/openai/gsm8k: no such folder"):
        build_task(TaskSpec(task="gsm8k"), hub)
    write_rows(TRAIN.replace("train", "test"), problems(1))
    with pytest.raises(UserError, match=r"no file matches 'main/train-\*.parquet'; there are main/test-0"):
        build_task(TaskSpec(task="gsm8k"), hub)


def test_files_that_are_not_what_they_should_be(hub: Hub, write_rows: Callable[..., Path]) -> None:
    file = write_rows(TRAIN, [{"text": "a", "id": 1}])
    with pytest.raises(
        UserError, match=rf"{TRAIN}: no column question, answer; there are text, id. The task needs question"
    ):
        build_task(TaskSpec(task="gsm8k"), hub)
    file.write_bytes(b"version https://git-lfs")  # what a download without LFS leaves behind
    with pytest.raises(UserError, match=rf"{TRAIN}: .*{file.name} is not a readable parquet file"):
        build_task(TaskSpec(task="gsm8k"), hub)


def test_fingerprints_follow_the_content(hub: Hub, write_rows: Callable[..., Path]) -> None:
    def fingerprint(**fields: object) -> str:
        return build_task(TaskSpec(task="gsm8k", **fields), Hub(folder=hub.folder)).fingerprint  # pyright: ignore[reportArgumentType]

    write_rows(TRAIN, problems(40))
    first = fingerprint()
    assert fingerprint(name="other", repeat=2) == first
    assert len({first, fingerprint(split="validation"), fingerprint(stop=3), fingerprint(start=1)}) == 4
    write_rows(TRAIN, problems(40, "new "))
    assert fingerprint() != first
    write_rows(TRAIN, problems(40))
    assert fingerprint() == first
