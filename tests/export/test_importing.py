"""What was exported comes back as it was; what doesn't fit is refused with its place."""

import json
import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from parrotlet.cli import main
from parrotlet.errors import UserError
from parrotlet.export import Imported, export_stage
from parrotlet.inspect import Material, take_xray
from parrotlet.recipe import Recipe
from parrotlet.stages import STAGES
from parrotlet.train import Run, load_model, run_pipeline, train_stage
from small_run import write_small_run


@pytest.fixture(params=[{}, {"heads": 4, "kv_heads": 2, "short_conv": True}], ids=["plain", "grouped conv"])
def exported_run(request, tmp_path, tokenizer, make_random_run):
    run, _ = make_random_run(tmp_path, tokenizer, **request.param)
    export_stage(run, "sft", tmp_path / "out")
    return run, tmp_path / "out"


def recipe_for(folder):
    return Recipe.parse(write_small_run(folder), "test", {"base.tokens_per_step": 512, "mid.tokens_per_step": 512})


def test_weights_tokenizer_and_shape_are_those_of_the_run(exported_run, tmp_path):
    before, out = exported_run
    imported = Imported.read(out)
    run = Run.begin(tmp_path / "again", imported.recipe(recipe_for(tmp_path)))
    imported.put_into(run)
    assert run.tokenizer().fingerprint == before.tokenizer().fingerprint
    ours, theirs = load_model(run, "base"), load_model(before, "sft")
    assert ours.config == theirs.config
    for name, weight in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], weight)


def test_training_goes_on_from_it(exported_run, tmp_path):
    """Mid from the import, and sft from that; in the run as a whole, too, base is what was imported."""
    imported = Imported.read(exported_run[1])
    run = Run.begin(tmp_path / "again", imported.recipe(recipe_for(tmp_path)))
    imported.put_into(run)
    assert len(take_xray(Material.of_run(run), STAGES["base"]).rows), "what training on from it would read"
    train_stage(run, "mid")
    assert run.load("mid").state["started_from"] == "base@0"
    assert list(run_pipeline(run)["stages"]) == ["base", "mid", "sft"]
    assert run.load("base").state["step"] == 0
    export_stage(run, "sft", tmp_path / "onwards")
    assert "the import of" in (tmp_path / "onwards" / "README.md").read_text()


def test_a_folder_that_transformers_saved_is_read(exported_run, tmp_path):
    transformers = pytest.importorskip("transformers")
    _, out = exported_run
    custom = json.loads((out / "config.json").read_text())["model_type"] == "parrotlet"
    if custom:
        pytest.skip("the same code, once more")
    transformers.AutoModelForCausalLM.from_pretrained(out).to(torch.bfloat16).save_pretrained(tmp_path / "theirs")
    transformers.AutoTokenizer.from_pretrained(out).save_pretrained(tmp_path / "theirs")
    imported, before = Imported.read(tmp_path / "theirs"), Imported.read(out)
    assert imported.config == before.config
    assert imported.tokenizer.fingerprint == before.tokenizer.fingerprint
    for name, weight in before.weights.items():
        assert torch.equal(imported.weights[name], weight.bfloat16().float())


def changed(name, value):
    def change(out):
        values = json.loads((out / "config.json").read_text())
        (out / "config.json").write_text(json.dumps(values | {name: value}))

    return change


def changed_weights(change):
    def rewrite(out):
        weights = load_file(out / "model.safetensors")
        change(weights)
        save_file(weights, out / "model.safetensors")

    return rewrite


BAD = {
    "another model": (changed("model_type", "llama"), "model_type is 'llama'"),
    "another activation": (changed("hidden_act", "silu"), "hidden_act is 'silu'; Parrotlet computes only 'relu2'"),
    "tied": (changed("tie_word_embeddings", True), "tie_word_embeddings is True"),
    "long context": (
        changed("rope_parameters", {"rope_type": "yarn", "rope_theta": 1.0}),
        "rope_parameters is .*yarn",
    ),
    "no depth": (changed("num_hidden_layers", None), "num_hidden_layers is None"),
    "wider": (changed("hidden_size", 64), "intermediate_size|shape"),
    "more layers": (changed("num_hidden_layers", 3), r"has no model.layers.2"),
    "another vocabulary": (changed("vocab_size", 401), "tokenizer.json has 400 tokens and the model 401"),
    "a weight more": (changed_weights(lambda w: w.update(extra=torch.zeros(2))), "extra"),
    "a weight less": (changed_weights(lambda w: w.pop("lm_head.weight")), "has no lm_head.weight"),
    "half a file": (
        lambda out: (out / "model.safetensors").write_bytes((out / "model.safetensors").read_bytes()[:5000]),
        "model.safetensors: can't be read",
    ),
    "no weights": (lambda out: (out / "model.safetensors").unlink(), "no weights in"),
    "no configuration": (lambda out: (out / "config.json").unlink(), "config.json: can't be read"),
    "no JSON": (lambda out: (out / "config.json").write_text("{"), "config.json: not JSON"),
    "a list": (lambda out: (out / "config.json").write_text("[]"), "expected an object"),
    "no tokenizer": (lambda out: (out / "tokenizer.json").unlink(), "tokenizer.json: .*can't be read"),
    "a broken tokenizer": (lambda out: (out / "tokenizer.json").write_text("{}"), "tokenizer.json: not a tokenizer"),
}


@pytest.mark.parametrize(("spoil", "said"), BAD.values(), ids=BAD)
def test_what_does_not_fit_is_refused(chat_folder, tmp_path, spoil, said):
    shutil.copytree(chat_folder, tmp_path / "out")
    spoil(tmp_path / "out")
    with pytest.raises(UserError, match=said):
        Imported.read(tmp_path / "out")


def test_the_command(chat_folder, tmp_path, monkeypatch, capsys):
    """Once; a second import into the run is refused, and so is a recipe whose rows don't fit."""
    write_small_run(tmp_path)
    (tmp_path / "mine.toml").write_text(recipe_for(tmp_path).to_toml())

    def parrotlet(*args):
        monkeypatch.setattr(sys, "argv", ["parrotlet", *map(str, args)])
        main()
        return capsys.readouterr().out

    command = ("import", chat_folder, "--recipe", tmp_path / "mine.toml", "--run", tmp_path / "run")
    told = parrotlet(*command)
    assert all(f"train {stage} --run {tmp_path / 'run'}" in told for stage in ("base", "mid", "sft"))
    for args, said in (
        (command, "has a base stage already"),
        ((*command[:-1], tmp_path / "other", "--set", "mid.tokens_per_step=300"), "tokens_per_step"),
    ):
        with pytest.raises(SystemExit) as ended:
            parrotlet(*args)
        assert ended.value.code == 2
        assert said in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    for command in ("ledger", "--run", "run"), ("runs",), ("chat", "--run", "run", "-p", "Hello?", "--max-tokens", 3):
        assert parrotlet(*command)
