import dataclasses
import math
import tomllib

import pytest

from parrotlet.errors import UserError
from parrotlet.recipe import Recipe, built_in_recipes, differences

SMALL = """
name = "mine"
[model]
depth = 2
sequence_len = 64
[base]
documents = { source = "texts/*.jsonl" }
tokens_per_step = 128
device_batch_size = 2
num_iterations = 3
[mid]
tokens_per_step = 128
device_batch_size = 2
train = [{ task = "gsm8k" }]
[sft]
conversations_per_step = 4
train = [{ task = "gsm8k" }]
"""


@pytest.mark.parametrize("name", built_in_recipes())
def test_built_in_recipes_read_and_write_back_the_same(name):
    recipe = Recipe.load(name)
    again = Recipe.parse(recipe.to_toml(), "again")
    assert again == recipe
    assert recipe.name == name


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("depth = 2", "dept = 2"), "unknown key 'dept' (did you mean 'depth'?)"),
        (("[model]", "[modle]"), "unknown key 'modle' (did you mean 'model'?)"),
        (("depth = 2", 'depth = "two"'), "model: depth must be int, found 'two'"),
        (("depth = 2", "depth = true"), "model: depth must be int, found True"),
        (('task = "gsm8k" }]\n[sft]', 'tsk = "gsm8k" }]\n[sft]'), "mid: train[0]: unknown key 'tsk'"),
        (('name = "mine"', ""), "the key 'name' is missing"),
        (('name = "mine"', "name = mine"), "not TOML"),
        (
            ("tokens_per_step = 128", "tokens_per_step = 100"),
            "must be a multiple of sequence_len × device_batch_size",
        ),
        (
            ("conversations_per_step = 4", "tokens_per_step = 128"),
            "tokens_per_step has no meaning in this stage",
        ),
        (("num_iterations = 3", "conversations_per_step = 3"), "conversations_per_step has no meaning"),
        (('documents = { source = "texts/*.jsonl" }', ""), "[base] names no texts"),
        (('train = [{ task = "gsm8k" }]\n[sft]', "[sft]"), "[mid] names no tasks"),
        (
            ('name = "mine"', 'name = "mine"\ntrack = { to = "nowhere" }'),
            "must be one of 'none', 'trackio', 'wandb'",
        ),
    ],
)
def test_what_is_wrong_is_named(change, says):
    assert change[0] in SMALL
    with pytest.raises(UserError, match=r"my\.toml") as caught:
        Recipe.parse(SMALL.replace(*change, 1), "my.toml")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("model.sequence_len", 0, "model.sequence_len = 0 must be at least 2"),
        ("sft.conversations_per_step", -4, "sft.conversations_per_step = -4 must be at least 1"),
        ("sft.epochs", 0, "sft.epochs = 0 must be at least 1"),
        ("base.num_iterations", -5, "base.num_iterations = -5 must be at least 1"),
        ("data.streams", 0, "data.streams = 0 must be at least 1"),
        ("seed", -1, "seed = -1 must be at least 0"),
        ("eval.limit", 0, "eval.limit = 0 must be at least 1"),
        ("base.target_flops", math.inf, "base.target_flops = inf must be at least 1, and finite"),
        ("base.target_param_data_ratio", math.nan, "base.target_param_data_ratio = nan must be"),
        ("sft.lr_scale", -0.1, "sft.lr_scale = -0.1 must be at least 0"),
        ("optim.betas", [0.8, 1.0], "optim.betas is (0.8, 1.0); both must be below 1"),
        ("sft.train", [{"task": "gsm8k"}, {"task": "gsm8k", "start": 9}], "two parts are called 'gsm8k'"),
        ("base.warmdown_frac", 1.5, "warmdown_frac = 1.5 is a share"),
        ("optim.grad_clip", -1.0, "optim.grad_clip is -1.0"),
        ("mid.train", [{"task": "gsm8k", "split": "test"}], "gsm8k has split = 'test'; here it must be train"),
        ("mid.validation", [{"task": "gsm8k"}], "gsm8k has split = 'train'; here it must be validation"),
        ("sft.tasks", [{"task": "mmlu", "split": "test"}], "mmlu has split = 'test'; here it must be validation"),
        ("eval.tasks", [{"task": "gsm8k"}], "gsm8k has split = 'train'; here it must be test or validation"),
        ("eval.tasks", [{"task": "gsm8k", "split": "test"}] * 2, "two are called 'gsm8k'"),
        ("base.epochs", 2, "[base] epochs = 2: base reads as many tokens as num_iterations"),
        ("base.documents", [{"source": "a", "weight": 0.0}], "documents: weight = 0.0 must be above 0"),
        ("base.documents", [{"source": "a"}, {"source": "a"}], "'a' is named twice"),
        ("base.documents", [{"source": "a", "wait": 1}], "unknown key 'wait' (did you mean 'weight'?)"),
        ("base.documents", {"sorce": "a"}, "unknown key 'sorce' (did you mean 'source'?)"),
        ("base.documents", [], "[base] names no texts"),
        ("base.documents", {"source": "a", "max_files": 0}, "max_files = 0 must be at least 1"),
        ("mid.train", [{"task": "gsm8k", "weight": 0.0}], "task gsm8k: weight = 0.0 must be above 0"),
    ],
)
def test_values_that_mean_nothing_are_refused(key, value, says):
    with pytest.raises(UserError) as caught:
        Recipe.parse(SMALL, "my.toml", {key: value})
    assert says in str(caught.value)


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(UserError, match=r"did you mean 'speedrun'\?"):
        Recipe.load("speedrn")
    with pytest.raises(UserError, match="no such recipe file"):
        Recipe.load("nowhere.toml")


def test_overrides_reach_any_key():
    recipe = Recipe.parse(SMALL, "my.toml", {"model.depth": 3, "machine.dtype": "float32", "eval.limit": 5})
    assert (recipe.model.depth, recipe.machine.dtype, recipe.eval.limit) == (3, "float32", 5)
    with pytest.raises(UserError, match="did you mean 'depth'"):
        Recipe.parse(SMALL, "my.toml", {"model.dpth": 3})


def test_differences_name_the_keys():
    recipe = Recipe.parse(SMALL, "my.toml")
    other = dataclasses.replace(recipe, seed=7, model=dataclasses.replace(recipe.model, depth=3))
    assert differences(recipe, recipe) == []
    assert differences(recipe, other) == ["model.depth: 2 → 3", "seed: 42 → 7"]


def test_written_recipe_says_every_value():
    written = tomllib.loads(Recipe.parse(SMALL, "my.toml").to_toml())
    assert written["optim"]["matrix_lr"] == 0.02
    assert written["tokenizer"]["vocab_size"] == 65_536


def test_what_is_read_twice_may_have_one_name():
    """Its items are counted alike, so a number still means one row."""
    recipe = Recipe.parse(SMALL, "my.toml", {"sft.train": [{"task": "gsm8k", "stop": 5}, {"task": "gsm8k"}]})
    assert len(recipe.sft.train) == 2


def test_a_recipe_in_another_encoding(tmp_path):
    """Editors on Windows write a byte order mark, which does no harm, or GBK, which is refused."""
    path, text = tmp_path / "my.toml", SMALL.replace("mine", "小鹦鹉")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert Recipe.load(str(path)).name == "小鹦鹉"
    path.write_bytes(text.encode("gbk"))
    with pytest.raises(UserError, match=r"my\.toml: not UTF-8 \(.* at byte \d+\); save it as UTF-8"):
        Recipe.load(str(path))
