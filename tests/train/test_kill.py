"""Real processes, killed and resumed through the command line."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from parrotlet.recipe import Recipe
from parrotlet.train.verify import first_difference, shortened, verify_resume
from small_run import write_small_run

STEPS = 60


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    text = write_small_run(folder, documents=300, conversations=300)
    text = text.replace("num_iterations = 12", f"num_iterations = {STEPS}")
    (folder / "recipe.toml").write_text(text)
    return folder / "recipe.toml"


def command(stage, recipe_file, run):
    return [
        sys.executable,
        "-m",
        "parrotlet",
        "train",
        stage,
        "--recipe",
        str(recipe_file),
        "--run",
        str(run),
    ]


def train(stage, recipe_file, run):
    return subprocess.run(command(stage, recipe_file, run), capture_output=True, text=True, timeout=120)


def series(run, stage):
    lines = [json.loads(line) for line in (run / stage / "metrics.jsonl").read_text().splitlines()]
    return [(m["step"], m["loss"], m["grad_norm"], m["batch_hash"]) for m in lines]


def kill_after(stage, recipe_file, run, lines):
    """Start, and kill −9 once `lines` steps are in the metrics."""
    metrics = run / stage / "metrics.jsonl"
    process = subprocess.Popen(command(stage, recipe_file, run), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None and (not metrics.exists() or metrics.read_text().count("\n") < lines):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return process.returncode


@pytest.mark.slow
def test_killed_in_every_stage_is_the_same_as_not_killed(recipe_file):
    """As a user proves it. `tests/kill_points.py --kills 50` kills in the middle of what a training does."""
    asked = ["verify-resume", "--recipe", str(recipe_file), "--steps", "12", "--kills", "3", "--chance", "1"]
    done = subprocess.run([sys.executable, "-m", "parrotlet", *asked], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    verdicts = done.stdout.splitlines()
    assert [verdict.split(":")[0] for verdict in verdicts] == ["base", "mid", "sft"]
    assert all("12 steps, killed after" in v and "every loss is the same" in v for v in verdicts)


def test_what_a_recipe_measures_on_the_way_does_not_keep_it_from_being_verified():
    shortened(Recipe.load("speedrun"), 20).check()
    changes = {"base.core_every": 500, "base.eval_every": 250, "base.device_batch_size": "auto"}
    shortened(Recipe.load("small-real", changes), 30).check()


def test_a_stage_of_one_step_is_not_killed(recipe_file, tmp_path):
    recipe = Recipe.parse(recipe_file.read_text(), "test")
    recipe = replace(recipe, sft=replace(recipe.sft, conversations_per_step=1000))
    verdicts = verify_resume(recipe, tmp_path, steps=4, kills=3)
    assert [(v.steps, len(v.killed_at), v.first_difference) for v in verdicts] == [
        (4, 1, None),
        (4, 1, None),
        (1, 0, None),
    ]


def test_a_difference_is_seen(tmp_path):
    whole = [{"step": step, "loss": 1 / (step + 1), "grad_norm": 1.0, "batch_hash": "a"} for step in range(5)]
    assert first_difference(whole, list(whole)) is None
    assert first_difference(whole, whole[:4]) == 4
    for name, value in (("loss", 0.33333333333333337), ("batch_hash", "b"), ("grad_norm", 2.0)):
        assert first_difference(whole, [*whole[:2], whole[2] | {name: value}, *whole[3:]]) == 2


@pytest.mark.slow
def test_killed_is_not_killed_as_the_machine_decides(tmp_path, recipe_file):
    """With what `auto` means here: bfloat16 and compiled where this machine can, and all its cores."""
    auto = tmp_path / "auto.toml"
    machine = 'dtype = "float32"\ncompile = false\nthreads = 1\n'
    assert machine in recipe_file.read_text()
    auto.write_text(recipe_file.read_text().replace(machine, ""))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert train("base", auto, whole).returncode == 0
    assert kill_after("base", auto, killed, STEPS // 2) == -signal.SIGKILL
    assert train("base", auto, killed).returncode == 0
    assert series(killed, "base") == series(whole, "base")


@pytest.mark.slow
def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path, recipe_file):
    process = subprocess.Popen(
        command("base", recipe_file, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    metrics = tmp_path / "base" / "metrics.jsonl"
    while process.poll() is None and (not metrics.exists() or metrics.read_text().count("\n") < 6):
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"parrotlet train base --run {tmp_path}" in out
    assert "Traceback" not in err
    saved = sorted(p.name for p in (tmp_path / "base" / "checkpoints").iterdir())
    assert int(saved[-1].removeprefix("step_")) == len(series(tmp_path, "base"))


@pytest.mark.slow
def test_no_room_for_a_checkpoint_is_exit_code_2_and_loses_nothing(tmp_path, recipe_file):
    """A real limit on the size of files, set by the kernel, after some steps went well."""
    assert train("base", recipe_file, tmp_path).returncode == 0
    limited = (
        "import resource, sys; from parrotlet.cli import main;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000));"
        f"sys.argv = {['parrotlet', *command('mid', recipe_file, tmp_path)[3:]]!r}; main()"
    )
    done = subprocess.run([sys.executable, "-c", limited], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert "could not be saved (" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "mid" / "checkpoints").iterdir())
    assert train("mid", recipe_file, tmp_path).returncode == 0
