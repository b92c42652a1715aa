"""The x-ray shows the batches that the loop was fed, to the id."""

import json
import re
import sys

import numpy as np
import pytest

from parrotlet.cli import main
from parrotlet.data import NOT_SUPERVISED, PADDING
from parrotlet.errors import UserError
from parrotlet.inspect import Finder, Material, take_xray
from parrotlet.inspect.rewind import hardest
from parrotlet.recipe import Recipe
from parrotlet.stages import STAGES
from parrotlet.train import Run, train_stage, train_tokenizer
from small_run import write_small_run


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    text = write_small_run(folder)
    (folder / "recipe.toml").write_text(text)
    return folder / "recipe.toml"


@pytest.fixture(scope="module")
def run(recipe, tmp_path_factory):
    run = Run.begin(tmp_path_factory.mktemp("runs") / "run", Recipe.load(str(recipe)))
    train_tokenizer(run)
    for stage in STAGES:
        train_stage(run, stage)
    return run


def batch_of_run(run, stage, step):
    return Material.of_run(run).batch(stage, step)


def rows_of(run, name, step):
    xray = take_xray(Material.of_run(run), STAGES[name], step)
    return [xray.row(row) for row in xray.rows]


@pytest.mark.parametrize("stage", STAGES)
def test_every_step_replays_to_the_batch_that_was_trained_on(run, stage):
    """By the hash in the metrics: from the nearest checkpoint, and dealt out from the recipe alone."""
    for line in run.metrics(stage).read():
        assert batch_of_run(run, STAGES[stage], line["step"]).hash == line["batch_hash"]
    line = run.metrics(stage).read()[3]
    assert Material(run.recipe).batch(STAGES[stage], 3).hash == line["batch_hash"]


def test_what_was_not_trained_on_is_not_shown(run, recipe):
    talk = recipe.parent / "talk.jsonl"
    before = talk.read_text()
    try:
        talk.write_text(before.replace("What is", "What are"))
        with pytest.raises(UserError, match="step 0 of mid was trained on another batch"):
            batch_of_run(run, STAGES["mid"], 0)
        with pytest.raises(UserError, match="step 0 of mid was trained on another batch"):
            hardest(run, STAGES["mid"], 3, 1, lambda done, total: None)
    finally:
        talk.write_text(before)


@pytest.mark.parametrize("stage", STAGES)
def test_the_rows_are_the_batch(run, stage):
    batch = batch_of_run(run, STAGES[stage], 2)
    rows = rows_of(run, stage, 2)
    assert [row["row"] for row in rows] == list(range(len(batch)))
    for name, column in (("id", "inputs"), ("segment", "segments"), ("position", "positions")):
        shown = [[token[name] for token in row["tokens"]] for row in rows]
        assert np.array_equal(shown, getattr(batch, column))
    supervised = np.array([[token["supervised"] for token in row["tokens"]] for row in rows])
    targets = np.array([[-1 if t["target"] is None else t["target"] for t in row["tokens"]] for row in rows])
    assert np.array_equal(supervised, batch.targets != NOT_SUPERVISED)
    assert np.array_equal(targets[supervised], batch.targets[supervised])
    sources = [(s["segment"], s["dataset"], s["index"]) for row in rows for s in row["sources"]]
    assert sources == [(s.segment, s.dataset, s.index) for row in batch.sources for s in row]


def test_what_sft_supervises_is_the_answer_and_the_stop(run):
    tokenizer = run.tokenizer()
    for row in rows_of(run, "sft", 0):
        for source in row["sources"]:
            tokens = [t for t in row["tokens"] if t["segment"] == source["segment"]]
            taught = tokenizer.decode([t["target"] for t in tokens if t["supervised"]])
            asked = tokenizer.decode([t["id"] for t in tokens]).split("What is ")[1].split(" ")[0]
            assert taught == f"It is {2 * int(asked)}.<|assistant_end|>"
            assert tokens[-1]["target"] is None
        padding = [t for t in row["tokens"] if t["segment"] == -1]
        assert not any(t["supervised"] for t in padding)
        assert all(t["target"] is None for t in padding)


def test_json_on_the_command_line(recipe, run, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["parrotlet", "xray", "mid", "--run", str(run.folder), "--step", "1", "--json"])
    main()
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert printed == rows_of(run, "mid", 1)
    monkeypatch.setattr(sys, "argv", ["parrotlet", "xray", "mid", "--recipe", str(recipe), "--step", "1", "--json"])
    main()
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == printed


