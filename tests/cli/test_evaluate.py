"""`parrotlet eval`, on stages that were not trained."""

import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from parrotlet.cli import main
from parrotlet.errors import UserError
from parrotlet.recipe import Recipe
from parrotlet.tasks import humaneval
from parrotlet.tools import Outcome
from parrotlet.train import Run, download
from parrotlet.train.pipeline import scored
from scripted import grown, model_of
from small_run import save_stage, write_small_run

EVAL = """
[eval]
limit = 4
max_tokens = 8
tasks = [
    { task = "identity", split = "test" },
    { task = "humaneval", split = "test" },
    { task = "mmlu", name = "multiple-choice", dataset = "parrotlet/multiple-choice", split = "test" },
]
"""
FUNCTION = {"prompt": "def f():\n", "canonical_solution": "    return 1\n", "test": "", "entry_point": "f"}


@pytest.fixture
def run(tmp_path, tokenizer):
    """A run whose sft stage is a random model, with HumanEval of one problem."""
    file = tmp_path / "hub/datasets/openai/openai_humaneval/openai_humaneval/test-00000-of-00001.parquet"
    file.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([FUNCTION]), file)
    recipe = Recipe.parse(write_small_run(tmp_path) + EVAL, "test", {"data.hub": str(tmp_path / "hub")})
    run = Run.begin(tmp_path / "run", recipe)
    save_stage(run, "sft", grown(model_of(tokenizer)), tokenizer)
    return run


@pytest.fixture
def evaluate(run, monkeypatch, capsys):
    """Give the command; returns what it printed."""

    def command(*args):
        monkeypatch.setattr(sys, "argv", ["parrotlet", "eval", "--run", str(run.folder), *map(str, args)])
        main()
        return capsys.readouterr()

    return command


@pytest.fixture
def refused(evaluate, capsys):
    """Give the command; returns why it was refused."""

    def command(*args):
        with pytest.raises(SystemExit) as end:
            evaluate(*args)
        assert end.value.code == 2
        return capsys.readouterr().err

    return command


@pytest.fixture
def isolation(monkeypatch):
    """Sets whether programs may be run; none is."""

    def may(run):
        def check():
            if not run:
                raise UserError("no isolation here: PARROTLET_UNISOLATED_PYTHON")

        for module in (download, humaneval):
            monkeypatch.setattr(module, "check_allowed", check)
        monkeypatch.setattr(humaneval, "run_tests", lambda program, tests: Outcome(verdict="failed", output=""))
        download._programs_may_run.cache_clear()

    yield may
    download._programs_may_run.cache_clear()


def tasks_of(run):
    return run.read_results()["stages"]["sft"]["tasks"]


def test_a_task_that_the_recipe_does_not_name(run, evaluate):
    """Its test split is asked, and stands beside the recipe's in the results."""
    evaluate("--tasks", "letter-counting,identity", "--limit", 2)
    assert {name: task["n"] for name, task in tasks_of(run).items()} == {"letter-counting": 2, "identity": 2}


def test_a_name_that_means_nothing(refused):
    assert "'humanevl' (did you mean 'humaneval'?); there are identity, humaneval, multi" in refused(
        "--tasks", "humanevl"
    )
    assert "smoltalk" not in refused("--tasks", "nothing")


def test_humaneval_is_asked_where_programs_may_be_run(run, evaluate, isolation):
    isolation(True)
    evaluate("--limit", 1)
    assert list(tasks_of(run)) == ["identity", "humaneval", "multiple-choice"]
    assert tasks_of(run)["humaneval"]["n"] == 1


def test_humaneval_is_left_out_where_they_may_not(run, evaluate, refused, isolation):
    """The notice names the flag, once; a run is scored without it. Who asks for it by name is refused."""
    isolation(False)
    told = evaluate("--limit", 1)
    assert told.err.count("humaneval is left out: no isolation here: PARROTLET_UNISOLATED_PYTHON") == 1
    assert list(tasks_of(run)) == ["identity", "multiple-choice"]
    assert scored(run, "sft")
    download.check_data(run.sources)
    assert "no isolation" in refused("--tasks", "humaneval")
    isolation(True)
    assert not scored(run, "sft")
