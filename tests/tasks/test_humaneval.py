"""HumanEval: what an answer means, and whether its tests hold."""

import pytest

from isolated import isolation_or_skip
from parrotlet.errors import UserError
from parrotlet.hub import Hub
from parrotlet.tasks import TaskSpec, build_task
from parrotlet.tools import sandbox

HEAD = 'import math\n\n\ndef helper(x):\n    return x\n\n\ndef area(r: float) -> float:\n    """Of a circle."""\n'
BODY = "    return helper(math.pi) * r * r\n"
WHOLE = HEAD + BODY
ROW = {
    "prompt": HEAD,
    "canonical_solution": BODY,
    "test": "def check(candidate):\n"
    "    assert abs(candidate(2) - 12.566370614359172) < 1e-9\n    assert area(2) == helper(candidate(2))\n",
    "entry_point": "area",
}


@pytest.fixture
def isolation(monkeypatch):
    """These tests need it."""
    isolation_or_skip(monkeypatch)


@pytest.fixture
def task(hub, write_rows, isolation):
    write_rows("openai/openai_humaneval/openai_humaneval/test-00000-of-00001.parquet", [ROW])
    return build_task(TaskSpec(task="humaneval", split="test"), hub)


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (WHOLE, True),
        (BODY, True),
        (f"Here it is:\n```python\n{WHOLE}```\nIt is right.", True),
        (f"```\n{BODY}```", True),
        (f"```Python\n{WHOLE}```\nIt is right.", True),
        (f"```python3\n{WHOLE}```", True),
        (f"Use ```area``` like so:\n```python\n{WHOLE}```", True),
        (f"```python\n{BODY}", True),
        ("def area(r):\n    return helper(math.pi) * r ** 2", True),
        ("    return 3 * r * r\n", False),
        ("    import sys; sys.exit(0)\n", False),
        ("    return 0\n\nabs = lambda x: 0\n", False),
        ("def other(r):\n    return r\n", False),
        ("I don't know.", False),
        ("", False),
    ],
)
def test_answers_are_judged_by_their_tests(task, answer, right):
    assert task.judge(task[0], answer) is right


def test_it_is_never_trained_on(hub):
    with pytest.raises(UserError, match="never trained on"):
        build_task(TaskSpec(task="humaneval", split="train"), hub)


def test_where_nothing_can_be_isolated_it_is_said_before_anything_is_asked(hub, monkeypatch):
    def refuse():
        raise UserError("can't be isolated")

    monkeypatch.delenv(sandbox.UNISOLATED, raising=False)
    monkeypatch.setattr(sandbox, "check_isolation", refuse)
    with pytest.raises(UserError, match="can't be isolated"):
        build_task(TaskSpec(task="humaneval", split="test"), hub)


@pytest.mark.real_data
@pytest.mark.slow
def test_all_164_reference_solutions_pass(real_data, isolation):
    task = build_task(TaskSpec(task="humaneval", split="test"), Hub(folder=real_data / "hub"))
    judged = [task.judge(item, item.messages[1].text) for item in task]
    assert judged == [True] * 164


@pytest.mark.real_data
def test_a_body_alone_is_the_same_program(real_data, isolation):
    task = build_task(TaskSpec(task="humaneval", split="test"), Hub(folder=real_data / "hub"))
    for index in (0, 38, 115):
        assert task.judge(task[index], task.rows[index]["canonical_solution"])
