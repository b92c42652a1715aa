import sys
import types

import pytest

from parrotlet.errors import UserError
from parrotlet.recipe import Recipe
from parrotlet.stages import STAGES
from parrotlet.train import Run, prepare, train, train_tokenizer
from parrotlet.train.callbacks import Console, Samples, Tracker
from small_run import write_small_run


@pytest.fixture
def run(tmp_path):
    run = Run.begin(tmp_path / "run", Recipe.parse(write_small_run(tmp_path), "test"))
    train_tokenizer(run)
    return run


def test_the_console_tells_what_happens(run, capsys):
    train(prepare(run, STAGES["base"], callbacks=[Console(), Samples()]))
    err = capsys.readouterr().err
    assert "base       learn the language: 12 steps from random weights" in err
    for step in (0, 4, 8, 12):
        assert f"base       step {step}: val_loss" in err
    assert "step 12 writes: The▸" in err
    assert "base       12 steps, 3,072 tokens in" in err


@pytest.mark.parametrize("name", ["trackio", "wandb"])
def test_metrics_are_sent_to_a_tracker(run, name, monkeypatch):
    """Both clients have `init`, `log` and `finish`, which is all that is used."""
    sent = []
    client = types.ModuleType(name)
    client.init = lambda **about: sent.append(("init", about["project"], about["name"]))
    client.log = lambda numbers: sent.append(("log", numbers))
    client.finish = lambda: sent.append(("finish",))
    monkeypatch.setitem(sys.modules, name, client)
    train(prepare(run, STAGES["base"], callbacks=[Tracker(name, "parrots")]))
    assert sent[0] == ("init", "parrots", "run-base")
    assert sent[-1] == ("finish",)
    steps = [numbers for kind, *rest in sent[1:-1] for numbers in rest if "base/loss" in numbers]
    assert [numbers["base/loss"] for numbers in steps] == [line["loss"] for line in run.metrics("base").read()]
    assert sum("base/val_bpb" in numbers for kind, *rest in sent for numbers in rest if kind == "log") == 4


def test_a_tracker_that_is_not_installed_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"pip install 'parrotlet\[track\]'"):
        Tracker("wandb", "parrots")
