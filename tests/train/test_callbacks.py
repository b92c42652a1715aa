import sys
import types

import pytest

from parrotlet.errors import UserError
from parrotlet.evals import evaluate_task
from parrotlet.evals.core import evaluate_core_task
from parrotlet.evals.core_bundle import read_bundle
from parrotlet.evals.language_model import OwnModel
from parrotlet.recipe import Recipe
from parrotlet.stages import STAGES
from parrotlet.train import Run, prepare, train, train_tokenizer
from parrotlet.train.callbacks import Console, Core, Samples, TaskAccuracy, Tracker
from small_bundle import write_small_bundle
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


def with_core(folder, bundle):
    changes = {"base.core_every": 8, "base.core_limit": 5, "data.core": str(bundle)}
    run = Run.begin(folder / "run", Recipe.parse(write_small_run(folder), "test", changes))
    train_tokenizer(run)
    return run


def test_core_is_measured_on_the_way(tmp_path, capsys):
    """When it is due and at the end, on the tasks that are there; and as `evaluate_core_task` measures it."""
    bundle = write_small_bundle(tmp_path / "bundle")
    run = with_core(tmp_path, bundle)
    training = prepare(run, STAGES["base"], callbacks=[Core(), Console()])
    train(training)
    lines = {line["step"]: line for line in run.validation("base").read()}
    assert [step for step, line in lines.items() if "core_tasks" in line] == [8, 12]
    result = evaluate_core_task(OwnModel(training.model, run.tokenizer()), read_bundle(bundle)[0][0], limit=5)
    assert len(result.right) == 5
    assert lines[12]["core_tasks"] == {"a": result.centred}
    assert lines[12]["core of 1 tasks"] == result.centred
    err = capsys.readouterr().err
    assert "core       gone: left out, the files are missing" in err
    assert f"core of 1 tasks {result.centred:.4f}" in err


def test_without_the_bundle_training_goes_on_and_says_so(tmp_path, capsys):
    run = with_core(tmp_path, tmp_path / "nowhere")
    train(prepare(run, STAGES["base"], callbacks=[Core(), Console()]))
    assert len(run.metrics("base").read()) == 12
    assert "nowhere: not the evaluation bundle of CORE" in capsys.readouterr().err
    assert not any("core_tasks" in line for line in run.validation("base").read())


def test_tasks_are_measured_when_they_are_due(tmp_path):
    """Of the steps at which the loss is measured, at those that `tasks_every` names, and at the end."""
    asked = {"task": "mmlu", "name": "pick", "dataset": "parrotlet/multiple-choice", "split": "validation"}
    changes = {"base.tasks": [asked], "base.tasks_every": 8, "base.tasks_limit": 5}
    run = Run.begin(tmp_path / "run", Recipe.parse(write_small_run(tmp_path), "test", changes))
    train_tokenizer(run)
    training = prepare(run, STAGES["base"], callbacks=[TaskAccuracy()])
    train(training)
    lines = {line["step"]: line for line in run.validation("base").read()}
    assert {step: "pick" in line for step, line in lines.items()} == {0: True, 4: False, 8: True, 12: True}
    (task,) = (run.sources.task(spec) for spec in run.recipe.base.tasks)
    result = evaluate_task(training.model, run.tokenizer(), task, limit=5)
    assert (result.n, result.accuracy) == (5, lines[12]["pick"])


ASKED = [{"task": "mmlu", "split": "validation"}]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base.core_every": 6}, "core_every = 6 must be a multiple of eval_every = 4"),
        ({"mid.core_every": 6}, "no meaning"),
        ({"base.core_limit": 0}, "at least 1"),
        ({"sft.tasks": ASKED, "sft.tasks_every": 8}, "tasks_every = 8 must be a multiple of eval_every = 5"),
        ({"sft.tasks": ASKED, "sft.eval_every": 0}, "tasks_every = 250 must be a multiple of eval_every = 0"),
    ],
)
def test_measurements_that_mean_nothing_are_refused(tmp_path, changes, said):
    with pytest.raises(UserError, match=said):
        Recipe.parse(write_small_run(tmp_path), "test", changes)


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
    with pytest.raises(UserError, match=r"wandb is not installed; .* -m pip install .*'\.\[track\]'"):
        Tracker("wandb", "parrots")
