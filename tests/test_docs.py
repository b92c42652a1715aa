"""The outputs in the documentation are what the program prints."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

from parrotlet.cli import main

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def outputs():
    spec = importlib.util.spec_from_file_location("outputs", DOCS / "outputs.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("name", ["questions.md", "questions.zh-CN.md"])
def test_the_outputs_have_not_drifted(outputs, name):
    page = (DOCS / name).read_text("utf-8")
    assert outputs.regenerated(page) == page, "make docs"
    assert len(re.findall(r"^\$ parrotlet ", page, re.MULTILINE)) == 12
    assert len(re.findall(r"^\$ python docs/", page, re.MULTILINE)) == 1


def test_both_languages_show_the_same(outputs):
    """The same commands in the same order, and what they print."""
    pages = ((DOCS / name).read_text("utf-8") for name in ("questions.md", "questions.zh-CN.md"))
    english, chinese = ([block.groups() for block in outputs.BLOCK.finditer(page)] for page in pages)
    assert english == chinese


def test_the_call_that_is_said_to_fail_fails(outputs):
    """A conversation that is named by its number is another one when the data change."""
    after = (DOCS / "questions.md").read_text("utf-8").partition("A call can fail.")[2]
    block = next(outputs.BLOCK.finditer(after))[2].replace("·", "").replace("\n", "")
    assert "<|output_start|>error: " in block


@pytest.mark.parametrize("task", ["multiple-choice", "identity"])
def test_what_is_said_to_be_the_same_conversation_is_the_same(outputs, task):
    """Items are numbered from where a stage begins to read: the same number need not be the same row."""
    page = (DOCS / "questions.md").read_text("utf-8")
    blocks = [block.groups() for block in outputs.BLOCK.finditer(page)]
    rows = [re.search(r"\(.*, row \d+\)", text)[0] for command, text in blocks if f"--item {task}[" in command]
    assert len(rows) == 2
    assert rows[0] == rows[1]


def test_an_output_that_drifts_is_seen(outputs, monkeypatch):
    monkeypatch.setattr(outputs, "output", lambda command: f"what {command} prints now\n")
    page = "before\n```console\n$ parrotlet runs\nold\n```\nafter\n```\nno command\n```\n"
    assert outputs.regenerated(page) == page.replace("old", "what parrotlet runs prints now")


@pytest.mark.slow
def test_the_recipe_for_your_own_data_runs(tmp_path, monkeypatch, capsys):
    """With the conversations of that page, and some more of the same kind."""
    page = (DOCS / "recipes.md").read_text("utf-8")
    (recipe,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (lines,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    chats = [json.loads(line) for line in lines.splitlines() if line.strip()]
    chats += [[{"role": "user", "content": f"{i}?"}, {"role": "assistant", "content": f"{i}!"}] for i in range(100)]
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(recipe)
    Path("my_chats.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in chats))
    Path("my_texts").mkdir()
    for i in range(400):
        Path(f"my_texts/{i}.txt").write_text(
            f"Text number {i} is about {i * i} parrots, {'blue ' * (i % 5)}and green. " * 40
        )
    small = ("model.depth=1", "model.width=32", "model.heads=1", "tokenizer.vocab_size=300", "base.num_iterations=2")
    monkeypatch.setattr(
        sys,
        "argv",
        ["parrotlet", "run", "--recipe", "mine.toml", "--set", *small, "eval.limit=2", "machine.compile=false"],
    )
    main()
    assert "word-problems" in capsys.readouterr().out
    assert json.loads(Path("runs/mine/results.json").read_text())["stages"].keys() == {"base", "mid", "sft"}