def test_a_rank_gets_its_rows(run):
    whole = Material.of_run(run).batch(STAGES["mid"], 0)
    shown = [take_xray(Material.of_run(run), STAGES["mid"], 0, rank=r, world_size=3).rows for r in range(3)]
    assert sorted(row for rows in shown for row in rows) == list(range(len(whole)))
    assert all(row % 3 == rank for rank, rows in enumerate(shown) for row in rows)
    with pytest.raises(UserError, match="the ranks are 0 to 2"):
        take_xray(Material.of_run(run), STAGES["mid"], 0, rank=3, world_size=3)
    with pytest.raises(UserError, match="for rank 1 of 2"):
        take_xray(Material.of_run(run), STAGES["mid"], 0, row=0, rank=1, world_size=2)


@pytest.mark.parametrize("stage", STAGES)
def test_the_summary_counts_the_batch(run, stage):
    """Against the tensors, and against itself: the ranks together are the whole."""
    xray = take_xray(Material.of_run(run), STAGES[stage], 1)
    summary = xray.summary
    assert (summary.total.tokens, summary.total.supervised) == (xray.batch.tokens, xray.batch.supervised)
    assert summary.padding == int((xray.batch.segments == PADDING).sum())
    ranks = [take_xray(Material.of_run(run), STAGES[stage], 1, rank=r, world_size=2).summary for r in range(2)]
    assert ranks[0].total + ranks[1].total == summary.total


def test_the_terminal_view_brackets_what_is_taught(recipe, monkeypatch, capsys):
    """Without colour, as in a log file: taking brackets and dots away gives the conversation back."""
    monkeypatch.setattr(sys, "argv", ["parrotlet", "xray", "sft", "--recipe", str(recipe), "--row", "0"])
    monkeypatch.setenv("COLUMNS", "400")
    main()
    out = capsys.readouterr().out
    assert "sft step 0 of test: " in out
    assert "% supervised" in out
    line = next(line for line in out.splitlines() if line.startswith("<|bos|>"))
    asked, answer = line.split("<|assistant_start|>")
    assert answer.startswith("[")
    assert answer.endswith("<|assistant_end|>]")
    assert "[" not in asked
    plain = line.translate({ord(c): None for c in "[]·"})
    assert re.fullmatch(
        r"<\|bos\|><\|user_start\|>What is (\d+) and \1\?<\|user_end\|>"
        r"<\|assistant_start\|>It is \d+\.<\|assistant_end\|>",
        plain,
    )


def test_the_table_has_a_line_a_token(recipe, run, monkeypatch, capsys):
    args = ["parrotlet", "xray", "sft", "--recipe", str(recipe), "--row", "0", "--table"]
    monkeypatch.setattr(sys, "argv", args)
    monkeypatch.setenv("COLUMNS", "120")
    main()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    row = rows_of(run, "sft", 0)[0]
    used = [token for token in row["tokens"] if token["segment"] >= 0]
    shown = [line for line in lines if len(line) > 4 and line[0].isdigit() and line[1].isdigit() and line[2].isdigit()]
    assert [int(line[2]) for line in shown] == [token["id"] for token in used]
    assert [line[-1] for line in shown] == [str(t["target"]) if t["supervised"] else "–" for t in used]


def test_a_conversation_is_found_by_its_name(run, recipe, monkeypatch, capsys):
    """In the step and the row where it is trained on, in each stage."""
    for stage in ("mid", "sft"):
        material = Material(run.recipe)
        finder = Finder(material, STAGES[stage])
        for index in (0, 17, 54):
            step, row = finder.place(f"custom-json[{index}]")
            assert index in [source.index for source in material.batch(STAGES[stage], step).sources[row]]
    assert all(
        finder.place(f"custom-json[{source.index}]") == (0, row)
        for row, sources in enumerate(material.batch(STAGES["sft"], 0).sources)
        for source in sources
    )
    items = len(finder.order.mixture.tasks[0])
    with pytest.raises(UserError, match=rf"there are custom-json\[0 … {items - 1}\]"):
        finder.place(f"custom-json[{items}]")
    monkeypatch.setattr(sys, "argv", ["parrotlet", "xray", "sft", "--recipe", str(recipe), "--item", "custom-json[17]"])
    main()
    out = capsys.readouterr().out
    assert f"sft step {finder.place('custom-json[17]')[0]} of test" in out
    assert out.count("<|bos|>") == 1
    assert finder.order.mixture.tasks[0].where(17) in out.replace("\n", " ")
