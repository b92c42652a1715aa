"""The folder as a whole: its files, its card, and what is refused."""

import json
import resource
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from parrotlet.errors import UserError
from parrotlet.export import export_stage
from parrotlet.recipe import Recipe
from parrotlet.stages import STAGES
from parrotlet.tokenizer import Tokenizer
from parrotlet.train import Run, train_stage, train_tokenizer
from small_run import write_small_run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small run, trained, and scored on one task."""
    folder = tmp_path_factory.mktemp("trained")
    run = Run.begin(folder / "run", Recipe.parse(write_small_run(folder), "test"))
    train_tokenizer(run)
    for stage in STAGES:
        train_stage(run, stage)
    score = {"accuracy": 0.5, "low": 0.25, "high": 0.75, "n": 12, "chance": 0.0}
    entry = {"step": run.load("sft").state["step"], "checkpoint": run.identity("sft"), "val_bpb": 1.25}
    run.write_results({"wall_seconds": 1.0, "stages": {"sft": entry | {"tasks": {"identity": score}}}})
    return run


def test_the_card_tells_data_tokens_and_results(trained, tmp_path):
    export_stage(trained, "sft", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    for stage, source in (("base", "texts.jsonl"), ("mid", "talk.jsonl"), ("sft", "talk.jsonl")):
        tokens = sum(line["tokens"] for line in trained.metrics(stage).read())
        line = next(line for line in card.splitlines() if line.startswith(f"| {stage} |"))
        assert f"| {tokens:,} |" in line
        assert source in line
    assert "| identity | 50.0 % | 25.0–75.0 % | 12 | 0.0 % |" in card
    assert "1.250 bits per byte" in card


def test_core_stands_on_the_card_of_its_checkpoint(trained, tmp_path):
    path = trained.stage_folder("base") / "core.json"
    measured = {"core": 0.125, "low": 0.1, "high": 0.15, "complete": True, "tasks": {"a": {}}}
    path.write_text(json.dumps({"checkpoint": trained.identity("base")} | measured))
    assert "CORE: 0.125 (95 % interval 0.100 to 0.150;" in card(trained, tmp_path / "whole")
    assert "CORE" not in card(trained, tmp_path / "earlier", step=8)
    path.write_text(json.dumps({"checkpoint": trained.identity("base")} | measured | {"complete": False}))
    part = card(trained, tmp_path / "part")
    assert "Mean over 1 of CORE's tasks: 0.125" in part
    assert "\nCORE" not in part
    path.write_text(json.dumps({"checkpoint": trained.identity("sft")} | measured))
    other = card(trained, tmp_path / "other")
    path.unlink()
    assert "## Results" not in other


def card(run, folder, **options):
    export_stage(run, "base", folder, **options)
    return (folder / "README.md").read_text()


def test_an_earlier_step_claims_no_results_and_only_its_tokens(trained, tmp_path):
    earlier = json.loads((trained.stage_folder("base") / "checkpoints" / "step_000008" / "state.json").read_text())
    export_stage(trained, "base", tmp_path / "out", step=8)
    card = (tmp_path / "out" / "README.md").read_text()
    tokens = sum(line["tokens"] for line in trained.metrics("base").read()[: earlier["step"]])
    assert f"| base | random weights | 8 | {tokens:,} |" in card
    assert "## Results" not in card
    assert not (tmp_path / "out" / "chat_template.jinja").exists(), "it has seen no conversation"


def test_weights_are_the_checkpoints(trained, tmp_path):
    export_stage(trained, "sft", tmp_path / "out")
    weights, theirs = trained.load("sft").model, load_file(tmp_path / "out" / "model.safetensors")
    assert len(theirs) == len(weights)
    assert (theirs["model.layers.0.mlp.fc1.weight"] == weights["blocks.0.mlp.up.weight"]).all()


def test_generation_stops_at_calls_and_never_writes_results(trained, tmp_path):
    export_stage(trained, "sft", tmp_path / "out")
    tokenizer = Tokenizer.load(tmp_path / "out")
    assert tokenizer.encode("<|bos|>小") == trained.tokenizer().encode("<|bos|>小")
    settings = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert settings["eos_token_id"] == [tokenizer.assistant_end, tokenizer.python_end]
    assert {tokenizer.output_start, tokenizer.output_end, tokenizer.bos} <= set(settings["suppress_tokens"])
    assert tokenizer.python_start not in settings["suppress_tokens"]


def test_a_folder_that_holds_something_is_left_alone(trained, tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(UserError, match="is there already"):
        export_stage(trained, "sft", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_folder_one_is_in_is_not_replaced(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="is there already"):
        export_stage(trained, "sft", Path())


def test_what_is_named_by_a_link_is_written(trained, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    assert "config.json" in {path.name for path in export_stage(trained, "sft", tmp_path / "link")}
    assert (tmp_path / "there" / "config.json").exists()


def test_stages_before_it_need_not_be_there(trained, tmp_path):
    run = Run.open(shutil.copytree(trained.folder, tmp_path / "run"))
    shutil.rmtree(run.stage_folder("base"))
    export_stage(run, "sft", tmp_path / "out")
    assert "| sft |" in (tmp_path / "out" / "README.md").read_text()


def test_a_failed_export_leaves_nothing(trained, tmp_path):
    with pytest.raises(UserError, match="no checkpoint sft@7"):
        export_stage(trained, "sft", tmp_path / "out", step=7)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be written"):
        export_stage(trained, "sft", tmp_path / "file" / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))  # less than the weights need
    try:
        with pytest.raises(UserError, match="make room"):
            export_stage(trained, "sft", tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
