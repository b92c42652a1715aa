"""`parrotlet eval`, on stages that were not trained."""

import dataclasses
import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from parrotlet import ranks
from parrotlet.chat import Conversation, Message
from parrotlet.cli import main
from parrotlet.cli.lm_eval_report import measure_lm_eval
from parrotlet.engine import Sampling
from parrotlet.errors import UserError
from parrotlet.evals import wilson_interval
from parrotlet.evals.chat_tasks import CHAT_CORE
from parrotlet.evals.core import core, evaluate_core_task
from parrotlet.evals.core_bundle import read_bundle
from parrotlet.evals.language_model import OwnModel
from parrotlet.evals.pass_at_k import sample_task
from parrotlet.recipe import Recipe
from parrotlet.tasks import humaneval
from parrotlet.tasks.identity import Identity
from parrotlet.tools import Outcome, sandbox
from parrotlet.train import Run, download, load_model
from parrotlet.train.pipeline import scored
from scripted import grown, model_of
from small_bundle import write_small_bundle
from small_run import EVAL, save_stage, write_small_run

WITH_HUMANEVAL = EVAL.replace('    { task = "mmlu"', '    { task = "humaneval", split = "test" },\n    { task = "mmlu"')
FUNCTION = {"prompt": "def f():\n", "canonical_solution": "    return 1\n", "test": "", "entry_point": "f"}


@pytest.fixture
def run(tmp_path, tokenizer):
    """A run whose sft stage is a random model, with HumanEval of one problem."""
    file = tmp_path / "hub/datasets/openai/openai_humaneval/openai_humaneval/test-00000-of-00001.parquet"
    file.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([FUNCTION]), file)
    recipe = Recipe.parse(
        write_small_run(tmp_path) + WITH_HUMANEVAL, "test", {"data.hub": str(tmp_path / "hub"), "data.words": "world"}
    )
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
        monkeypatch.setattr(humaneval, "run_tests", lambda program, name, tests: Outcome(verdict="failed", output=""))
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


def test_the_help_names_the_flag(evaluate, capsys):
    with pytest.raises(SystemExit):
        evaluate("--help")
    assert sandbox.UNISOLATED in capsys.readouterr().out


def test_humaneval_is_asked_where_programs_may_be_run(run, evaluate, isolation):
    isolation(True)
    evaluate("--limit", 1)
    assert list(tasks_of(run)) == ["identity", "humaneval", "multiple-choice"]
    assert tasks_of(run)["humaneval"]["n"] == 1


def test_humaneval_is_left_out_where_they_may_not(run, evaluate, refused, isolation):
    """The notice names the flag, once; a run is scored without it. Who asks for it by name is refused."""
    isolation(False)
    told = evaluate()
    assert told.err.count("humaneval is left out: no isolation here: PARROTLET_UNISOLATED_PYTHON") == 1
    assert list(tasks_of(run)) == ["identity", "multiple-choice"]
    assert scored(run, "sft")
    download.check_data(run.sources)
    assert "no isolation" in refused("--tasks", "humaneval")
    isolation(True)
    assert not scored(run, "sft")


