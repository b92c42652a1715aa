"""The x-ray shows the batches that the loop was fed, to the id."""

import json
import sys

import numpy as np
import pytest

from parrotlet.cli import main
from parrotlet.data import NOT_SUPERVISED
from parrotlet.errors import UserError
from parrotlet.inspect import batch_of_recipe, batch_of_run, rows_as_json
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


@pytest.mark.parametrize("stage", STAGES)
def test_every_step_replays_to_the_batch_that_was_trained_on(run, stage):
    """By the hash in the metrics: from the nearest checkpoint, and dealt out from the recipe alone."""
    for line in run.metrics(stage).read():
        assert batch_of_run(run, STAGES[stage], line["step"]).hash == line["batch_hash"]
    line = run.metrics(stage).read()[3]
    assert batch_of_recipe(run.recipe, STAGES[stage], 3, run.tokenizer()).hash == line["batch_hash"]


def test_what_was_not_trained_on_is_not_shown(run, recipe):
    talk = recipe.parent / "talk.jsonl"
    before = talk.read_text()
    try:
        talk.write_text(before.replace("What is", "What are"))
        with pytest.raises(UserError, match="step 0 of mid was trained on another batch"):
            batch_of_run(run, STAGES["mid"], 0)
    finally:
        talk.write_text(before)


@pytest.mark.parametrize("stage", STAGES)
def test_the_rows_are_the_batch(run, stage):
    batch = batch_of_run(run, STAGES[stage], 2)
    rows = rows_as_json(batch, run.tokenizer(), STAGES[stage], 2)
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
    for row in rows_as_json(batch_of_run(run, STAGES["sft"], 0), tokenizer, STAGES["sft"], 0):
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
    assert printed == rows_as_json(batch_of_run(run, STAGES["mid"], 1), run.tokenizer(), STAGES["mid"], 1)
    monkeypatch.setattr(sys, "argv", ["parrotlet", "xray", "mid", "--recipe", str(recipe), "--step", "1", "--json"])
    main()
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == printed


def test_the_terminal_view_brackets_what_is_taught(recipe, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["parrotlet", "xray", "sft", "--recipe", str(recipe)])
    main()
    out = capsys.readouterr().out
    assert "sft step 0: " in out
    assert "% supervised" in out
    answer = out[out.index("<|assistant_start|>") + len("<|assistant_start|>") :]
    assert answer.startswith("[")
    assert "[<|assistant_end|>]" in out
    assert "[<|user_start|>]" not in out
