"""Small material to look at."""

import json

import pytest

from parrotlet.inspect import Material
from parrotlet.recipe import Recipe
from parrotlet.train import Run, train_stage, train_tokenizer
from small_run import write_small_run


@pytest.fixture
def material_of(tmp_path):
    """Material that holds some conversations, in rows of `length`; keys of the recipe can be changed."""

    def make(conversations, *, length=512, **changes) -> Material:
        text = write_small_run(tmp_path)
        if conversations is not None:
            (tmp_path / "talk.jsonl").write_text("".join(json.dumps(c) + "\n" for c in conversations))
        sizes = {"model.sequence_len": length, "base.tokens_per_step": 2 * length, "mid.tokens_per_step": 2 * length}
        alone = {"mid.validation": [], "sft.validation": []}
        recipe = Recipe.parse(text, "test", sizes | alone | {k.replace("__", "."): v for k, v in changes.items()})
        return Material(recipe)

    return make


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Run:
    """A small run with base, mid and sft trained, all checkpoints kept."""
    folder = tmp_path_factory.mktemp("trained")
    keep = {f"{stage}.keep_checkpoints": 0 for stage in ("base", "mid", "sft")}
    run = Run.begin(folder / "run", Recipe.parse(write_small_run(folder), "test", keep))
    train_tokenizer(run)
    for stage in ("base", "mid", "sft"):
        train_stage(run, stage)
    return run
