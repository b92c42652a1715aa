"""What is said to differ is what differs: in the configuration and in the batches."""

import json
import sys

import pytest

from parrotlet.cli import main
from parrotlet.inspect.compare import compare_recipes, compare_results, compare_stages, examples, sparkline
from parrotlet.recipe import Recipe
from parrotlet.stages import STAGES
from parrotlet.train import Run
from weng import WENG

SAID = [[{"role": "user", "content": f"And {i}?"}, {"role": "assistant", "content": f"It is {i}."}] for i in range(40)]


def aspects(lines):
    return {line.aspect: (line.a, line.b) for line in lines}


def test_mid_and_sft_on_the_same_conversations_differ_in_what_is_supervised(material_of):
    material = material_of([WENG, *SAID], length=256)
    found = aspects(compare_stages((material, STAGES["mid"]), (material, STAGES["sft"])))
    assert found["starts from"] == (
        "a checkpoint of base, fresh optimiser",
        "a checkpoint of mid or base, fresh optimiser",
    )
    mid, sft = (float(share.removesuffix(" %")) for share in found["predictions supervised"])
    assert 90 < mid < 100, "only the last token of each predicts nothing"
    assert 10 < sft < mid
    assert found["reads"][0] == found["reads"][1]
    assert found["steps"] == tuple(f"{material.order(STAGES[s]).steps}" for s in ("mid", "sft"))
    assert found["learning rate"][1].startswith("×0.02")


def test_every_phase_counts(material_of, tmp_path):
    """Not what the first steps hold: with two phases they hold nothing of the second."""
    for name in ("one", "two"):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(talk) + "\n" for talk in SAID))
    tasks = [
        {"task": "custom-json", "dataset": str(tmp_path / f"{name}.jsonl"), "name": name, "phase": phase, "weight": w}
        for name, phase, w in (("two", 2, 0.5), ("one", 1, 1.0))
    ]
    material = material_of(None, length=64, sft__train=tasks)
    found = aspects(compare_stages(*[(material, STAGES["sft"])] * 2))
    held = len(material.order(STAGES["sft"]).mixture.tasks[0])
    assert found["reads"][0].split("\n")[1:] == [f"one {held}", "then:", f"two {held} ×0.5"]
    counts = {each.name: each.supervised for each in material.order(STAGES["sft"]).planned(0)}
    shares = {name: f"{100 * count / sum(counts.values()):.1f} %" for name, count in counts.items()}
    assert found["of the supervised"][0].split("\n") == [f"one {shares['one']}", f"two {shares['two']}"]
    assert 0.3 < counts["two"] / counts["one"] < 0.7


def test_what_is_measured_is_what_the_recipe_says(material_of):
    material = material_of(SAID, length=64, base__core_every=8, sft__tasks_every=10)
    found = aspects(compare_stages((material, STAGES["base"]), (material, STAGES["sft"])))["measured on the way"]
    assert found == ("validation bits per byte every 4 steps\nCORE every 8 steps", "validation loss every 5 steps")


def test_a_stage_does_not_differ_from_itself(material_of):
    side = (material_of(SAID, length=64), STAGES["sft"])
    assert all(line.same for line in compare_stages(side, side))


def test_the_example_is_a_conversation_with_a_tool_call_that_both_hold(material_of):
    material = material_of([*SAID, WENG], length=256)
    mid, sft = examples((material, STAGES["mid"]), (material, STAGES["sft"]))
    assert mid.ids == sft.ids
    assert mid.where == sft.where
    assert material.tokenizer.python_start in mid.ids
    assert sum(mid.taught) == len(mid.ids) - 1 > sum(sft.taught)


def test_a_tool_call_is_found_behind_many_short_conversations_of_another_task(material_of, tmp_path, monkeypatch):
    monkeypatch.setattr("parrotlet.inspect.pairs.LOOKED_AT", 3)
    (tmp_path / "weng.jsonl").write_text(json.dumps(WENG) + "\n")
    tasks = [
        {"task": "custom-json", "name": name, "dataset": str(tmp_path / name)} for name in ("talk.jsonl", "weng.jsonl")
    ]
    material = material_of(SAID, length=256, mid__train=tasks, sft__train=tasks)
    mid, _ = examples((material, STAGES["mid"]), (material, STAGES["sft"]))
    assert material.tokenizer.python_start in mid.ids


