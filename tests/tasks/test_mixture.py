"""Tasks joined: shuffled together, or one after the other."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from parrotlet.chat import Conversation, Message
from parrotlet.errors import UserError
from parrotlet.tasks import Task, TaskMixture
from parrotlet.tasks.rows import Rows, RowTask
from parrotlet.tasks.select import Selection, cut_out, hold_out


class Numbers(Task):
    """Items that say their number."""

    def __init__(self, name: str, size: int, repeat: float = 1) -> None:
        self.name, self.dataset, self.split, self.size, self.repeat = name, name, "train", size, repeat

    @property
    def fingerprint(self) -> str:
        return f"{self.name}{self.size}"

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Conversation:
        return Conversation((Message("user", f"{self.name} {index}"), Message("assistant", "yes")))

    def where(self, index: int) -> str:
        return f"{self.name}, row {index}"


def texts(items: object) -> list[str]:
    return [c.messages[0].text for c in items]  # pyright: ignore


def test_a_mixture_tells_the_phase_of_every_item() -> None:
    early, late = Numbers("early", 5), Numbers("late", 3, repeat=2)
    late.phase = 2
    mixture = TaskMixture([late, early], seed=4)
    assert mixture.phases.tolist() == [mixture.tasks[mixture.locate(i)[0]].phase for i in range(11)]
    before = mixture.fingerprint
    late.phase = 3
    assert TaskMixture([late, early], seed=4).fingerprint != before


many_tasks = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 4)), max_size=5).map(
    lambda sizes: [Numbers(f"t{i}", size, repeat) for i, (size, repeat) in enumerate(sizes)]
)


@given(many_tasks, st.integers(0, 2**32))
def test_a_mixture_holds_every_item_as_often_as_its_task_says(tasks: list[Numbers], seed: int) -> None:
    mixture = TaskMixture(tasks, seed)
    expected = {(t, i): task.repeat for t, task in enumerate(tasks) for i in range(len(task))}
    assert Counter(mixture.locate(i) for i in range(len(mixture))) == expected
    assert len(mixture) == sum(expected.values())
    for index in range(len(mixture)):
        task, item = mixture.locate(index)
        assert mixture[index] == tasks[task][item]
        assert mixture.where(index) == f"t{task}, row {item}"


def test_a_weight_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(UserError, match=r"task few: .* of its 100 items is not one; give it 0\.01 or more"):
        TaskMixture([Numbers("many", 100), Numbers("few", 100, repeat=0.004)], seed=1)


def test_the_order_is_a_function_of_the_seed() -> None:
    def order(seed: int) -> list[str]:
        return texts(TaskMixture([Numbers("a", 50), Numbers("b", 50)], seed))

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert sorted(order(1)) == sorted(order(2))
    assert len({text[0] for text in order(1)[:20]}) == 2  # mixed, not one task after the other


def test_a_mixture_ends() -> None:
    with pytest.raises(IndexError):
        TaskMixture([Numbers("a", 3)], 0)[3]


def test_fingerprints_change_with_items_order_and_weight() -> None:
    def fingerprint(*tasks: Numbers, seed: int = 0) -> str:
        return TaskMixture(tasks, seed).fingerprint

    a, b = Numbers("a", 3), Numbers("b", 3)
    assert fingerprint(a, b) == fingerprint(Numbers("a", 3), Numbers("b", 3))
    others = [
        fingerprint(a),
        fingerprint(b, a),
        fingerprint(a, Numbers("b", 4)),
        fingerprint(a, Numbers("b", 3, repeat=2)),
        fingerprint(a, b, seed=1),
    ]
    assert len({fingerprint(a, b), *others}) == len(others) + 1


class Said(Rows):
    """Rows that are given."""

    paths = ()

    def __init__(self, rows: list[str]) -> None:
        self.rows = rows

    @property
    def fingerprint(self) -> str:  # pyright: ignore
        return repr(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> str:
        return self.rows[index]

    def where(self, index: int) -> str:
        return f"row {index}"


class Saying(RowTask):
    def convert(self, row: str, where: str) -> Conversation:
        return Conversation((Message("user", row), Message("assistant", "yes")))


@given(st.lists(st.integers(0, 60).map(str), max_size=200))
@example([str(i) for i in range(60)] * 3)
def test_what_is_held_out_is_never_trained_on_however_often_it_stands_there(rows: list[str]) -> None:
    task = Saying("a", "a", "train", Said(rows))
    train, validation = (hold_out(task, split) for split in ("train", "validation"))
    assert (train.split, validation.split) == ("train", "validation")
    assert sorted(texts(train) + texts(validation)) == sorted(rows)
    assert not set(texts(train)) & set(texts(validation))


def test_about_one_row_in_twenty_is_held_out() -> None:
    task = Saying("a", "a", "train", Said([f"row {i}" for i in range(4000)]))
    assert 150 < len(hold_out(task, "validation")) < 250


@given(st.lists(st.tuples(st.integers(1, 30), st.floats(0.05, 4)), min_size=1, max_size=4), st.integers(0, 2**32))
def test_a_weight_need_not_be_whole(sizes: list[tuple[int, float]], seed: int) -> None:
    assume(all(round(size * weight) for size, weight in sizes))
    tasks = [Numbers(f"t{i}", size, weight) for i, (size, weight) in enumerate(sizes)]
    mixture = TaskMixture(tasks, seed)
    found = Counter(mixture.locate(i) for i in range(len(mixture)))
    for t, (size, weight) in enumerate(sizes):
        times = [found[t, i] for i in range(size)]
        assert sum(times) == round(size * weight)
        assert max(times) - min(times) <= 1, "no item comes twice more often than another"


@given(st.integers(0, 20), st.none() | st.integers(0, 25), st.none() | st.integers(0, 25))
def test_slices(size: int, start: int | None, stop: int | None) -> None:
    whole = Numbers("a", size)
    part = cut_out(whole, start, stop)
    assert texts(part) == texts(whole)[start:stop]
    assert [part.where(i) for i in range(len(part))] == [f"a, row {i}" for i in range(size)][start:stop]


def test_the_fingerprint_of_a_part_says_which_part() -> None:
    whole = Numbers("a", 10)
    parts = [whole, cut_out(whole, 0, 5), cut_out(whole, 5, 10), Selection(whole, np.arange(10)[::-1])]
    assert len({part.fingerprint for part in parts}) == len(parts)
    assert cut_out(whole, 0, 5).fingerprint == cut_out(Numbers("a", 10), None, 5).fingerprint