@pytest.fixture
def bundle(tmp_path):
    """A bundle of CORE whose tasks are both there."""
    folder = write_small_bundle(tmp_path / "bundle")
    items = [{"context": f"The {word} is", "continuation": "so"} for word in "abcde"]
    (folder / "eval_data" / "gone.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    return folder


def core_of(run, name="core.json"):
    return json.loads((run.stage_folder("sft") / name).read_text())


def test_tasks_of_core_are_kept_beside_each_other(run, evaluate, bundle, tokenizer):
    """In parts, the same as at once; a limit has a file of its own; another checkpoint begins anew."""
    for task in ("gone", "a"):
        evaluate("--core", bundle, "--tasks", task)
    in_parts = core_of(run)
    assert list(in_parts["tasks"]) == ["a", "gone"]
    assert in_parts["complete"]
    evaluate("--core", bundle, "--limit", 3)
    assert core_of(run) == in_parts
    assert [task["n"] for task in core_of(run, "core-first-3.json")["tasks"].values()] == [3, 3]
    (run.stage_folder("sft") / "core.json").unlink()
    evaluate("--core", bundle)
    assert core_of(run) == in_parts
    value, half = core([evaluate_core_task(own(run), task) for task in read_bundle(bundle)[0]])
    assert (in_parts["core"], in_parts["high"]) == pytest.approx((value, value + half))
    save_stage(run, "sft", grown(model_of(tokenizer), alpha=0.4), tokenizer, step=4)
    evaluate("--core", bundle, "--tasks", "gone")
    assert (list(core_of(run)["tasks"]), core_of(run)["complete"]) == (["gone"], False)


def test_items_of_core_that_were_cut_are_told(run, evaluate, bundle):
    context = load_model(run, "sft").config.sequence_len
    path = bundle / "eval_data" / "a.jsonl"
    path.write_text(
        path.read_text() + json.dumps({"query": "long " * context, "choices": ["x", "y"], "gold": 0}) + "\n"
    )
    said = " ".join(evaluate("--core", bundle, "--tasks", "a").out.split())
    cut = core_of(run)["tasks"]["a"]["cut"]
    assert cut >= 1
    assert f"longer than the context of {context}, whose beginning was cut: a {cut}/12" in said


def test_results_of_another_bundle_are_not_mixed_in_or_lost(run, evaluate, refused, bundle):
    evaluate("--core", bundle, "--tasks", "a")
    before = core_of(run)
    (bundle / "eval_meta_data.csv").write_text("Eval Task,Random baseline\na,20\ngone,0\n")
    assert "core.json holds results of this checkpoint with another bundle" in refused("--core", bundle)
    assert core_of(run) == before
    (run.stage_folder("sft") / "core.json").rename(run.stage_folder("sft") / "core-before.json")
    evaluate("--core", bundle, "--tasks", "a")
    assert core_of(run)["core"] > before["core"]


def test_samples_need_a_task_that_is_answered_by_writing(run, refused):
    text = (run.folder / "recipe.toml").read_text()
    recipe = Recipe.parse(text, "test")
    chosen = tuple(spec for spec in recipe.eval.tasks if spec.task == "mmlu")
    recipe = dataclasses.replace(recipe, eval=dataclasses.replace(recipe.eval, tasks=chosen))
    (run.folder / "recipe.toml").write_text(recipe.to_toml())
    assert "no task of the recipe is answered by writing" in refused("--samples", 2)


def own(run):
    return OwnModel(load_model(run, "sft"), run.tokenizer())


def test_what_is_done_of_core_is_written(run, refused, bundle):
    """The second task ends the command; the first stays."""
    (bundle / "eval_data" / "gone.jsonl").write_text("{")
    assert "gone.jsonl, line 1: not JSON" in refused("--core", bundle)
    assert list(core_of(run)["tasks"]) == ["a"]


def test_part_of_core_is_called_so(evaluate, bundle):
    assert "CORE of the first 3 of each" in evaluate("--core", bundle, "--limit", 3).out
    assert "\nmean of 1, the first 3 of each" in evaluate("--core", bundle, "--limit", 3, "--tasks", "a").out
    assert "\nCORE   " in evaluate("--core", bundle).out


def test_results_over_more_problems_stay(run, evaluate, tokenizer):
    """With their answers, and it is said; of another checkpoint they go."""
    tasks = ("--tasks", "identity,multiple-choice")
    evaluate(*tasks, "--limit", 4)
    before, answers = run.read_results()["stages"], run.answers("sft")
    told = evaluate("--limit", 2, *tasks)
    assert "identity: results.json keeps what 4 problems gave" in told.err
    assert (run.read_results()["stages"], run.answers("sft")) == (before, answers)
    evaluate("--limit", 6, "--tasks", "identity")
    assert {name: task["n"] for name, task in tasks_of(run).items()} == {"identity": 6, "multiple-choice": 4}
    assert len(run.answers("sft")) == 10
    save_stage(run, "sft", grown(model_of(tokenizer), alpha=0.4), tokenizer, step=4)
    evaluate("--limit", 2, "--tasks", "identity")
    assert {name: task["n"] for name, task in tasks_of(run).items()} == {"identity": 2}


@pytest.mark.parametrize("char", ["\u2028", "\u2029", "\x85"])
def test_an_answer_holds_any_character(run, evaluate, monkeypatch, char):
    """Those, too, that some take for the end of a line: what was answered before is read when a task is added."""
    item = Conversation((Message("user", f"one{char}two"), Message("assistant", "")))
    monkeypatch.setattr(Identity, "convert", lambda self, row, where: item)
    evaluate("--tasks", "identity", "--limit", 1)
    evaluate("--tasks", "multiple-choice", "--limit", 1)
    assert next(answer["prompt"] for answer in run.answers("sft")) == f"one{char}two"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--core", "x", "--samples", 2), "--core and --samples measure different things"),
        (("--core", "x", "--lm-eval", "y"), "--core and --lm-eval measure different things"),
        (("--lm-eval", "y", "--samples", 2), "--lm-eval and --samples measure different things"),
        (("--lm-eval", "y", "--tasks", "gsm8k"), "leave --tasks out"),
        (("--core", "x", "--trust-code"), "--trust-code is for a model of --hf"),
        (("--temperature", 1.5), "--temperature is for --samples"),
        (("--samples", 0), "--samples 0: at least 1"),
    ],
)
def test_options_that_would_do_nothing_are_refused(refused, args, said):
    assert said in refused(*args)