def test_base_and_mid_have_an_example_each(material_of):
    material = material_of(SAID, length=64)
    base, mid = examples((material, STAGES["base"]), (material, STAGES["mid"]))
    assert base.source.task is None
    assert mid.source.task == "custom-json"


def test_recipes_differ_in_the_keys_that_differ(material_of):
    recipe = material_of(SAID, length=64).recipe
    other = Recipe.parse(recipe.to_toml(), "other", {"sft.lr_scale": 0.5, "model.depth": 2})
    assert aspects(compare_recipes(recipe, other)) == {"model.depth": ("1", "2"), "sft.lr_scale": ("–", "0.5")}
    assert compare_recipes(recipe, recipe) == []


def test_of_lists_of_tasks_only_what_differs_is_shown(material_of):
    recipe = material_of(SAID, length=64).recipe
    tasks = [{"task": "spelling", "size": 9}, {"task": "identity"}]
    one = Recipe.parse(recipe.to_toml(), "one", {"sft.train": tasks})
    other = Recipe.parse(recipe.to_toml(), "other", {"sft.train": [tasks[0], {"task": "identity", "repeat": 2}]})
    turned = Recipe.parse(recipe.to_toml(), "turned", {"sft.train": tasks[::-1]})
    assert aspects(compare_recipes(one, other)) == {"sft.train": ("- identity", "- identity, repeat 2")}
    order = ("- spelling, size 9\n- identity", "- identity\n- spelling, size 9")
    assert aspects(compare_recipes(one, turned)) == {"sft.train": order}
    less = Recipe.parse(recipe.to_toml(), "less", {"sft.train": tasks[:1]})
    assert aspects(compare_recipes(one, less)) == {"sft.train": ("- identity", "–")}


def test_results_of_two_runs(tmp_path, material_of):
    recipe = material_of(SAID, length=64).recipe
    entry = {"val_bpb": 1.5, "tasks": {"gsm8k": {"accuracy": 0.25, "low": 0.2, "high": 0.3}}}
    one, other = (Run.begin(tmp_path / name, recipe) for name in ("one", "other"))
    other.write_results({"wall_seconds": 1.0, "stages": {"sft": entry}})
    assert aspects(compare_results(one, other)) == {
        "sft: val bits per byte": ("–", "1.500"),
        "sft: gsm8k": ("–", "25 % [20–30]"),
    }


def test_a_plot_falls_where_the_rate_does():
    assert sparkline([1.0] * 10 + [0.5, 0.0], width=12) == "█" * 10 + "▅▁"
    assert sparkline([0.0, 0.0]) == "▁▁"
    assert len(sparkline([i / 100 for i in range(100)], width=24)) == 24


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["mid", "tiny"], "mid is a stage"),
        (["mid", "nosuch"], "mid is a stage"),
        (["nosuch", "tiny"], "no recipe 'nosuch'"),
        (["tiny", "speedrun", "--depth", "3"], "are for comparing two stages"),
        (["mid", "sft", "--stage", "sft"], "two stages already"),
    ],
)
def test_what_can_not_be_compared(args, says, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["parrotlet", "compare", *args])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert says in capsys.readouterr().err


def test_on_the_command_line(material_of, tmp_path, monkeypatch, capsys):
    """Two stages of a recipe; two recipes; a stage of both."""
    recipe = material_of([WENG, *SAID], length=256).recipe
    (tmp_path / "a.toml").write_text(recipe.to_toml())
    (tmp_path / "b.toml").write_text(Recipe.parse(recipe.to_toml(), "b", {"seed": 7}).to_toml())
    monkeypatch.setenv("COLUMNS", "80")

    def compare(*args):
        monkeypatch.setattr(sys, "argv", ["parrotlet", "compare", *map(str, args)])
        main()
        out = capsys.readouterr().out
        assert max(map(len, out.splitlines())) <= 80
        return out

    out = compare("mid", "sft", "--recipe", tmp_path / "a.toml")
    assert "the same conversation in both" in out
    assert "≠  supervised" in out
    assert compare(tmp_path / "a.toml", tmp_path / "b.toml").splitlines()[-1].split() == ["≠", "seed", "42", "7"]
    assert "the same conversation" in compare(tmp_path / "a.toml", tmp_path / "b.toml", "--stage", "sft")
