"""Answers are judged side by side, and come back in their order."""

import threading

import pytest

from parrotlet.chat import Conversation, Message
from parrotlet.errors import UserError
from parrotlet.evals import judging


class Meeting:
    """A judge that waits for a second one, and is slower for the first answers."""

    def __init__(self):
        self.barrier = threading.Barrier(2)

    def judge(self, item, text):
        self.barrier.wait(60)
        return text == item.text


def test_side_by_side_and_in_order(monkeypatch):
    monkeypatch.setattr(judging.os, "cpu_count", lambda: 2)
    items = [Message("user", str(i)) for i in range(6)]
    told = []
    right = judging.judge_all(
        Meeting(), items, ["0", "x", "2", "x", "x", "5"], lambda done, total: told.append((done, total))
    )
    assert right == [True, False, True, False, False, True]
    assert told == [(i, 6) for i in range(1, 7)]


def test_what_a_judge_can_not_do_is_said():
    class Refusing:
        def judge(self, item, text):
            raise UserError("can't be isolated")

    with pytest.raises(UserError, match="isolated"):
        judging.judge_all(Refusing(), [Conversation((Message("user", "a"),))], ["a"])
