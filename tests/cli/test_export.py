"""`parrotlet export` as a person gives it."""

import sys

import pytest

from parrotlet.cli import main
from parrotlet.recipe import Recipe
from parrotlet.train import Run, train_stage, train_tokenizer
from small_run import write_small_run


def test_export_lists_its_files(tmp_path, monkeypatch, capsys):
    recipe = Recipe.parse(write_small_run(tmp_path), "test", {"model.token_shift": True})
    run = Run.begin(tmp_path / "run", recipe)
    train_tokenizer(run)
    train_stage(run, "base")
    monkeypatch.setattr(sys, "argv", ["parrotlet", "export", "--run", str(run.folder), "--to", str(tmp_path / "out")])
    main()
    out = capsys.readouterr().out
    for path in (tmp_path / "out").iterdir():
        assert str(path) in out
    assert "trust_remote_code=True" in out
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
