"""The commands as a person gives them, one after the other, on one small run."""

import io
import json
import re
import shutil
import sys

import pytest

from parrotlet.cli import main
from parrotlet.data.overlap import NGRAM
from small_run import EVAL, write_small_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("person")
    text = write_small_run(folder).replace("sequence_len = 64", "sequence_len = 192")
    (folder / "mine.toml").write_text(text.replace("tokens_per_step = 256", "tokens_per_step = 384") + EVAL)
    return folder


@pytest.fixture
def parrotlet(folder, monkeypatch, capsys):
    """Run a command in the folder; returns what it printed."""
    monkeypatch.chdir(folder)

    def command(*args, typed=""):
        monkeypatch.setattr(sys, "argv", ["parrotlet", *map(str, args)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        capsys.readouterr()
        main()
        return capsys.readouterr().out

    return command


@pytest.fixture(scope="module")
def trained(folder):
    """The run, trained once for all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["parrotlet", "run", "--recipe", "mine.toml"])
        main()
    return folder / "runs" / "test"


def test_the_run_ends_with_results_of_every_stage(trained, parrotlet):
    """And the same command again does nothing but show them."""
    results = json.loads((trained / "results.json").read_text())
    assert list(results["stages"]) == ["base", "mid", "sft"]
    for entry in results["stages"].values():
        assert set(entry["tasks"]) == {"identity", "multiple-choice"}
        task = entry["tasks"]["multiple-choice"]
        assert (task["n"], task["chance"], task["without_tool"]) == (4, 0.25, None)
        assert entry["val_bpb"] > 0
    out = parrotlet("run", "--recipe", "mine.toml")
    header = next(line.split() for line in out.splitlines() if "chance" in line)
    assert header == ["base", "mid", "sft", "chance"]
    scores = [results["stages"][stage]["tasks"]["multiple-choice"] for stage in ("base", "mid", "sft")]
    cells = [f"{100 * s['accuracy']:.0f} [{100 * s['low']:.0f}–{100 * s['high']:.0f}]" for s in scores]
    assert re.search("multiple-choice +" + " +".join(map(re.escape, cells)) + " +25 %", out)
    answer = json.loads((trained / "sft" / "answers.jsonl").read_text().splitlines()[0])
    verdict = "right" if answer["correct"] else "wrong"
    assert f"{answer['task']}: {verdict}\nuser       {answer['prompt'].splitlines()[0]}" in out
    assert "Talk to it:  parrotlet chat --run runs/test" in out
    assert json.loads((trained / "results.json").read_text())["stages"] == results["stages"]


@pytest.mark.parametrize("command", ["chat", "serve", "xray", "run"])
def test_help_shows_defaults_that_say_something(command, parrotlet, capsys):
    with pytest.raises(SystemExit):
        parrotlet(command, "--help")
    out = capsys.readouterr().out
    assert "--run PATH" in out
    assert "None" not in out


def test_runs_lists_it_beside_one_of_another_version(trained, parrotlet):
    """Scores come with their intervals."""
    old = trained.with_name("old")
    old.mkdir()
    (old / "recipe.toml").write_text('name = "old"\n[model]\nhats = 2\n')
    out = " ".join(parrotlet("runs").split())
    shutil.rmtree(old)
    assert "recipe test; trained: base, mid, sft" in out
    identity = json.loads((trained / "results.json").read_text())["stages"]["sft"]["tasks"]["identity"]
    score, low, high = (round(100 * identity[key]) for key in ("accuracy", "low", "high"))
    assert f"identity {score} [{low}–{high}]" in out
    assert "runs/old" in out
    assert "unknown key 'hats'" in out


def test_eval_of_one_task_keeps_the_others(trained, parrotlet):
    before = json.loads((trained / "results.json").read_text())["stages"]
    parrotlet("eval", "--stage", "sft", "--tasks", "identity", "--limit", 5)
    after = json.loads((trained / "results.json").read_text())["stages"]
    assert after["sft"]["tasks"]["identity"]["n"] == 5
    assert after["sft"]["tasks"]["multiple-choice"] == before["sft"]["tasks"]["multiple-choice"]
    assert after["mid"] == before["mid"]


def test_a_stage_trained_again_is_scored_again(trained, parrotlet):
    """Its old scores and answers go with it, also where the last step is the same."""
    kept = trained.with_name("kept")
    shutil.copytree(trained, kept)
    before = json.loads((kept / "results.json").read_text())["stages"]
    shutil.rmtree(kept / "sft")
    parrotlet("train", "sft", "--run", kept, "--from", "base")
    out = parrotlet("run", "--run", kept)
    after = json.loads((kept / "results.json").read_text())["stages"]
    assert after["sft"]["step"] == before["sft"]["step"]
    assert after["sft"]["checkpoint"] != before["sft"]["checkpoint"]
    assert after["mid"] == before["mid"]
    assert "identity: " in out
    shutil.rmtree(kept)


def test_a_run_scores_what_an_eval_of_some_tasks_left_out(trained, parrotlet):
    kept = trained.with_name("kept")
    shutil.copytree(trained, kept)
    results = json.loads((kept / "results.json").read_text())
    del results["stages"]["sft"]["tasks"]["identity"]
    (kept / "results.json").write_text(json.dumps(results))
    parrotlet("run", "--run", kept)
    assert set(json.loads((kept / "results.json").read_text())["stages"]["sft"]["tasks"]) == {
        "identity",
        "multiple-choice",
    }
    shutil.rmtree(kept)


def test_a_run_scores_again_what_an_eval_asked_less_of(trained, parrotlet):
    kept = trained.with_name("kept")
    shutil.copytree(trained, kept)
    results = json.loads((kept / "results.json").read_text())
    problems = results["stages"]["mid"]["tasks"]["identity"]["n"]
    del results["stages"]["mid"]
    (kept / "results.json").write_text(json.dumps(results))
    parrotlet("eval", "--run", kept, "--stage", "mid", "--limit", 3)
    parrotlet("run", "--run", kept)
    after = json.loads((kept / "results.json").read_text())["stages"]["mid"]["tasks"]
    assert after["identity"]["n"] == problems > 3
    shutil.rmtree(kept)


def test_one_question_by_seed(trained, parrotlet):
    def asked(question, seed):
        return parrotlet("chat", "-p", question, "--seed", seed, "--max-tokens", 40)

    answers = [asked("What is 3 and 3?", seed) for seed in range(5)]
    assert answers == [asked("What is 3 and 3?", seed) for seed in range(5)]
    assert len(set(answers)) > 1
    assert answers != [asked("Something else?", seed) for seed in range(5)]


def test_a_conversation_goes_on_when_the_context_is_full(trained, parrotlet):
    questions = "".join(f"What is {i} and {i}, and what is {i} and {i} and {i}?\n" for i in range(12))
    out = parrotlet("chat", "--seed", 1, "--max-tokens", 30, "--system", "Be brief.", typed=questions + "\n")
    assert out.count("you> ") == 13
    assert "the context is full: the oldest" in out
    assert "<|" not in out


def test_a_message_that_is_too_long_does_not_end_the_chat(trained, parrotlet):
    out = parrotlet("chat", "--seed", 1, "--max-tokens", 5, typed="Hello?\n" + "so long " * 300 + "\nAnd now?\n\n")
    assert "shorten the conversation" in out
    assert out.count("you> ") == 4


def test_bench_shows_tokens_a_second_by_rows(trained, parrotlet):
    out = parrotlet("bench", "decode", "--rows", 1, 3, "--tokens", 4, "--rounds", 1)
    assert "stage sft" in out
    lines = [line.split() for line in out.splitlines()]
    assert [line[0] for line in lines if line and line[0] in "13"] == ["1", "3"]


def test_bench_refuses_what_can_not_be_measured(trained, parrotlet):
    with pytest.raises(SystemExit) as end:
        parrotlet("bench", "decode", "--rows", 0)
    assert end.value.code == 2


def test_options_that_are_given_several_times_all_count(parrotlet):
    sets = ("--set", "base.num_iterations=7", "seed=2", "--set", "base.tokens_per_step=768")
    assert "7 steps of 768" in parrotlet("plan", "--recipe", "mine.toml", "--depths", "", *sets)
    rows = ("--device-batch-size", "2", "--set", "base.device_batch_size=1")  # what is said when memory is full
    assert "1 rows; safe" in parrotlet("plan", "--recipe", "mine.toml", "--hardware", "1xH100", "--depths", "", *rows)


def test_the_help_of_data_names_the_length_that_is_used(parrotlet, capsys):
    with pytest.raises(SystemExit):
        parrotlet("data", "--help")
    assert f"have to be the same. Default: {NGRAM}." in " ".join(re.sub("[│\n]", " ", capsys.readouterr().out).split())
