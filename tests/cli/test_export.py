"""`parrotlet export`, and what else looks at a trained stage, as a person gives it."""

import json
import re
import sys

import pytest

from parrotlet.cli import main
from parrotlet.recipe import Recipe
from parrotlet.train import Run, train_stage, train_tokenizer
from small_run import write_small_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with base trained."""
    folder = tmp_path_factory.mktemp("base")
    run = Run.begin(folder / "run", Recipe.parse(write_small_run(folder), "test", {"model.short_conv": True}))
    train_tokenizer(run)
    train_stage(run, "base")
    return run


@pytest.fixture
def parrotlet(run, monkeypatch, capsys):
    """Give a command about the run; returns what it printed."""

    def command(*args):
        monkeypatch.setattr(sys, "argv", ["parrotlet", *map(str, args), "--run", str(run.folder)])
        main()
        return capsys.readouterr().out

    return command


def test_export_lists_its_files(parrotlet, tmp_path):
    out = parrotlet("export", "--to", tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        assert str(path) in out
    assert "trust_remote_code=True" in out
    with pytest.raises(SystemExit) as ended:
        parrotlet("export", "--to", tmp_path / "out")
    assert ended.value.code == 2


@pytest.mark.real_data
def test_core_of_a_stage_is_written_into_its_folder(parrotlet, run, real_data, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    bundle = real_data / "core" / "eval_bundle"
    out = parrotlet("eval", "--core", bundle, "--tasks", "bigbench_language_identification", "--limit", 2)
    assert re.search(r"^bigbench_language_identification +[\d.]+ %  ?[\d.]+ % ", out, re.MULTILINE)
    assert max(map(len, out.splitlines())) <= 80 + len(str(run.folder))
    assert "…" not in out
    out = parrotlet("eval", "--core", bundle, "--tasks", "copa,lambada_openai", "--limit", 20)
    assert "copa" in out
    written = json.loads((run.stage_folder("base") / "core-first-20.json").read_text())
    assert written["checkpoint"] == run.identity("base")
    assert set(written["tasks"]) == {"copa", "lambada_openai"}
    assert written["complete"] is False
    assert written["core"] == sum(task["centred"] for task in written["tasks"].values()) / 2
    assert len(written["tasks"]["copa"]["decisions"]) == 20


@pytest.mark.parametrize(
    "args",
    [
        ("--limit", 0),
        ("--samples", 0),
        ("--hf", "somewhere"),
        ("--core", "nowhere"),
    ],
)
def test_what_makes_no_sense_is_said(parrotlet, capsys, args):
    with pytest.raises(SystemExit) as ended:
        parrotlet("eval", *args)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err
