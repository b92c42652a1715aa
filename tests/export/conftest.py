"""Runs whose stages hold random models, in which every weight counts."""

from pathlib import Path

import pytest
import torch

from parrotlet.export import export_stage
from parrotlet.model import GPT, ModelConfig
from parrotlet.recipe import Recipe
from parrotlet.tokenizer import Tokenizer
from parrotlet.train import Run
from parrotlet.train.checkpoint import Checkpoint, save_checkpoint
from small_run import write_small_run

SHAPES = {
    "plain": {},
    "grouped": {"heads": 4, "kv_heads": 2, "rope_theta": 500.0, "softcap": 8.0},
    "conv": {"short_conv": True},
    "grouped conv": {"heads": 4, "kv_heads": 1, "short_conv": True},
    "odd vocabulary": {"heads": 4, "kv_heads": 1},
    "odd vocabulary conv": {"short_conv": True},
    "ngrams": {"ngrams": 1000},
    "ngrams conv": {"ngrams": 97, "short_conv": True},
}
ODD_VOCABULARY = 379


def random_run(folder, tokenizer, stage="sft", specials=True, **overrides):
    """A run with a checkpoint of `stage`, and its model."""
    run = Run.begin(folder / "run", Recipe.parse(write_small_run(folder), "test"))
    tokenizer.save(run.folder / "tokenizer")
    config = ModelConfig.from_depth(2, tokenizer.vocab_size, 256, width=32, **{"heads": 2, **overrides})
    model = GPT.build(config, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            scale = 1.0 if "embedding" in name or "conv" in name or "ngram" in name else 1.5 * p.shape[-1] ** -0.5
            p.copy_(torch.randn(p.shape, generator=generator) * scale)
    state = {"stage": stage, "step": 3, "steps": 3, "model": config.to_dict(), "started_from": "random weights"}
    state["tokenizer"] = tokenizer.fingerprint
    if not specials:
        model.head.weight.data[sorted(tokenizer.special_ids)] = 0  # never the likeliest
    weights = dict(model.state_dict())
    checkpoint = Checkpoint(model=weights, optimizer={}, state=state, recipe=run.recipe.to_toml())
    save_checkpoint(run.stage_folder(stage), 3, checkpoint)
    return run, model.eval()


@pytest.fixture(scope="session")
def make_random_run():
    """The same, for tests that make their own."""
    return random_run


@pytest.fixture(scope="session", params=SHAPES)
def exported(request, tmp_path_factory, tokenizer):
    """The model and the folder that it was exported to."""
    folder = tmp_path_factory.mktemp("exported")
    if request.param.startswith("odd"):
        tokenizer = Tokenizer.train([Path(__file__).read_text()], ODD_VOCABULARY)
    run, model = random_run(folder, tokenizer, **SHAPES[request.param])
    export_stage(run, "sft", folder / "out")
    return model, folder / "out"


@pytest.fixture(scope="session")
def chat_folder(tmp_path_factory, tokenizer):
    """An exported chat model."""
    folder = tmp_path_factory.mktemp("chat")
    export_stage(random_run(folder, tokenizer)[0], "sft", folder / "out")
    return folder / "out"
