"""What a progress line says, by a clock that the test turns."""

import pytest

from parrotlet import progress
from parrotlet.progress import ProgressLine


@pytest.fixture
def wait(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def turn(seconds):
        now[0] += seconds

    return turn


def test_the_time_left_does_not_count_what_only_the_first_piece_waits_for(wait, capsys):
    line = ProgressLine("base", 100)
    wait(60)  # a compiler
    line.update(1, "loss 1.0")
    for done in range(2, 21):
        wait(1)
        line.update(done, "loss 0.5")
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first.split() == ["base", "1/100", "loss", "1.0"]
    assert last.endswith("16/100  loss 0.5  1 min 24 s left")


def test_a_total_that_nobody_knows_has_no_time_left(wait, capsys):
    line = ProgressLine("texts", 0)
    for done in (10, 2000):
        wait(20)
        line.update(done)
    assert [text.split() for text in capsys.readouterr().err.splitlines()] == [["texts", "10"], ["texts", "2,000"]]


def test_nothing_is_said_of_what_is_done_at_once(wait, capsys):
    line = ProgressLine("tokenizer", 3)
    for done in (1, 2, 3):
        wait(0.2)
        line.update(done)
    line.close("done")
    assert capsys.readouterr().err == "tokenizer  done\n"