def test_several_ranks_do_not_ask_lm_eval(run, monkeypatch):
    """Each would ask everything, and write."""
    monkeypatch.setattr(ranks, "world_size", lambda: 2)
    with pytest.raises(UserError, match="leave torchrun out"):
        measure_lm_eval(run, "sft", ["x"], None)


def test_pass_at_k_for_every_k_between(run, evaluate):
    """As counted from the answers; no results are written."""
    out = evaluate("--samples", 5, "--tasks", "identity", "--limit", 3, "--temperature", 1.5).out
    sampling = Sampling(temperature=1.5, max_tokens=8)
    (task,) = (run.sources.task(spec) for spec in run.recipe.eval.tasks if spec.task == "identity")
    measured = sample_task(load_model(run, "sft"), run.tokenizer(), task, samples=5, sampling=sampling, limit=3)
    shares = [f"pass@{k} {100 * measured.at(k):.1f} % [{interval(measured, k)}]" for k in (1, 2, 4, 5)]
    assert out == f"sft identity: {', '.join(shares)}; of 3 problems\n"
    assert run.read_results()["stages"] == {}


def interval(measured, k):
    return "–".join(f"{100 * end:.1f}" for end in measured.interval(k))


def test_pass_at_k_is_for_what_is_written(evaluate, refused, isolation):
    """By default, of the recipe's tasks."""
    isolation(False)
    out = evaluate("--samples", 1, "--limit", 1).out
    assert out.startswith("sft identity: pass@1 ")
    assert out.count("pass@") == 1
    assert "by writing" in refused("--samples", 1, "--tasks", "multiple-choice")


def test_chat_core_where_all_its_tasks_are_there(run, evaluate):
    """Beside them, in the results and in the table; without one of them there is none."""
    *five, last = CHAT_CORE
    stages = {"stages": {"sft": {"checkpoint": run.identity("sft"), "tasks": {}}}, "wall_seconds": 0.0}
    for name in five:
        stages["stages"]["sft"]["tasks"][name] = scores(50, 100)
    run.write_results(stages)
    assert "ChatCORE" not in evaluate("--tasks", "identity", "--limit", 1).out
    assert run.read_results()["stages"]["sft"]["chat_core"] is None
    out = evaluate("--tasks", last, "--limit", 4).out
    sixth = tasks_of(run)[last]["accuracy"]
    expected = (5 * (0.5 - 0.25) / 0.75 + sixth) / 6
    half = 1.96 * (5 * 0.25 / 100 / 0.75**2 + sixth * (1 - sixth) / 4) ** 0.5 / 6
    measured = run.read_results()["stages"]["sft"]["chat_core"]
    assert measured == pytest.approx({"value": expected, "low": expected - half, "high": expected + half})
    assert next(line.split() for line in out.splitlines() if "ChatCORE" in line) == [
        "ChatCORE",
        f"{expected:.3f}",
        "±",
        f"{half:.3f}",
        "0",
    ]


def scores(right, n):
    low, high = wilson_interval(right, n)
    return {"accuracy": right / n, "low": low, "high": high, "n": n, "chance": 0.25, "without_tool": None}
