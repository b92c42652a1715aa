"""What the system refuses is said in one line, with what to do."""

import errno
import os
import sys

import pytest

from parrotlet.cli import main


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.EACCES, "PARROTLET_CACHE"), (errno.EROFS, "PARROTLET_CACHE"), (errno.ENOSPC, "make room")],
)
def test_a_folder_that_may_not_be_written_is_no_traceback(monkeypatch, capsys, number, remedy):
    def command():
        raise OSError(number, os.strerror(number), "/.cache/parrotlet")

    command.__name__ = "runs"
    monkeypatch.setattr("parrotlet.cli.runs.runs", command)
    monkeypatch.setattr(sys, "argv", ["parrotlet", "runs"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: /.cache/parrotlet could not be ")
    assert os.strerror(number) in said
    assert remedy in said
    assert said.count("\n") == 1
