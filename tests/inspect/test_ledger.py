"""The ledger adds up: against the batches, and against the plan."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from parrotlet.cli import main
from parrotlet.data import NOTHING, count_sources
from parrotlet.data.planned import short
from parrotlet.inspect import Material
from parrotlet.inspect.ledger import ledger
from parrotlet.recipe import Recipe
from parrotlet.stages import STAGES
from parrotlet.train import Run
from small_run import write_small_run


def test_a_finished_run_has_trained_what_was_planned(trained):
    for stage in ledger(trained):
        assert stage.done == stage.steps
        assert stage.unlogged == 0
        assert stage.trained.tokens == stage.planned
        for entry in stage.entries:
            assert entry.trained.tokens == entry.planned
        if STAGES[stage.stage].reads == "conversations":
            assert [entry.epochs for entry in stage.entries] == [1.0]


def test_what_was_trained_is_what_the_batches_hold(trained):
    material = Material.of_run(trained)
    for stage in ledger(trained):
        counted = NOTHING
        for step in range(stage.done):
            counted += sum(count_sources(material.batch(STAGES[stage.stage], step)).values(), NOTHING)
        assert stage.trained == counted


def test_halfway_and_before_a_stage_has_begun(trained, tmp_path):
    """As while it trains: the lines that are there count; a line that is being written is passed over."""
    shutil.copytree(trained.folder, tmp_path / "run")
    metrics = tmp_path / "run" / "mid" / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True)
    metrics.write_text("".join(lines[:3]) + lines[3][:20])
    shutil.rmtree(tmp_path / "run" / "sft")
    _, mid, sft = ledger(Run.open(tmp_path / "run"))
    assert mid.done == 3
    assert mid.trained.tokens == sum(json.loads(line)["tokens"] for line in lines[:3]) < mid.planned
    assert (sft.done, sft.trained) == (0, NOTHING)
    assert sft.planned > 0


def test_data_that_changed_are_told(trained, tmp_path, monkeypatch, capsys):
    """What is planned follows the data of today, which the run was not trained on."""
    shutil.copytree(trained.folder, tmp_path / "run")
    assert not any(stage.data_changes for stage in ledger(trained))
    changed = tmp_path / "talk.jsonl"
    recipe = tmp_path / "run" / "recipe.toml"
    talk = next(task.dataset for task in trained.recipe.mid.train)
    changed.write_text("".join(Path(talk).read_text().splitlines(keepends=True)[:-1]))
    recipe.write_text(recipe.read_text().replace(talk, str(changed)))
    base, mid, _ = ledger(Run.open(tmp_path / "run"))
    assert not base.data_changes
    assert any("then" in change and "now" in change for change in mid.data_changes)
    monkeypatch.setattr(sys, "argv", ["parrotlet", "ledger", "--run", str(tmp_path / "run")])
    main()
    assert "mid: the data changed since it was trained" in " ".join(capsys.readouterr().out.split())


def test_weights_are_not_read(trained, tmp_path):
    """They can be large, and it may be asked while a stage trains."""
    shutil.copytree(trained.folder, tmp_path / "run")
    for weights in (tmp_path / "run").rglob("*.safetensors"):
        weights.unlink()
    assert ledger(Run.open(tmp_path / "run")) == ledger(trained)


def test_repeats_and_what_is_left_out(tmp_path):
    """Each item of a task with repeat = 3 is trained on three times; what does not fit is told."""
    recipe = write_small_run(tmp_path)
    long = [{"role": "user", "content": "How?"}, {"role": "assistant", "content": "so " * 100}]
    talk = (tmp_path / "talk.jsonl").read_text() + (json.dumps(long) + "\n") * 19
    (tmp_path / "talk.jsonl").write_text(talk)
    train = [{"task": "custom-json", "dataset": str(tmp_path / "talk.jsonl"), "repeat": 3}]
    run = Run.begin(tmp_path / "run", Recipe.parse(recipe, "test", {"mid.train": train}))
    material = Material(run.recipe)
    material.tokenizer.save(run.folder / "tokenizer")
    (entry,) = ledger(run)[1].entries
    assert entry.left_out == 3 * 19
    order = material.order(STAGES["mid"])
    assert entry.planned == int(order.pieces.length.sum())


@pytest.mark.parametrize("as_json", [False, True])
def test_on_the_command_line(trained, monkeypatch, capsys, as_json):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", ["parrotlet", "ledger", "--run", str(trained.folder), *["--json"] * as_json])
    main()
    out = capsys.readouterr().out
    if as_json:
        assert [json.loads(line)["stage"] for line in out.splitlines()] == list(STAGES)
    else:
        steps = ledger(trained)[1].steps
        assert f"mid {steps} of {steps}" in out
        assert "100.0 %" in out
        assert max(map(len, out.splitlines())) <= 80
        sft = ledger(trained)[2]
        assert 0 < sft.planned_supervised == sft.trained.supervised < sft.planned
        (line,) = (line for line in out.splitlines() if line.startswith("sft "))
        assert line.split()[-2:] == [short(sft.planned_supervised)] * 2


def test_figures_stay_whole_beside_long_and_chinese_names(trained, monkeypatch, capsys):
    stages = [
        dataclasses.replace(stage, steps=21_400, done=21_400, entries=[
            dataclasses.replace(entry, source="我的小说与散文/第一卷.txt") for entry in stage.entries
        ])
        for stage in ledger(trained)
    ]  # fmt: skip
    monkeypatch.setattr("parrotlet.cli.ledger.read_ledger", lambda run: stages)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", ["parrotlet", "ledger", "--run", str(trained.folder)])
    main()
    out = capsys.readouterr().out
    assert max(map(cell_len, out.splitlines())) <= 80
    assert "base 21400 of 21400" in out
    assert out.count("…") == len([entry for stage in stages for entry in stage.entries]), "in names only"
