"""The recipes on real datasets, which come over the wire from a local server that speaks the Hub's protocol."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest

from hub_server import serving
from parrotlet.data import NOT_SUPERVISED
from parrotlet.inspect import Material
from parrotlet.inspect.audit import audit
from parrotlet.recipe import Recipe
from parrotlet.stages import STAGES
from parrotlet.train import Sources, recipe_tokenizer
from parrotlet.train.setup import horizon


def smaller(recipe, items):
    """The recipe with at most so many items of every task, and what the stand-ins have: no test split of MMLU."""

    def cut(specs):
        return tuple(
            dataclasses.replace(spec, size=min(spec.size or items, items))
            if spec.task in ("spelling", "letter-counting")
            else dataclasses.replace(spec, stop=items)
            for spec in specs
        )

    documents = dataclasses.replace(recipe.base.documents, validation=("shard_00004.parquet",), max_files=2)
    changes = {
        name: dataclasses.replace(stage, train=cut(stage.train), validation=cut(stage.validation))
        for name, stage in (("mid", recipe.mid), ("sft", recipe.sft))
    }
    changes["base"] = dataclasses.replace(recipe.base, documents=documents)
    asked = [dataclasses.replace(t, split="validation") if t.task == "mmlu" else t for t in recipe.eval.tasks]
    return dataclasses.replace(recipe, eval=dataclasses.replace(recipe.eval, tasks=tuple(asked)), **changes)


def test_the_speedrun_is_planned_as_published():
    """DESIGN's figures: 561 M parameters, 21,400 steps of 524,288 tokens, 11.2 billion tokens."""
    recipe = Recipe.load("speedrun")
    config = recipe.model.config(recipe.tokenizer.vocab_size)
    assert (config.width, config.heads, config.head_dim) == (1280, 10, 128)
    assert round(config.num_parameters / 1e6) == 561
    steps = horizon(recipe.base, config)
    assert steps == pytest.approx(21_400, abs=1)
    assert steps * recipe.base.tokens_per_step == pytest.approx(11.2e9, rel=0.002)
    for stage in (recipe.base, recipe.mid):
        assert stage.tokens_per_step == 524_288
        assert stage.device_batch_size == 32
    assert (recipe.sft.conversations_per_step, recipe.sft.device_batch_size) == (32, 4)


@pytest.mark.real_data
@pytest.mark.slow
def test_the_first_batches_of_the_speedrun(real_data, monkeypatch):
    recipe = smaller(Recipe.load("speedrun"), items=1500)
    recipe = dataclasses.replace(
        recipe,
        tokenizer=dataclasses.replace(recipe.tokenizer, vocab_size=4096, max_chars=2_000_000),
        data=dataclasses.replace(recipe.data, hub=str(real_data / "hub")),
    )
    tokenizer, sources = recipe_tokenizer(recipe), Sources(recipe)
    shares = {}
    for name, stage in STAGES.items():
        batch, _ = next(sources.order(stage, tokenizer).batches(sources.order(stage, tokenizer).start()))
        assert batch.inputs.shape[1] == 2048
        shares[name] = batch.supervised / batch.tokens
        stops = batch.targets == tokenizer.assistant_end
        outputs = (batch.inputs == tokenizer.output_start) & (batch.targets != NOT_SUPERVISED)
        if name == "base":
            assert (batch.inputs.shape[0], batch.supervised) == (256, 524_288)
        else:
            assert stops.any()
            assert {s.task for row in batch.sources for s in row} >= {"smoltalk", "gsm8k"}
        assert outputs.any() == (name == "mid"), "tool outputs are a target in mid only"
    assert shares["base"] == 1
    assert 0.9 < shares["mid"] < 1
    assert 0.2 < shares["sft"] < 0.8


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.parametrize("name", ["small-real", "speedrun"])
def test_the_audit_finds_nothing_in_the_recipes(real_data, name):
    recipe = smaller(Recipe.load(name), items=3000)
    tokenizer = dataclasses.replace(recipe.tokenizer, vocab_size=4096, max_chars=2_000_000)
    data = dataclasses.replace(recipe.data, hub=str(real_data / "hub"))
    assert audit(Material(dataclasses.replace(recipe, tokenizer=tokenizer, data=data))) == []


@pytest.mark.real_data
@pytest.mark.slow
def test_small_real_from_end_to_end_in_short(real_data, tmp_path):
    """Every stage, loader, task and measurement of the recipe on real data, with a tiny model for some steps."""
    recipe = smaller(Recipe.load("small-real"), items=200)
    recipe = dataclasses.replace(
        recipe,
        tokenizer=dataclasses.replace(recipe.tokenizer, vocab_size=1024, max_chars=1_000_000),
        model=dataclasses.replace(recipe.model, depth=2, width=64, heads=2, sequence_len=384),
        machine=dataclasses.replace(recipe.machine, compile=False),
        base=dataclasses.replace(recipe.base, tokens_per_step=6144, num_iterations=30, eval_tokens=20_000),
        mid=dataclasses.replace(recipe.mid, tokens_per_step=6144, eval_tokens=20_000),
        eval=dataclasses.replace(recipe.eval, limit=6, max_tokens=32),
    )
    (tmp_path / "short.toml").write_text(recipe.to_toml())
    with serving(real_data / "hub") as server:
        command = [sys.executable, "-m", "parrotlet", "run", "--recipe", "short.toml", "--run", "run"]
        cache = str(tmp_path / "cache")
        env = os.environ | {"HF_ENDPOINT": server.url, "HF_HOME": cache, "PARROTLET_CACHE": cache}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=280)
        asked = {request.path.split("/resolve/")[0] for request in server.asked if "/resolve/" in request.path}
    assert done.returncode == 0, done.stderr
    assert {path.removeprefix("/datasets/") for path in asked} == {
        "karpathy/fineweb-edu-100b-shuffle",
        "HuggingFaceTB/smol-smoltalk",
        "cais/mmlu",
        "openai/gsm8k",
        "allenai/ai2_arc",
    }
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    tasks = ["arc-easy", "arc-challenge", "mmlu", "gsm8k", "spelling", "letter-counting", "identity"]
    for name in STAGES:
        entry = results["stages"][name]
        assert list(entry["tasks"]) == tasks
        assert all(
            task["n"] == 6 and task["low"] <= task["accuracy"] <= task["high"] for task in entry["tasks"].values()
        )
        losses = [json.loads(line) for line in (tmp_path / "run" / name / "validation.jsonl").read_text().splitlines()]
        assert losses[-1]["val_loss"] < losses[0]["val_loss"]
        assert (losses[-1].keys() >= {"mmlu", "arc-easy"}) == (name == "sft"), "measured on the way in sft"
        assert entry["val_loss"] == pytest.approx(losses[-1]["val_loss"], rel=1e-6)
    for text in ("base", "mid", "sft", "chance", "letter-counting", "parrotlet chat --run run"):
        assert text in done.stdout
